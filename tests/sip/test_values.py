"""Header fields of RFC 3261 as values: what is read, what is refused, and that writing one loses nothing."""

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
from edgesbc.sip.values import (
    DELTA_SECONDS,
    parse_allow,
    parse_contact,
    parse_content_length,
    parse_expires,
    parse_max_forwards,
    parse_require,
    parse_retry_after,
    parse_route,
    parse_supported,
)

PARSERS: list[Callable[[str], object]] = [
    parse_allow, parse_contact, parse_content_length, parse_expires, parse_max_forwards, parse_require,
    parse_retry_after, parse_route, parse_supported,
]  # fmt: skip


@pytest.mark.parametrize("parser", PARSERS)
@given(
    text=st.one_of(
        st.text(),
        st.text('0159abK,;:=()<>"\\* \tſ', max_size=40),
        hostile.map(lambda data: data.decode("utf-8", "surrogateescape")),
    )
)
def test_any_text_is_a_value_that_reads_the_same_again_or_a_wire_error(
    parser: Callable[[str], object], text: str
) -> None:
    with contextlib.suppress(WireError):
        written = str(parser(text))
        assert str(parser(written)) == written


# --- numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parser", "most"),
    [(parse_max_forwards, 255), (parse_expires, DELTA_SECONDS), (parse_content_length, 9_999_999_999)],
)
def test_numbers_are_bounded(parser: Callable[[str], int], most: int) -> None:
    assert [parser(text) for text in ("0", "0068", str(most))] == [0, 68, most]
    with pytest.raises(WireError):
        parser(str(most + 1))


@pytest.mark.parametrize("parser", [parse_max_forwards, parse_expires, parse_content_length])
@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1 2", "1,1", "0x1", "1e3", "1_0", "1.0", "\u0661", "\xb2", "9" * 11, "9" * 5000, "1;a"]
)
def test_a_malformed_number(parser: Callable[[str], int], text: str) -> None:
    with pytest.raises(WireError):
        parser(text)


# --- Retry-After -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds", "comment", "params", "written"),
    [
        ("18000", 18000, "", (), "18000"),
        ("18000;Duration=3600", 18000, "", (("duration", "3600"),), "18000;duration=3600"),
        ("120 (I'm in (a long) meeting)", 120, "I'm in (a long) meeting", (), "120 (I'm in (a long) meeting)"),
        ("5(\\)\\() ; x", 5, "\\)\\(", (("x", None),), "5 (\\)\\();x"),
        ("5 ()", 5, "", (), "5"),
        ('5;x="(a)"', 5, "", (("x", '"(a)"'),), '5;x="(a)"'),
        ("5 (a;b)", 5, "a;b", (), "5 (a;b)"),
    ],
)
def test_retry_after(text: str, seconds: int, comment: str, params: list[tuple[str, str | None]], written: str) -> None:
    value = parse_retry_after(text)
    assert (value.seconds, value.comment, value.params, str(value)) == (seconds, comment, params, written)


@pytest.mark.parametrize(
    "text",
    ["", "a", "(5)", "5 (", "5 (a", "5 (a\\)", "5 ((a)", "5 (a))", "5 (a) (b)", "5 (a) b", "5;", "5;;a", "4294967296"],
)
def test_a_malformed_retry_after(text: str) -> None:
    with pytest.raises(WireError):
        parse_retry_after(text)


