"""SIP messages for tests: a request with replaceable parts, and Hypothesis strategies for what the grammar allows."""

from __future__ import annotations

from hypothesis import strategies as st

from edgesbc.sip.message import Request, Response

VIA = "SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa1;rport"

TOKEN_SIGNS = "abzAZ019-.!%*_+`'~"


def request(
    method: str = "INVITE",
    uri: str = "sip:100@192.0.2.1",
    via: str = VIA,
    from_: str = "<sip:alice@example.org>;tag=a",
    to: str = "<sip:100@192.0.2.1>",
    call_id: str = "c1@198.51.100.7",
    cseq: str = "",
    extra: str = "",
    body: bytes = b"",
    length: str | None = None,
) -> bytes:
    """A request in which any one part can be another; ``extra`` holds whole lines with their CRLF."""
    announced = f"Content-Length: {len(body)}\r\n" if length is None else length
    return (
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nFrom: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq or f'1 {method}'}\r\nMax-Forwards: 70\r\n{extra}{announced}\r\n"
    ).encode("utf-8", "surrogateescape") + body


def response(status: int = 200, method: str = "INVITE", via: str = VIA, to_tag: str = "b", extra: str = "") -> bytes:
    """A response to :func:`request`."""
    return (
        f"SIP/2.0 {status} Some words\r\nVia: {via}\r\nFrom: <sip:alice@example.org>;tag=a\r\n"
        f"To: <sip:100@192.0.2.1>;tag={to_tag}\r\nCall-ID: c1@198.51.100.7\r\nCSeq: 1 {method}\r\n{extra}"
        f"Content-Length: 0\r\n\r\n"
    ).encode()


def values(message: Request | Response) -> tuple[object, ...]:
    """Every parsed value of a message, to compare two messages by: more than their wire form shows."""
    own: tuple[object, ...]
    if isinstance(message, Request):
        own = (message.method, str(message.uri), message.max_forwards)
    else:
        own = (message.status, message.phrase)
    return (
        *own, message.fields, message.body, str(message.via), message.via.branch, message.call_id, message.cseq,
        message.cseq_method, str(message.from_), str(message.to), message.from_tag, message.to_tag,
    )  # fmt: skip


tokens = st.text(TOKEN_SIGNS, min_size=1, max_size=8)
quoted = st.text('ab <>,;:@é"\\', max_size=8).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
ipv6 = st.ip_addresses(v=6).map(str)
hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    ipv6.map(lambda address: f"[{address}]"),
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9-]{1,8}){0,3}", fullmatch=True),
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
spaces = st.sampled_from(["", " ", "\t", "  "])
folds = st.sampled_from([" ", "\t", "\r\n ", " \r\n\t ", "  "])

_user_signs = st.one_of(st.sampled_from("ab09-_.!~*'()&=+$,;?/"), st.integers(0, 255).map(lambda byte: f"%{byte:02X}"))
_users = st.lists(_user_signs, min_size=1, max_size=8).map("".join)
_param_signs = st.one_of(st.sampled_from("ab09-_.!~*'()[]/:&+$"), st.integers(0, 255).map(lambda byte: f"%{byte:02x}"))
_param_texts = st.lists(_param_signs, min_size=1, max_size=6).map("".join)


@st.composite
def uris(draw: st.DrawFn, headers: bool = True) -> str:
    text = draw(st.sampled_from(["sip:", "sips:", "SIP:"]))
    if draw(st.booleans()):
        text += draw(_users)
        if draw(st.booleans()):
            text += ":" + draw(st.text("ab09&=+$,", max_size=4))
        text += "@"
    text += draw(hosts) + draw(ports)
    for name in draw(st.lists(_param_texts, max_size=3, unique_by=str.lower)):
        text += f";{name}" + (f"={draw(_param_texts)}" if draw(st.booleans()) else "")
    if headers and draw(st.booleans()):
        text += "?" + draw(st.from_regex(r"[a-z]{1,4}=[a-z%]{0}[a-z]{0,4}", fullmatch=True))
    return text


