"""TOML values to attrs values: exact types, all mistakes, dotted keys."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
import pytest
from cattrs import BaseValidationError

from edgesbc.policy.structure import STRUCTURE, converter, described, mistakes


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    number: int = 0
    from_: str = ""


@attrs.frozen
class Outer:
    whole: int | None = None
    real: float = 0.0
    flag: bool = False
    colour: Colour = Colour.RED
    folder: Path | None = None
    inner: Inner = attrs.field(factory=Inner)
    several: tuple[Inner, ...] = ()
    words: Mapping[str, str] = attrs.field(factory=dict)
    own: int = attrs.field(default=0, metadata={STRUCTURE: len})


def messages(data: Any) -> dict[str, str]:
    try:
        converter(Path("/etc")).structure(data, Outer)
    except (ValueError, BaseValidationError) as error:
        return {mistake.key: mistake.message for mistake in mistakes(error, "f", "o")}
    return {}


def test_a_valid_table() -> None:
    data = {
        "whole": 1,
        "real": 2,
        "flag": True,
        "colour": "blue",
        "folder": "x/y",
        "inner": {"number": 3, "from": "a"},
        "several": [{"number": 4}, {}],
        "words": {"a": "b"},
        "own": "four",
    }
    assert converter(Path("/etc")).structure(data, Outer) == Outer(
        1, 2.0, True, Colour.BLUE, Path("/etc/x/y"), Inner(3, "a"), (Inner(4), Inner()), {"a": "b"}, 4
    )


@pytest.mark.parametrize(
    ("data", "key", "message"),
    [
        ({"whole": 1.0}, "o.whole", "expected a whole number, found 1.0"),
        ({"whole": True}, "o.whole", "expected a whole number, found true"),
        ({"whole": "1"}, "o.whole", "expected a whole number, found '1'"),
        ({"real": False}, "o.real", "expected a number, found false"),
        ({"flag": 1}, "o.flag", "expected true or false, found 1"),
        ({"colour": "green"}, "o.colour", "expected one of red, blue; found 'green'"),
        ({"colour": ["red"]}, "o.colour", "expected one of red, blue; found a list"),
        ({"folder": 1}, "o.folder", "expected a path, found 1"),
        ({"inner": []}, "o.inner", "expected a table, found an empty list"),
        ({"inner": {"from": 1}}, "o.inner.from", "expected a text, found 1"),
        ({"inner": {"form": "a"}}, "o.inner.form", "unknown key; did you mean 'from'?"),
        ({"inner": {"zz": 1}}, "o.inner.zz", "unknown key; expected one of number, from"),
        ({"several": {"number": 4}}, "o.several", "expected a list, found a table"),
        ({"several": "ab"}, "o.several", "expected a list, found 'ab'"),
        ({"several": [{}, {"number": "x"}]}, "o.several[1].number", "expected a whole number, found 'x'"),
        ({"words": "ab"}, "o.words", "expected a table, found 'ab'"),
        ({"words": {"a": 1}}, "o.words.a", "expected a text, found 1"),
        (7, "o", "expected a table, found 7"),
    ],
)
def test_a_mistake(data: Any, key: str, message: str) -> None:
    assert messages(data) == {key: message}


def test_all_mistakes_at_once() -> None:
    data = {"whole": "x", "several": [{"number": "x"}, {"number": "y", "z": 1}], "a": 1, "b": 1}
    assert list(messages(data)) == [
        "o.whole",
        "o.several[0].number",
        "o.several[1].number",
        "o.several[1].z",
        "o.a",
        "o.b",
    ]


def test_long_values_are_cut() -> None:
    assert len(described("x" * 10_000)) < 100
