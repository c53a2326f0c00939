"""The work of a parser, measured in calls, whose number is the same on every machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from edgesbc.base.errors import WireError

_Input = TypeVar("_Input")


def count_calls(read: Callable[[_Input], object], data: _Input) -> int:
    """The number of calls, of Python and C functions, that reading ``data`` takes.

    That no single call is slow is tested in tests/sip/test_grammar.py.
    """
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with contextlib.suppress(WireError):
            read(data)
    finally:
        sys.setprofile(before)
    return count