_comments = st.recursive(
    st.sampled_from(["a", " ", ";", '"', "é", "\\(", "\\)", "\\\\"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"({''.join(parts)})"),
    max_leaves=8,
)


@given(st.integers(0, DELTA_SECONDS), st.lists(_comments, max_size=3).map("".join), params())
def test_a_legal_retry_after_is_accepted(seconds: int, comment: str, rest: str) -> None:
    value = parse_retry_after(f"{seconds} ({comment}){rest}")
    assert (value.seconds, value.comment) == (seconds, comment)
    reparsed = parse_retry_after(str(value))
    assert (reparsed.seconds, reparsed.comment, reparsed.params) == (value.seconds, value.comment, value.params)


# --- addresses -------------------------------------------------------------------------------------------


@given(name_addrs())
def test_a_contact_has_its_address(text: str) -> None:
    contact = parse_contact(text)
    reparsed = parse_contact(str(contact))
    assert str(reparsed) == str(contact)
    assert (reparsed.display, str(reparsed.uri), reparsed.params) == (contact.display, str(contact.uri), contact.params)


@given(st.lists(st.tuples(uris(headers=False), params()), min_size=1, max_size=3))
def test_a_route_keeps_its_uri(routes: list[tuple[str, str]]) -> None:
    for uri, rest in routes:
        route = parse_route(f"<{uri}>{rest}")
        assert route.uri_text == uri
        assert str(parse_route(str(route))) == str(route)


def test_a_contact_of_all() -> None:
    contact = parse_contact("*")
    assert (contact.is_all, str(contact), contact.expires) == (True, "*", None)
    assert not parse_contact("<sip:a@b>").is_all


@pytest.mark.parametrize("text", ["", "* ", "<*>", "*;expires=0", "<nonsense>", "sip:a@b,sip:c@d", "<sip:>", "a <b>"])
def test_a_malformed_contact(text: str) -> None:
    with pytest.raises(WireError):
        parse_contact(text)


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("", None), (";expires=0", 0), (";expires=60", 60), (";Expires=00000000000060", 60), (";expires", 3600),
        (";expires=soon", 3600), (";expires=-1", 3600), (";expires=4294967296", DELTA_SECONDS),
        (";expires=" + "9" * 5000, DELTA_SECONDS),
    ],
)  # fmt: skip
def test_the_expiry_of_a_contact(expires: str, seconds: int | None) -> None:
    assert parse_contact(f"<sip:a@b>{expires}").expires == seconds


@pytest.mark.parametrize("text", ["sip:a@b", "sip:a@b;lr", "<tel:+1>", "<name:John_Smith>", "<nonsense>", "*", ""])
def test_a_malformed_route(text: str) -> None:
    with pytest.raises(WireError):
        parse_route(text)


# --- lists of tokens -------------------------------------------------------------------------------------


@given(st.lists(tokens, min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\t"]))
def test_a_legal_list_of_tokens_is_accepted(written: list[str], between: str) -> None:
    assert list(parse_allow(between.join(written))) == written
    assert list(parse_require(between.join(written))) == [token.lower() for token in written]
    assert str(parse_require(str(parse_require(between.join(written))))) == ", ".join(written).lower()


def test_allow_and_supported_may_be_empty() -> None:
    assert (len(parse_supported("")), len(parse_allow("")), str(parse_supported(""))) == (0, 0, "")
    with pytest.raises(WireError):
        parse_require("")


@pytest.mark.parametrize("text", ["a b", "a,,b", ",", "a;b", "<a>", '"a"', "\u212a", "é", "a,\u212a"])
@pytest.mark.parametrize("parser", [parse_require, parse_supported, parse_allow])
def test_a_malformed_list_of_tokens(parser: Callable[[str], object], text: str) -> None:
    with pytest.raises(WireError):
        parser(text)


def test_the_values_of_a_list_are_bounded() -> None:
    assert len(parse_require(",".join("a" * limits.HEADER_FIELDS))) == limits.HEADER_FIELDS
    with pytest.raises(WireError):
        parse_require(",".join("a" * (limits.HEADER_FIELDS + 1)))


# --- work ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parser", "before", "piece", "behind"),
    [
        (parse_require, "a", ",a", ","), (parse_require, "", '"', ""), (parse_retry_after, "5 ", "(", ""),
        (parse_retry_after, "5 (", "\\)", ""), (parse_retry_after, "5 ", "(a)", ";"),
        (parse_retry_after, "5", ";a", "("), (parse_contact, "<sip:a", ";a", ">"), (parse_route, "<", "<", ">"),
        (parse_expires, "", "9", ""),
    ],
)  # fmt: skip
def test_twice_the_size_is_at_most_about_twice_the_work(
    parser: Callable[[str], object], before: str, piece: str, behind: str
) -> None:
    half, whole = (count_calls(parser, before + piece * count + behind) for count in (2000, 4000))
    assert whole <= 2.5 * half + 50
