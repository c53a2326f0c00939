"""Validators of settings: what they accept, and that an error names the field, what was expected and what was found."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from edgesbc.base.validation import (
    Validator,
    at_most,
    between,
    described,
    listed_addresses,
    matching,
    one_of,
    optional,
    positive,
    prefixes,
    sip_methods,
)


def check(validator: Validator, value: Any) -> None:
    settings = attrs.make_class("Settings", {"rate": attrs.field(validator=validator)})
    settings(value)


@pytest.mark.parametrize(
    ("validator", "values"),
    [
        (positive, [0.001, 1, 10**9]),
        (between(1, 10), [1, 5.5, 10]),
        (one_of("a", "b"), ["a", "b"]),
        (matching("[a-z]+", "letters"), ["a", "abc"]),
        (at_most(2, "words"), [(), ("a",), ("a", "b")]),
        (optional(positive), [None, 1]),
        (sip_methods, [(), ("INVITE", "X-NEW")]),
        (prefixes, [(), ("192.0.2.0/24", "192.0.2.1", "2001:db8::/32")]),
        (listed_addresses, [("192.0.2.0/24", "203.0.113.77:5060", "[2001:db8::7]:5060")]),
    ],
)
def test_what_is_accepted(validator: Validator, values: list[Any]) -> None:
    for value in values:
        check(validator, value)


@pytest.mark.parametrize(
    ("validator", "value", "message"),
    [
        (positive, 0, "rate: expected a number above 0, found 0"),
        (positive, float("inf"), "rate: expected a number above 0, found inf"),
        (positive, float("nan"), "rate: expected a number above 0, found nan"),
        (between(1, 10), 0.9, "rate: expected a number from 1 to 10, found 0.9"),
        (between(1, 10), 11, "rate: expected a number from 1 to 10, found 11"),
        (between(1, 10), float("nan"), "rate: expected a number from 1 to 10, found nan"),
        (between(0.05, 1_000_000, "seconds"), 2e6, "rate: expected 0.05 to 1000000 seconds, found 2000000.0"),
        (one_of("a", "b"), "c", "rate: expected one of a, b; found 'c'"),
        (matching("[a-z]+", "letters"), "a\n", "rate: expected letters, found 'a\\n'"),
        (at_most(2, "words"), ("a",) * 3, "rate: expected at most 2 words, found 3"),
        (optional(positive), -1, "rate: expected a number above 0, found -1"),
        (sip_methods, ("INVITE", "Bye"), "rate: expected SIP methods in capitals, found 'Bye'"),
        (prefixes, ("a",), "rate: expected addresses or prefixes as in 192.0.2.0/24, found 'a'"),
    ],
)
def test_a_refusal_names_field_expectation_and_value(validator: Validator, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        check(validator, value)
    assert str(raised.value) == message


def test_an_invalid_address_is_named() -> None:
    with pytest.raises(ValueError, match=r"rate: expected a prefix, .*; found 'carrier'"):
        check(listed_addresses, ("carrier",))


@pytest.mark.parametrize(
    ("value", "text"),
    [({}, "a table"), ([], "an empty list"), ([1], "a list"), (True, "true"), (5, "5"), ("x", "'x'")],
)
def test_a_value_is_shown_as_toml_names_it(value: object, text: str) -> None:
    assert described(value) == text


def test_a_long_value_is_cut() -> None:
    assert described("x" * 200) == "'" + "x" * 79 + "..."
