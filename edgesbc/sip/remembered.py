"""Memory for what was read lately: the messages of a call repeat their addresses, tags and Via."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

from edgesbc.base import limits

__all__ = ["remembered"]

_Value = TypeVar("_Value")


def remembered(read: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """``read``, with its last results kept; whoever gets one must not change it.

    Only short texts are kept and only so many, so that strangers can fill the memory but not make it
    grow. What cannot be read is not kept.
    """
    known = lru_cache(limits.REMEMBERED_VALUES)(read)
    longest = limits.REMEMBERED_LENGTH

    @wraps(read)
    def parse(text: str) -> _Value:
        return known(text) if len(text) <= longest else read(text)

    return parse