@st.composite
def telephone_uris(draw: st.DrawFn) -> str:
    """RFC 3966: a global or a local number with visual separators, and parameters."""
    if draw(st.booleans()):
        number, context = "+" + draw(st.from_regex(r"[-.()]{0,2}[0-9][0-9\-.()]{0,12}", fullmatch=True)), ""
    else:
        number = draw(st.from_regex(r"[-.()]{0,2}[0-9*A-F][0-9*A-F\-.()]{0,9}(%23)?", fullmatch=True))
        context = ";phone-context=" + draw(st.sampled_from(["example.com", "+1-914-555", "+44.(20)"]))
    rest = draw(st.sampled_from(["", ";ext=12", ";isub=a%20b", ";a=b;c", ";x=[:&+$]"]))
    return f"tel:{number}{context}{rest}"


@st.composite
def params(draw: st.DrawFn) -> str:
    text = ""
    for name in draw(st.lists(tokens, max_size=3, unique_by=str.lower)):
        if name.lower() == "tag":
            continue
        text += f"{draw(spaces)};{draw(spaces)}{name}"
        if draw(st.booleans()):
            value = draw(st.one_of(tokens, quoted, ipv6, ipv6.map(lambda address: f"[{address}]")))
            text += f"{draw(spaces)}={draw(spaces)}{value}"
    return text


@st.composite
def name_addrs(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return draw(st.sampled_from(["sip:a@b.example", "tel:+1", "sip:b.example:5062"])) + draw(params())
    display = draw(st.one_of(st.just(""), quoted, st.lists(tokens, max_size=2).map(" ".join), st.just("Zoë")))
    return f"{display}{draw(spaces)}<{draw(uris())}>{draw(params())}"


@st.composite
def vias(draw: st.DrawFn) -> str:
    slash = f"{draw(spaces)}/{draw(spaces)}"
    text = f"SIP{slash}2.0{slash}{draw(st.sampled_from(['UDP', 'tcp', 'WSS', 'TLS-SCTP']))} {draw(spaces)}"
    text += draw(hosts)
    port = draw(ports)
    if port:
        text += f"{draw(spaces)}:{draw(spaces)}{port[1:]}"
    return f"{text};branch=z9hG4bK{draw(tokens)}{draw(params().filter(lambda text: 'branch' not in text.lower()))}"


_others = st.sampled_from(
    ["Subject: nothing", "s:", "X-Any: \xff\udcff", "Supported: 100rel, timer", "k: path", "accept: */*"]
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """The bytes of any message that can be read: compact names, odd case, folds, lists, binary bodies."""
    body = draw(st.binary(max_size=40))
    method = draw(st.sampled_from(["INVITE", "OPTIONS", "invite", "NEW-method!"]))
    start = (
        f"{method} {draw(uris(headers=False))} SIP/2.0"
        if draw(st.booleans())
        else f"SIP/2.0 {draw(st.integers(100, 699))} {draw(st.sampled_from(['', 'OK', 'Größe  1']))}"
    )
    lines = [
        (draw(st.sampled_from(["Via", "v", "VIA"])), ",".join(draw(st.lists(vias(), min_size=1, max_size=3)))),
        (draw(st.sampled_from(["From", "f"])), f"{draw(name_addrs())};tag={draw(tokens)}"),
        (draw(st.sampled_from(["To", "t", "tO"])), draw(name_addrs())),
        (draw(st.sampled_from(["Call-ID", "i", "call-id"])), draw(st.sampled_from(["a", "a@b", '<"[{?}]">@h']))),
        ("CSeq", f"{draw(st.integers(0, 2**31 - 1))}{draw(folds)}{method}"),
        (draw(st.sampled_from(["Content-Length", "l"])), str(len(body))),
    ]
    lists = draw(st.lists(st.sampled_from(["Contact", "m", "Route", "Record-Route"]), max_size=2))
    lines += [(name, " , ".join(draw(st.lists(name_addrs(), min_size=1, max_size=3)))) for name in lists]
    block = [f"{name}{draw(spaces)}:{draw(folds)}{value}{draw(spaces)}" for name, value in draw(st.permutations(lines))]
    block += draw(st.lists(_others, max_size=3))
    return ("\r\n".join([start, *block]) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


hostile = st.lists(
    st.sampled_from(
        [b"\r\n", b"\r", b"\n", b" ", b"\t", b",", b";", b'"', b"\\", b"<", b">", b"%", b"=", b":", b"@", b"\x00",
         b"\xff", b"(", b"[", b"]", b"::", b"SIP/2.0", b"sip:", b"INVITE", b"Via", b"Content-Length", b"l",
         b"0", b"9", b"\xc2\x85"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip
"""Delimiters and words that a SIP parser looks for, in random order."""
