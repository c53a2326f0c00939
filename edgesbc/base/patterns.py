"""Patterns of a policy: regular expressions that an operator writes and strangers' texts run through."""

from __future__ import annotations

import re
import re._parser  # type: ignore[import-not-found]  # what `re` itself reads patterns with
from collections.abc import Iterable
from typing import Any

__all__ = ["check_pattern"]

_MANY = 8
"""A part that may stand more often than this counts as repeated without end."""
_BACKTRACKING = ("MAX_REPEAT", "MIN_REPEAT")
_FINAL = ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression, and what a short text can keep busy for years.

    A repeat inside a repeat, as in ``(a+)+$``, tries every way to share the text between the two: 2^n ways
    for n characters. Possessive repeats and atomic groups never go back, so they may stand inside. This
    finds the explosions, not every slow pattern; ``limits.ROUTE_TEXT`` bounds the others.
    Raises ``ValueError`` that says what was expected.
    """
    try:
        re.compile(pattern)
        parsed = re._parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a regular expression, found {pattern!r} ({error})") from None
    if _repeats_within(parsed, inside=False):
        raise ValueError(
            f"expected no repeat inside a repeat, found {pattern!r}: a hostile text could hold up the edge;"
            " make the inner one possessive, as in (a++b)*"
        )


def _repeats_within(parsed: Iterable[Any], inside: bool) -> bool:
    for operation, argument in parsed:
        name = str(operation)
        repeats = name in _BACKTRACKING and argument[1] > _MANY
        if repeats and inside:
            return True
        # What matched in a possessive repeat or atomic group is not taken apart again from outside.
        within = repeats or (inside and name not in _FINAL)
        if any(_repeats_within(part, within) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterable[Any]:
    """The patterns inside an operation's argument, wherever they stand in it."""
    if isinstance(argument, re._parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for each in argument:
            yield from _parts(each)
