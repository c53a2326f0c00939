"""How a route changes the called number."""

import pytest

from edgesbc.base import limits
from edgesbc.routing.numbers import Numbers, Rewrite


@pytest.mark.parametrize(
    ("numbers", "user", "becomes"),
    [
        (Numbers(), "4930123", "4930123"),
        (Numbers(strip=2), "004930", "4930"),
        (Numbers(strip=9), "0049", ""),
        (Numbers(prepend="+"), "4930", "+4930"),
        (Numbers(strip=1, prepend="+49"), "030123", "+4930123"),
        (Numbers(rewrite=Rewrite(r"^\+49", "0")), "+4930123", "030123"),
        (Numbers(rewrite=Rewrite(r"^(\d{3})(\d+)$", r"\2-\1")), "030123", "123-030"),
        (Numbers(rewrite=Rewrite(r"^\+49", "0")), "+4330123", "+4330123"),
        (Numbers(strip=1, prepend="9", rewrite=Rewrite("^0+")), "+00930", "9930"),
    ],
)
def test_strip_then_rewrite_then_prepend(numbers: Numbers, user: str, becomes: str) -> None:
    assert numbers.apply(user) == becomes


def test_a_text_beyond_the_bound_is_not_rewritten() -> None:
    numbers = Numbers(rewrite=Rewrite("^0"))
    assert numbers.apply("0" * limits.ROUTE_TEXT) == "0" * (limits.ROUTE_TEXT - 1)
    assert numbers.apply("0" * (limits.ROUTE_TEXT + 1)) == "0" * (limits.ROUTE_TEXT + 1)


@pytest.mark.parametrize(
    ("match", "replace", "message"),
    [
        ("(", "", "regular expression"),
        ("(a+)+$", "", "repeat inside a repeat"),
        ("^0", r"\1", "groups of"),
        ("^0", "a b", "characters"),
        ("^0", "\r\n", "characters"),
        ("^0", ">", "characters"),
        ("^0", "@evil", "characters"),
    ],
)
def test_an_invalid_rewrite(match: str, replace: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rewrite(match, replace)


@pytest.mark.parametrize(
    ("numbers", "user", "becomes"),
    [
        (Numbers(rewrite=Rewrite(r"^\+49", "0")), "%2B4930", "030"),
        (Numbers(strip=1), "%2B4930", "4930"),
        (Numbers(strip=1), "%23100", "100"),
        (Numbers(prepend="%23"), "100", "%23100"),
        (Numbers(rewrite=Rewrite("^0", "%23")), "0100", "%23100"),
        (Numbers(rewrite=Rewrite("^0", "%5C1")), "0100", "%5C1100"),
        (Numbers(strip=1), "0%40evil%3A%0D%0A%25%FF", "%40evil%3A%0D%0A%25%FF"),
    ],
)
def test_an_escape_counts_as_its_character(numbers: Numbers, user: str, becomes: str) -> None:
    assert numbers.apply(user) == becomes
