"""Patterns of routes that are accepted, and those whose matching time would be exponential."""

import re

import pytest

from edgesbc.base.patterns import check_pattern, compile_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\+?[0-9]{3,15}$",
        r"^(sip|tel)[a-z]*$",
        r"^([0-9]{1,3}\.){3}[0-9]+$",
        r"^(?:\+49|0)[1-9]+(?=5)",
        r"^(a++b)*$",
        r"^(?>a+b)*$",
        "",
    ],
)
def test_an_accepted_pattern(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [r"(a+)+$", r"(a*)*", r"(?:a|b+)*c", r"((x{1,30}y)){2,}", r"(?:(?=a+)b)*", r"(a+?)+?$", r"(?P<n>[0-9]+-?)*$"],
)
def test_a_repeat_inside_a_repeat_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="repeat inside a repeat"):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "*", "(?P<a>x)(?P<a>y)", "(?<=a+)b", "(" * 3000 + ")" * 3000])
def test_a_text_that_is_no_regular_expression_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a regular expression"):
        check_pattern(pattern)


def test_an_accepted_pattern_ends_soon_on_the_worst_text() -> None:
    pattern = r"^(?>a+b)*$"
    check_pattern(pattern)
    assert re.search(pattern, "a" * 256) is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^[0-9]+$", "1001", True),
        ("^[0-9]+$", "1001\n", False),
        ("^(a|[0-9]+$)", "1001\n", False),
        ("^(?:[0-9]+(?=$))", "1001\n", False),
        ("(?m)^[0-9]+$", "1001\nx", False),
        (r"^[0-9$]+\$", "100$\n", True),
        ("[$]", "1$", True),
        (r"^(\d+)(?P<rest>x?)$", "1x", True),
    ],
)
def test_a_dollar_is_the_end_of_the_text_alone(pattern: str, text: str, matches: bool) -> None:
    assert (compile_pattern(pattern).search(text) is not None) is matches


def test_groups_are_those_of_the_pattern() -> None:
    assert compile_pattern(r"^(?P<area>0\d)(\d+)$").sub(r"\2-\g<area>", "0712") == "12-07"
