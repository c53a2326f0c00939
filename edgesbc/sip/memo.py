"""A bounded cache for the parsers of single values, since the messages of a call repeat their addresses and Via."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

from edgesbc.base import limits

__all__ = ["memoized"]

_Value = TypeVar("_Value")


def memoized(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """``parse`` with its latest results kept. A result is shared by all callers, so it must be immutable.

    Only texts of up to :data:`~edgesbc.base.limits.REMEMBERED_LENGTH` characters are kept, and the least recently used
    is dropped, so that attackers can fill the cache but not make it grow. Errors are not kept.
    """
    cached = lru_cache(limits.REMEMBERED_VALUES)(parse)
    longest = limits.REMEMBERED_LENGTH

    @wraps(parse)
    def parse_memoized(text: str) -> _Value:
        return cached(text) if len(text) <= longest else parse(text)

    return parse_memoized
