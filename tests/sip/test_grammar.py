"""The patterns, none of which can be slow, and the tables of header fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from edgesbc.sip import grammar

_parser: Any = re._parser  # type: ignore[attr-defined]
_UNBOUNDED = 16  # shorter repetitions cost little even if every length is tried
PATTERNS = {
    name: pattern
    for name, value in vars(grammar).items()
    if isinstance(pattern := getattr(value, "__self__", value), re.Pattern)
}


def repetitions(tree: Any) -> Iterator[tuple[str, int]]:
    """Each repetition in a parsed pattern: its kind and how often it may repeat."""
    for operation, argument in tree:
        name = str(operation)
        if name.endswith("_REPEAT"):
            yield name, int(argument[1])
        for part in argument if isinstance(argument, (tuple, list)) else [argument]:
            parts = part if isinstance(part, list) else [part]
            for inner in parts:
                if isinstance(inner, _parser.SubPattern):
                    yield from repetitions(inner)


def gives_back(pattern: str | bytes, flags: int = 0) -> bool:
    """Whether an unbounded repetition of the pattern can backtrack, which makes matching slow."""
    repeated = repetitions(_parser.parse(pattern, flags))
    return any(name != "POSSESSIVE_REPEAT" and most > _UNBOUNDED for name, most in repeated)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_no_pattern_backtracks(name: str) -> None:
    pattern = PATTERNS[name]
    assert not gives_back(pattern.pattern, pattern.flags & ~re.UNICODE)


@pytest.mark.parametrize("pattern", ["a*a*b", "(?:x(?:a+)y)", "(a|b+?)c", "(?:(?:a){0,99})b", "(?=a*)b"])
def test_a_pattern_that_backtracks_is_found(pattern: str) -> None:
    assert gives_back(pattern)


def test_every_pattern_is_examined() -> None:
    assert {"sip_uri", "name_addr", "via", "param", "quoted_or_comma", "content_lengths"} <= PATTERNS.keys()


def test_compact_forms_name_fields_that_have_a_long_form() -> None:
    assert set(grammar.COMPACT.values()) <= set(grammar.CANONICAL)
    assert all(grammar.CANONICAL[letter.upper()] == name for letter, name in grammar.COMPACT.items())


def test_the_compact_forms_are_the_registered_ones() -> None:
    assert "".join(sorted(grammar.COMPACT)) == "abcdefijklmnorstuvxy"


@pytest.mark.parametrize("name", sorted(grammar.LISTED | grammar.SINGLE))
def test_the_fields_with_rules_are_found_by_any_case(name: str) -> None:
    assert grammar.CANONICAL[name] == grammar.CANONICAL[name.lower()] == name


def test_no_field_is_both_single_and_a_list() -> None:
    assert not grammar.LISTED & grammar.SINGLE


@pytest.mark.parametrize(
    "address",
    ["::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "::ffff:192.0.2.1",
     "1:2:3:4:5:6:192.0.2.1", "fe80::1:2:3:4"],
)  # fmt: skip
def test_an_ipv6_address_is_one(address: str) -> None:
    assert re.fullmatch(grammar.IPV6, address)


@pytest.mark.parametrize(
    "address",
    ["", ":", ":::", "1", "1:2", "2001:db8:::192.0.2.1", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7:8:9", "::1.2.3",
     "::256.1.1.1", "::1.2.3.4.5", "1:2:3:4:5:6:7:", "::1%eth0"],
)  # fmt: skip
def test_what_looks_like_an_ipv6_address_is_none(address: str) -> None:
    assert not re.fullmatch(grammar.IPV6, address)


@pytest.mark.parametrize("text", ["1 INVITE", "0\tX", "0009  !ntesting-Method0123456789_*+`.%indeed'~"])
def test_cseq(text: str) -> None:
    assert grammar.cseq(text)


@pytest.mark.parametrize("text", ["", "1", "INVITE", "1INVITE", "-1 INVITE", "1 INV(ITE", "12345678901 A", "١ INVITE"])
def test_a_malformed_cseq(text: str) -> None:
    assert not grammar.cseq(text)


@pytest.mark.parametrize(
    "text", ["a", "a@b", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@192.0.2.4", '()<>:\\"/[]?{}@%', "a@b@c", "a;b,c=$#|^&"]
)
def test_call_id(text: str) -> None:
    assert grammar.call_id(text)


@pytest.mark.parametrize("text", ["", "a b", " a", "a\t", "a\x7f", "é"])
def test_a_malformed_call_id(text: str) -> None:
    assert not grammar.call_id(text)
