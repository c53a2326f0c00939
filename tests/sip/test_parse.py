"""Bytes to messages: parsing and serialising agree, and ambiguous messages are refused."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.parser_work import count_calls
from support.sip import hostile, messages, request, response, values
from torture.valid import CASES

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message, salvage, salvage_response


def refused(data: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        parse_message(data)
    return caught.value


@given(messages())
def test_writing_a_message_loses_nothing(data: bytes) -> None:
    message = parse_message(data)
    reparsed = parse_message(bytes(message))
    assert values(reparsed) == values(message)
    assert bytes(reparsed) == bytes(message)


@given(st.one_of(hostile, st.binary(max_size=300)))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_message(data)
    salvage(data)


@given(messages(), st.data())
def test_a_broken_message_is_a_message_or_a_wire_error(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    broken = data[:at] + draw.draw(hostile) + data[at + draw.draw(st.integers(0, 3)) :]
    with contextlib.suppress(WireError):
        message = parse_message(broken)
        reparsed = parse_message(bytes(message))
        assert values(reparsed) == values(message)
    rest = salvage(broken)
    if rest is not None:
        lines = [f"{name}: {value}" for name, value in rest]
        assert not any(ord(sign) < 32 and sign != "\t" for line in lines for sign in line)


# --- work grows linearly with size -------------------------------------------------------------------------

_PIECES = {
    "commas": b"Contact: " + b"a," * 4000,
    "commas in an unknown field": b"Z: " + b"," * 8000,
    "quotes": b'Contact: "' + b'"' * 8000,
    "open quote": b'Contact: ,"' + b"a" * 8000,
    "backslashes": b'Contact: ,"' + b"\\" * 8000,
    "spaces": b"Contact: a" + b" " * 8000 + b"b,c",
    "angle brackets": b"Contact: ," + b"<" * 8000,
    "semicolons": b"Via: SIP/2.0/UDP h" + b";" * 8000,
    "parameters": b"Via: SIP/2.0/UDP h" + b"".join(b";a%d" % i for i in range(1200)),
    "parameters with space": b"Via: SIP/2.0/UDP h" + b"".join(b" ;a%d" % i for i in range(1000)),
    "folds": b"Z: a" + b"\r\n b" * 2000,
    "parentheses": b"Call-ID: " + b"(" * 8000,
    "a long fold": b"Z: a\r\n" + b" " * 8000 + b"b",
    "folds in a list": b"Contact: a" + b",\r\n\ta" * 180,
    "folds without a field": b"Z" + b"\r\n " * 2000 + b": b",
    "escapes": b"To: <sip:" + b"%41" * 2000 + b"%@h>",
    "nested angle brackets": b"Contact: " + b"<" * 4000 + b">" * 4000 + b",a",
    "open brackets and commas": b"Contact: " + b"<a," * 2500,
    "open quotes and commas": b"Contact: " + b'"a,' * 2500,
    "quoted parameters": b"Contact: a,a" + b';b="\\""' * 1200,
    "lengths in folds": b"Z: a" + b"\r\n l: 0" * 2000,
    "fields": b"\r\n".join(b"Z: y" for _ in range(151)),
}


@pytest.mark.parametrize("line", _PIECES.values(), ids=_PIECES)
def test_twice_the_size_is_at_most_about_twice_the_work(line: bytes) -> None:
    half = count_calls(parse_message, request(extra=(line[: len(line) // 2] + b"\r\n").decode("latin-1")))
    whole = count_calls(parse_message, request(extra=(line + b"\r\n").decode("latin-1")))
    assert whole <= 2.5 * half + 50


# --- cases after RFC 4475 and RFC 5118 -------------------------------------------------------------------


def test_the_tortuous_request_is_read_right() -> None:
    message = parse_message(CASES[0].data)
    assert isinstance(message, Request)
    assert (message.cseq, message.cseq_method, message.max_forwards) == (9, "INVITE", 68)
    assert (message.to_tag, message.from_tag, message.from_.display) == (
        "1918181833n",
        "98asjd8",
        '"J Rosenberg \\\\\\""',
    )
    assert message.get("NewFangledHeader") == "newfangled value continued newfangled value"
    assert message.get("Subject") == ""
    assert message.get_all("Via") == [
        "SIP  /   2.0 /UDP 192.0.2.2;branch=390skdjuw",
        "SIP  / 2.0  / TCP     spindle.example.com   ; branch  =   z9hG4bK9ikj8",
        "SIP  /    2.0   / UDP  192.168.255.111   ; branch= z9hG4bK30239",
    ]


@pytest.mark.parametrize("letter", sorted(grammar.COMPACT))
@pytest.mark.parametrize("upper", [False, True])
def test_a_compact_name_is_read_as_the_long_one(letter: str, upper: bool) -> None:
    name = grammar.COMPACT[letter]
    spelled = letter.upper() if upper else letter
    plain = request("REFER", extra=f"{name}: <sip:x>\r\n" if name.encode() not in request() else "")
    respelled = re.compile(rf"(?m)^{name}(?=:)".encode()).sub(spelled.encode(), plain)
    assert respelled != plain
    assert values(parse_message(respelled)) == values(parse_message(plain))
    assert re.search(rf"(?m)^{name}:".encode(), bytes(parse_message(respelled)))


def test_header_fields_keep_their_order_and_their_names() -> None:
    extra = 'Zeta: 1\r\nalpha-Beta: 2,,3\r\nSubject: s\r\nZETA: 4;;\r\nzeta: "5\r\n'
    fields = parse_message(request(extra=extra)).fields
    assert fields[-5:] == (("Zeta", "1"), ("alpha-Beta", "2,,3"), ("Subject", "s"), ("ZETA", "4;;"), ("zeta", '"5'))


def test_bytes_after_the_body_are_ignored() -> None:
    message = parse_message(request("REGISTER", body=b"ab") + request())
    assert isinstance(message, Request)
    assert (message.method, message.body) == ("REGISTER", b"ab")


# --- smuggling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("byte", [*range(32), 127])
@pytest.mark.parametrize("where", ["start", "name", "value"])
def test_a_control_byte_is_refused(byte: int, where: str) -> None:
    control = bytes([byte])
    data = {
        "start": request().replace(b"sip:100@", b"sip:1" + control + b"@", 1),
        "name": request(extra="X-Any: 1\r\n").replace(b"X-Any", b"X" + control + b"Any"),
        "value": request(extra="X-Any: 1\r\n").replace(b"Any: 1", b"Any: a" + control + b"b"),
    }[where]
    if byte == 9 and where == "value":
        assert parse_message(data).get("X-Any") == "a\tb"
    else:
        assert refused(data).status_hint == 400


@pytest.mark.parametrize(
    "extra",
    [
        "Route\r\n : <sip:x>\r\n", " Z: y\r\n", "X y\r\n", ": y\r\n", "X Y: z\r\n", "X\xa0: y\r\n", "X(: y\r\n",
        "X\r\n", "Route\r\n",
        "\u212aey: 1\r\n", "Contact:\r\n", "Route: ,<sip:x>\r\n", "Via: <,>\r\n,\r\n", "Z: a\rb\r\n",
        "Z: a\nb: c\r\n", "Z: a\r\r\n",
    ],
)  # fmt: skip
def test_a_field_that_two_readers_would_read_differently_is_refused(extra: str) -> None:
    if extra.startswith(" "):  # right after the start line
        data = request().replace(b"SIP/2.0\r\n", b"SIP/2.0\r\n" + extra.encode(), 1)
    else:
        data = request(extra=extra)
    assert refused(data).status_hint == 400


def test_a_contact_of_all_is_kept_as_it_is() -> None:
    message = parse_message(request("REGISTER", extra="m: *\r\nExpires: 0\r\n"))
    assert message.get_all("Contact") == ["*"]
    assert b"\r\nContact: *\r\n" in bytes(message)


def test_empty_values_are_kept_where_a_field_may_be_empty() -> None:
    message = parse_message(request(extra="Supported:\r\nSubject: \t\r\nZ-Any:\r\n \r\n"))
    assert (message.get("Supported"), message.get("Subject"), message.get("Z-Any")) == ("", "", "")


def test_space_before_the_colon_does_not_hide_a_field() -> None:
    message = parse_message(request(extra="P-Asserted-Identity \t: <sip:boss@h>\r\nROUTE : <sip:a>\r\n"))
    assert message.get("P-Asserted-Identity") == "<sip:boss@h>"
    assert message.get("Route") == "<sip:a>"
    assert b"P-Asserted-Identity: " in bytes(message)


@pytest.mark.parametrize(
    "line",
    ["t: <sip:o@e>", "f: <sip:o@e>", "i: b", "CSEQ: 1 INVITE", "max-forwards: 1", "l: 0",
     "c: text/plain\r\nContent-Type: a/b",
     "r: <sip:a>\r\nRefer-To: <sip:b>", "Replaces: a\r\nreplaces: b", "Expires: 1\r\nexpires : 2"],
)  # fmt: skip
def test_a_field_twice_that_may_stand_once_is_refused(line: str) -> None:
    assert refused(request(extra=f"{line}\r\n")).reason.endswith("stands twice")


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
def test_a_missing_field_is_named(name: str) -> None:
    data = b"\r\n".join(line for line in request().split(b"\r\n") if not line.startswith(name.encode() + b":"))
    assert refused(data).reason == f"{name} is missing"


@pytest.mark.parametrize("call_id", ["", "a b", "a\x7f", "é"])
def test_a_malformed_call_id_is_refused_in_requests_and_responses(call_id: str) -> None:
    assert refused(request(call_id=call_id)).status_hint == 400
    refused(response().replace(b"Call-ID: c1@198.51.100.7", b"Call-ID: " + call_id.encode()))


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("SIP/2.0 INVITE sip:h", 400), ("SIP/2.0 sip:h SIP/2.0", 400), ("200 OK SIP/2.0", 400), ("INVITE * SIP/2.0",
        400),
        ("INVITE sip:h \u017fIP/2.0", 400), ("INVITE sip:h", 400), ("GET / HTTP/1.1", 400), ("INV(ITE sip:h SIP/2.0",
        400),
        ("SIP/2.0 200", 400), ("SIP/2.0 ２00 OK", 400), ("SIP/2.0 099 OK", 400), ("SIP/3.0 200 OK", 505),
        (" sip:h SIP/2.0", 400),
        ("sip/2.0 200 OK", 400), ("\tINVITE sip:h SIP/2.0", 400),
    ],
)  # fmt: skip
def test_a_start_line_of_neither_kind_is_refused(start: str, status: int) -> None:
    data = request().partition(b"\r\n")[2]
    assert refused(start.encode() + b"\r\n" + data).status_hint == status


def test_the_version_is_read_in_any_case_and_written_in_one() -> None:
    message = parse_message(request().replace(b"SIP/2.0\r\n", b"sIp/2.0\r\n", 1))
    assert bytes(message).startswith(b"INVITE sip:100@192.0.2.1 SIP/2.0\r\n")


@pytest.mark.parametrize("text", ["", "-1", "+1", "1 2", "1,1", "0x1", "1e3", "\u0661", "9" * 11, "1;a"])
def test_a_malformed_content_length(text: str) -> None:
    assert refused(request(length=f"Content-Length: {text}\r\n")).status_hint == 400


@pytest.mark.parametrize("text", ["-1", "256", "", "1.0", "7 0", "9" * 11])
def test_a_malformed_max_forwards(text: str) -> None:
    refused(request().replace(b"Max-Forwards: 70", f"Max-Forwards: {text}".encode()))


def test_without_content_length_the_body_is_the_rest() -> None:
    assert parse_message(request(length="", body=b"\x00\r\n\r\n\xff")).body == b"\x00\r\n\r\n\xff"


def test_empty_lines_before_the_start_line_are_skipped() -> None:
    assert values(parse_message(b"\r\n\r\n\r\n" + request())) == values(parse_message(request()))


@pytest.mark.parametrize("junk", [b"\r", b"\n", b"\n\r", b"\r\n\n", b"\r\r\n", b"\x00", b" "])
def test_other_bytes_before_the_start_line_are_refused(junk: bytes) -> None:
    refused(junk + request())


# --- salvage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["From: ", "To: ", "Call-ID: "])
def test_an_answer_needs_no_more_than_via_and_cseq(lost: str) -> None:
    rest = salvage(request().replace(lost.encode(), b"X-" + lost.encode(), 1))
    assert rest is not None
    assert {name for name, _ in rest} == {"Via", "From", "To", "Call-ID", "CSeq"} - {lost[:-2]}


@pytest.mark.parametrize("lost", ["Via: ", "CSeq: "])
def test_a_request_without_via_or_cseq_is_not_answered(lost: str) -> None:
    assert salvage(request().replace(lost.encode(), b"X-" + lost.encode(), 1)) is None


OTHERS = [
    request().replace(b"INVITE sip:100@192.0.2.1 SIP/2.0", line)
    for line in (b"", b"GET / HTTP/1.1", b"DESCRIBE rtsp://a RTSP/1.0", b"POST /SIP/2.0 HTTP/1.1", b"INVITE sip:a")
]
"""Messages of other protocols, with the fields by which a SIP client would match a response."""


@pytest.mark.parametrize("start", [b"", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("data", [request("ACK", cseq="1 INVITE"), response(700), b"", *OTHERS])
def test_messages_that_must_not_be_answered_are_not_salvaged(start: bytes, data: bytes) -> None:
    assert salvage(start + data) is None


def test_salvage_takes_the_first_of_two_and_every_via() -> None:
    rest = salvage(request(extra="v: SIP/2.0/UDP second\r\nTo: <sip:other@e>\r\nZ: \x00\r\n"))
    assert rest is not None
    assert [value for name, value in rest if name == "To"] == ["<sip:100@192.0.2.1>"]
    assert [value.split(";")[0] for name, value in rest if name == "Via"] == [
        "SIP/2.0/UDP 198.51.100.7:5060",
        "SIP/2.0/UDP second",
    ]


def test_salvage_unfolds() -> None:
    rest = salvage(request(to='"a\r\n b" <sip:100@h>', cseq="1 BYE"))
    assert rest is not None
    assert ("To", '"a b" <sip:100@h>') in rest


@settings(max_examples=30)
@given(messages())
def test_the_fields_of_a_sound_request_are_salvaged_too(data: bytes) -> None:
    message = parse_message(data)
    rest = salvage(data)
    assert (rest is None) == isinstance(message, Response)
    response = salvage_response(data)
    assert (response is None) == isinstance(message, Request)
    if isinstance(message, Response) and response is not None:
        assert (response.status, str(response.via), response.to) == (message.status, str(message.via), message.to)
        assert response.get_all("Record-Route") == message.get_all("Record-Route")


def test_of_a_malformed_response_transaction_dialog_and_route_set_are_salvaged() -> None:
    extra = "v: SIP/2.0/UDP second\r\nTo: <sip:other@e>\r\nRecord-Route: <sip:a;lr>, <sip:b;lr>\r\nRecord-Route: <x\r\n"
    contacts = "m: <sip:c@h>, <sip:d@h>\r\nContact: \x00\r\nContent-Length: 99\r\n"
    rest = salvage_response(response(200, extra=extra + contacts))
    assert rest is not None
    assert (rest.status, rest.to_tag, rest.body) == (200, parse_message(response(200)).to_tag, b"")
    assert len(rest.get_all("Via")) == 1
    assert rest.get_all("Record-Route") == ["<sip:a;lr>", "<sip:b;lr>"]
    assert rest.get_all("Contact") == ["<sip:c@h>"]


@pytest.mark.parametrize("data", [b"", b"SIP/2.0", b"SIP/2.0 200 OK", response(700), request(), b"SIP/2.0 2x0 OK\r\n"])
def test_what_names_no_transaction_is_no_response(data: bytes) -> None:
    assert salvage_response(data) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"", b""),
        (b"Via: ", b"Via "),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE\r\nCSeq: 2 BYE"),
        (b"Content-Length: 0", b"Content-Length: 9999999"),
        (b"Content-Length: 0", b"Content-Length: 9"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\0"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\rX: y"),
        (b"Max-Forwards: 70", b"X: " + b"y" * 20_000),
        (b"Max-Forwards: 70", b"\r\n".join([b"X: y"] * 300)),
        (b"\r\n\r\n", b"\r\n"),
        (b"sip:100@192.0.2.1 ", b"sip:100@[ "),
        (b"INVITE ", b"INV(ITE "),
    ],
)
@pytest.mark.parametrize("version", [b"SIP/3.0", b"SIP/1.0", b"SIP/2.1", b"sip/12.34"])
def test_another_version_is_505_whatever_the_rest_is(old: bytes, new: bytes, version: bytes) -> None:
    """The rest is written by the rules of that version."""
    data = request().replace(b" SIP/2.0\r\n", b" " + version + b"\r\n", 1).replace(old, new, 1)
    assert refused(b"\r\n" + data).status_hint == 505
