"""Attributes as Kamailio 5.6 reads them; tests/interop/test_kamailio_data.py compares with the real one."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.inventory.kamailio_attributes import leading_number, parse_attributes


def read(text: str) -> tuple[dict[str, str], int]:
    notes: list[str] = []
    return parse_attributes(text, notes.append), len(notes)


@pytest.mark.parametrize(
    ("text", "values", "notes"),
    [
        ("", {}, 0),
        ("weight=50", {"weight": "50"}, 0),
        ('weight="50";note="a;b"', {"weight": "50", "note": "a;b"}, 0),
        ("weight='50';note='a \"b'", {"weight": "50", "note": 'a "b'}, 0),
        ('ping_reply_codes="class=2;code=404"', {"ping_reply_codes": "class=2;code=404"}, 0),
        ("flag;weight=20;other", {"flag": "", "weight": "20", "other": ""}, 0),
        ("a=1,weight=20", {"a": "1"}, 1),
        ("Weight=7;DUID=x;Mine=y", {"weight": "7", "duid": "x", "Mine": "y"}, 0),
        ("weight=10;weight=20", {"weight": "10"}, 1),
        ("weight=5;;duid=z;", {"weight": "5", "duid": "z"}, 0),
        (" weight = 5 ; duid = z ", {"weight": "5", "duid": "z"}, 0),
        ("note=a b;weight=5", {"note": "a b", "weight": "5"}, 1),
        ("weight=", {"weight": ""}, 0),
        ("a=b=c", {"a": "b=c"}, 0),
    ],
)
def test_attributes(text: str, values: dict[str, str], notes: int) -> None:
    assert read(text) == (values, notes)


@pytest.mark.parametrize("text", ['note="x', 'note="x"y;weight=3', "=5", "flag other=5", 'note="', "a;=x"])
def test_attributes_for_which_kamailio_leaves_a_destination_out(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read(text)


def test_attributes_have_a_bound() -> None:
    text = ";".join(f"a{number}=1" for number in range(limits.DATABASE_PAIRS + 1))
    with pytest.raises(ValueError, match="pairs"):
        read(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("50", 50), ("+8", 8), ("-3", -3), ("5x", 5), ("007", 7), ("0", 0), ("", None), ("x5", None), ("-", None)],
)
def test_numbers(text: str, number: int | None) -> None:
    assert leading_number(text) == number
