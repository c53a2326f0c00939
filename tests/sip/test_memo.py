"""The cache of parsed values: bounded, and without errors."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.memo import memoized


def test_a_value_is_read_once_while_it_is_memoized() -> None:
    read: list[str] = []
    parse = memoized(lambda text: read.append(text) or text.upper())  # type: ignore[func-returns-value]
    assert [parse("a"), parse("a")] == ["A", "A"]
    assert read == ["a"]
    for number in range(limits.REMEMBERED_VALUES):
        parse(str(number))
    parse("a")  # other values have displaced it, and the cache has not grown
    assert read.count("a") == 2


def test_long_and_malformed_values_are_not_cached() -> None:
    read: list[str] = []

    def fussy(text: str) -> str:
        read.append(text)
        if text == "broken":
            raise WireError("broken")
        return text

    parse, long = memoized(fussy), "x" * (limits.REMEMBERED_LENGTH + 1)
    for text in (long, long):
        parse(text)
    for _ in range(2):
        with pytest.raises(WireError):
            parse("broken")
    assert read == [long, long, "broken", "broken"]


def test_the_parsers_are_memoized() -> None:
    assert parse_name_addr("<sip:a@b>;tag=1") is parse_name_addr("<sip:a@b>;tag=1")
