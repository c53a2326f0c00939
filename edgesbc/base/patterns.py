"""Regular expressions in a policy, which are matched against texts that any peer may send: check and compilation."""

from __future__ import annotations

import re
import re._compiler  # type: ignore[import-not-found]
import re._parser  # type: ignore[import-not-found]  # what `re` itself reads patterns with
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = ["check_pattern", "compile_pattern", "has_control"]

has_control = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
"""Finds a control character (C0, DEL and C1) in a text, which no number and no name of a user has."""

_MANY = 8
"""A part that may match more often than this counts as unbounded."""
_BACKTRACKING = ("MAX_REPEAT", "MIN_REPEAT")
_FINAL = ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")


def check_pattern(pattern: str) -> None:
    """Refuse a text that is no regular expression, and one whose matching time is exponential.

    A repeat inside a repeat, as in ``(a+)+$``, tries every way to divide the text between the two: 2^n ways for n
    characters. Possessive repeats and atomic groups do not backtrack and may stand inside. This finds exponential
    patterns and not every slow one; ``limits.ROUTE_TEXT`` bounds the time of the others.
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


@lru_cache(1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that :func:`check_pattern` accepts. ``$`` means the end of the text alone.

    For ``re`` it means the place before a line feed at the end as well, so that ``^[0-9]+$`` would match ``1001\\n``.
    """
    parsed = re._parser.parse(pattern)
    _anchor(parsed)
    compiled: re.Pattern[str] = re._compiler.compile(parsed)
    return compiled


def _anchor(parsed: Any) -> None:
    for index, (operation, argument) in enumerate(parsed):
        if str(operation) == "AT" and str(argument) == "AT_END":
            parsed[index] = (operation, re._parser.AT_END_STRING)
        for part in _parts(argument):
            _anchor(part)


def _repeats_within(parsed: Iterable[Any], inside: bool) -> bool:
    for operation, argument in parsed:
        name = str(operation)
        repeats = name in _BACKTRACKING and argument[1] > _MANY
        if repeats and inside:
            return True
        # A repeat outside does not backtrack into a possessive repeat or an atomic group.
        within = repeats or (inside and name not in _FINAL)
        if any(_repeats_within(part, within) for part in _parts(argument)):
            return True
    return False


def _parts(argument: Any) -> Iterable[Any]:
    """The patterns inside an operation's argument, at any depth."""
    if isinstance(argument, re._parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for item in argument:
            yield from _parts(item)
