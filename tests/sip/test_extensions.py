"""Header fields of later RFCs as values: what is read, what is refused, and that writing one loses nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parser_work import count_calls
from support.sip import hostile, name_addrs, params, tokens, uris

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.extensions import (
    RAck,
    parse_asserted_identity,
    parse_event,
    parse_identity,
    parse_min_se,
    parse_privacy,
    parse_rack,
    parse_reason,
    parse_refer_to,
    parse_replaces,
    parse_session_expires,
)

PARSERS: list[Callable[[str], object]] = [
    parse_asserted_identity, parse_event, parse_identity, parse_min_se, parse_privacy, parse_rack, parse_reason,
    parse_refer_to, parse_replaces, parse_session_expires,
]  # fmt: skip
_words = st.sampled_from(["425928@bobster.example.org", "a", '<"[{?}]\\">@(h)'])


@pytest.mark.parametrize("parser", PARSERS)
@given(
    text=st.one_of(
        st.text(),
        st.text('01aK,;:=<>"\\ \tſ', max_size=40),
        hostile.map(lambda data: data.decode("utf-8", "surrogateescape")),
    )
)
def test_any_text_is_a_value_that_reads_the_same_again_or_a_wire_error(
    parser: Callable[[str], object], text: str
) -> None:
    with contextlib.suppress(WireError):
        written = str(parser(text))
        assert str(parser(written)) == written


def refused(parser: Callable[[str], object], *texts: str) -> None:
    for text in texts:
        with pytest.raises(WireError):
            print(text, "is read as", parser(text))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1), tokens)
def test_rack(response: int, cseq: int, method: str) -> None:
    text = f"{response} \t{cseq}  {method}"
    assert parse_rack(text) == RAck(response, cseq, method) == parse_rack(str(parse_rack(text)))


def test_a_malformed_rack() -> None:
    refused(parse_rack, "", "1 INVITE", "1 2", "1 2 3 4", "4294967296 1 A", "1 2147483648 A", "-1 1 A", "1 1 A;B")


@given(tokens, params())
def test_an_event_keeps_its_package_and_parameters(package: str, rest: str) -> None:
    event = parse_event(f"{package}{rest}")
    reparsed = parse_event(str(event))
    assert (reparsed.package, reparsed.params) == (event.package, event.params) == (package, event.params)


def test_the_id_of_an_event() -> None:
    assert parse_event("presence.winfo ; ID=7").param("id") == "7"
    refused(parse_event, "", ";id=1", "a b", "a;", "a,b", "a;id=1;id=2")


@given(st.lists(st.tuples(tokens, st.integers(0, 999), params()), min_size=1, max_size=3))
def test_reasons(values: list[tuple[str, int, str]]) -> None:
    text = ", ".join(
        f"{protocol} ;cause={cause}{rest}" for protocol, cause, rest in values if "cause" not in rest.lower()
    )
    if text:
        reasons = parse_reason(text)
        assert [reason.cause for reason in reasons] == [
            cause for _, cause, rest in values if "cause" not in rest.lower()
        ]
        assert str(parse_reason(str(reasons))) == str(reasons)


def test_a_reason_in_words() -> None:
    first, second = parse_reason('SIP;cause=200;text="Call completed, elsewhere", Q.850;cause=16')
    assert (first.protocol, first.cause, first.param("text")) == ("SIP", 200, '"Call completed, elsewhere"')
    assert (second.protocol, second.cause, second.param("text")) == ("Q.850", 16, None)
    assert [reason.cause for reason in parse_reason("Q.850")] == [None]
    refused(parse_reason, "", "SIP;cause=a", "SIP;cause", "SIP;cause=99999999999", "SIP,", "SIP;cause=1;cause=2", '"a"')


@given(_words, tokens, tokens, st.booleans())
def test_replaces(call_id: str, to_tag: str, from_tag: str, early: bool) -> None:
    text = f"{call_id} ; from-tag = {from_tag};to-tag={to_tag}{' ;early-only' if early else ''};x=1"
    replaces = parse_replaces(text)
    for value in (replaces, parse_replaces(str(replaces))):
        assert (value.call_id, value.to_tag, value.from_tag, value.early_only) == (call_id, to_tag, from_tag, early)
        assert value.param("x") == "1"


def test_a_malformed_replaces() -> None:
    refused(
        parse_replaces,
        "", "a", "a;to-tag=1", "a;from-tag=1", "a;to-tag=1;from-tag", "a;to-tag=1;to-tag=2;from-tag=3", "a b;to-tag=1",
        ";to-tag=1;from-tag=2", 'a;to-tag="1";from-tag=2', "a;to-tag=1;from-tag=2;early-only=1",
        "a;to-tag=1;from-tag=2,b;to-tag=1;from-tag=2",
    )  # fmt: skip


@given(name_addrs())
def test_refer_to_is_an_address(text: str) -> None:
    value = parse_refer_to(text)
    assert str(parse_refer_to(str(value))) == str(value)


def test_refer_to_may_carry_header_fields() -> None:
    value = parse_refer_to("<sip:a@b?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>")
    assert value.uri.headers == "Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2"
    refused(parse_refer_to, "", "*", "sip:a@b?x=y", "<nonsense>", "<sip:a>,<sip:b>")


@given(uris(), st.booleans())
def test_an_asserted_identity_or_two(uri: str, telephone: bool) -> None:
    text = f'"Zoë" <{uri}>' + (",tel:+1-201-555-0123" if telephone else "")
    identities = parse_asserted_identity(text)
    assert len(identities) == 1 + telephone
    assert next(iter(identities)).uri_text == uri
    assert str(parse_asserted_identity(str(identities))) == str(identities)


def test_a_malformed_asserted_identity() -> None:
    refused(
        parse_asserted_identity,
        "", "<sip:a@b>,<sip:c@d>", "<sip:a@b>,<sips:c@d>", "<tel:+1>,<tel:+2>", "<mailto:a@b>", "nonsense",
        "<sip:a>,<tel:+1>,<tel:+2>", "<sip:a@b>,",
    )  # fmt: skip


def test_privacy() -> None:
    assert list(parse_privacy("Header ;USER; critical")) == ["header", "user", "critical"]
    assert str(parse_privacy("id")) == "id"
    assert str(parse_privacy("none; critical")) == "none;critical"
    assert len(parse_privacy(";".join(f"a{n}" for n in range(limits.PARAMETERS)))) == limits.PARAMETERS
    refused(parse_privacy, "", "id;", "a,b", "id;id", "id;ID", "none;id", "critical;none;user", "\u212a", '"id"')
    refused(parse_privacy, ";".join(f"a{n}" for n in range(limits.PARAMETERS + 1)))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["", ";refresher=uac", " ; Refresher = UAS"]), params())
def test_session_expires(seconds: int, refresher: str, rest: str) -> None:
    for parser in (parse_session_expires, parse_min_se):
        value = parser(f"{seconds}{refresher}{rest}")
        assert value.seconds == seconds
        assert (value.param("refresher") is None) == (not refresher)
        assert str(parser(str(value))) == str(value)


def test_a_malformed_session_expires() -> None:
    refused(parse_session_expires, "", "a", "-90", "90;refresher=both", "90;refresher", "4294967296", "90;", "90,90")
    refused(parse_min_se, "", "a", "90;", "90 90")


@given(st.from_regex(r"[A-Za-z0-9._=/+-]{1,20}", fullmatch=True), params())
def test_identity(digest: str, rest: str) -> None:
    value = parse_identity(f"{digest} ; info = <https://cert.example.org/passport.cer>{rest}")
    for parsed in (value, parse_identity(str(value))):
        assert (parsed.digest, parsed.info) == (digest, "https://cert.example.org/passport.cer")
        assert parsed.params == value.params


def test_identity_with_a_passport_of_shaken() -> None:
    value = parse_identity('eyJhbGci.eyJhdHQi._28kAwRW-r==;info=<https://a.example/c.pem>;alg=ES256;ppt="shaken"')
    assert (value.param("alg"), value.param("ppt")) == ("ES256", '"shaken"')
    refused(
        parse_identity,
        "", "a", '"a"', "a;info=<https://a", "a;info=https://a", "a;info=<nonsense>", ";info=<https://a>", "a;alg=b",
        "a;info=<https://a>;", "a;info=<https://a>,b;info=<https://b>",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parser", "before", "piece", "behind"),
    [
        (parse_reason, "a", ',b;text="\\""', '"'), (parse_privacy, "a", ";a", ""), (parse_replaces, "a@b", ";a", "="),
        (parse_rack, "1", " ", "x"), (parse_identity, "", "a.=", ";info"), (parse_identity, "a;info=<", "a:", ""),
        (parse_identity, "a;info=<b:c>", ';d="\\""', ""), (parse_asserted_identity, "", "<sip:a>,", "<"),
        (parse_event, "a", " ;b", "c c"), (parse_session_expires, "90", ";a=b", "="), (parse_refer_to, "<", "%", ">"),
    ],
)  # fmt: skip
def test_twice_the_size_is_at_most_about_twice_the_work(
    parser: Callable[[str], object], before: str, piece: str, behind: str
) -> None:
    half, whole = (count_calls(parser, before + piece * count + behind) for count in (1000, 2000))
    assert whole <= 2.5 * half + 50
