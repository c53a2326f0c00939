"""Cells of rows: what drivers make of numbers, truths and texts, and the lists that are written in one text."""

import pytest

from edgesbc.base import limits
from edgesbc.inventory.rows import Cells, Note, RowError, pairs, resources, table_of_texts


def cells(value: object) -> Cells:
    return Cells("t", "id=1", {"c": value}, [], [])  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), ("5", 5), (" 5 ", 5), (5.0, 5), ("-5", -5), (None, 7), ("", 7), ("  ", 7)]
)
def test_whole_numbers(value: object, number: int) -> None:
    row = cells(value)
    assert row.whole("c", 7) == number
    assert row.errors == []


@pytest.mark.parametrize("value", ["x", "5x", 5.5, True, "1" * 19, float("inf"), float("nan"), "fs://:pw@host"])
def test_no_whole_numbers(value: object) -> None:
    row = cells(value)
    assert row.whole("c", 7) == 7
    (error,) = row.errors
    assert error[:3] == ("t", "id=1", "c")
    assert error.message.startswith("expected a whole number, found ")
    assert "pw" not in error.message


@pytest.mark.parametrize(("value", "truth"), [(0, False), (1, True), ("true", True), ("0", False), (None, False)])
def test_truths(value: object, truth: bool) -> None:
    row = cells(value)
    assert row.truth("c") is truth
    assert row.errors == []


@pytest.mark.parametrize("value", [2, "yes", -1])
def test_no_truths(value: object) -> None:
    row = cells(value)
    assert row.truth("c") is False
    assert len(row.errors) == 1


def test_texts_lose_the_blanks_that_fill_up_a_column() -> None:
    assert cells("sip:10.0.0.1    ").text("c") == "sip:10.0.0.1"
    assert cells(5).text("c") == "5"
    assert cells(None).text("c") == ""
    for missing in (None, "", "   "):
        row = cells(missing)
        assert row.text("c", required=True) == ""
        assert len(row.errors) == 1


def test_a_text_has_a_bound() -> None:
    assert cells("x" * limits.DATABASE_TEXT).text("c") == "x" * limits.DATABASE_TEXT
    row = cells("x" * (limits.DATABASE_TEXT + 1))
    assert row.text("c") == ""
    assert "at most" in row.errors[0].message


def test_pairs() -> None:
    assert pairs("a=1; b = 2;;c;d=x=y;") == {"a": "1", "b": "2", "c": "", "d": "x=y"}
    assert pairs("") == {}
    with pytest.raises(ValueError, match="'a' again"):
        pairs("a=1;a=2")
    with pytest.raises(ValueError, match="name=value"):
        pairs("=1")


@pytest.mark.parametrize("form", ["pairs", "json"])
def test_pairs_have_a_bound(form: str) -> None:
    def text(number: int) -> str:
        keys = [f"k{n}" for n in range(number)]
        return ";".join(f"{k}=1" for k in keys) if form == "pairs" else "{" + ",".join(f'"{k}": 1' for k in keys) + "}"

    assert len(table_of_texts(text(limits.DATABASE_PAIRS))) == limits.DATABASE_PAIRS
    with pytest.raises(ValueError, match="at most"):
        table_of_texts(text(limits.DATABASE_PAIRS + 1))


@pytest.mark.parametrize("text", ["{", '{"a": []}', '{"a": true}', '{"a":' * 10_000])
def test_no_table_of_texts(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        table_of_texts(text)


def test_resources() -> None:
    assert resources("pstn=30;transcoder=10") == resources('{"pstn": 30, "transcoder": "10"}')
    for text in ("pstn", "pstn=many", "pstn=-x", '{"pstn": 1.5}'):
        with pytest.raises(ValueError, match="a number of calls for pstn"):
            resources(text)


def test_the_password_of_a_freeswitch_is_not_repeated() -> None:
    for text in ("pstn=fs://user:pw@10.0.0.1:8021", '{"pstn": "fs://:pw@10.0.0.1"}'):
        with pytest.raises(ValueError, match="fs:// URL, which is not supported") as caught:
            resources(text)
        assert "pw" not in str(caught.value)


def test_how_mistakes_and_notes_read() -> None:
    error = RowError("main dispatcher", "id=3", "flags", "expected bits, found 99")
    assert str(error) == "main dispatcher row id=3 flags: expected bits, found 99 (bad-value)"
    assert str(RowError("main dispatcher", "", "", "expected rows, found none", "no-rows")) == (
        "main dispatcher: expected rows, found none (no-rows)"
    )
    assert str(Note("t", "id=1", "attrs", "x")) == "t row id=1 attrs: x"
