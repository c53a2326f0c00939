"""Reads policies in threads, for a bounded time: a file system that does not answer holds up nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import trio

from edgesbc.base import limits

__all__ = ["in_thread"]

_T = TypeVar("_T")

_THREADS: Final = trio.CapacityLimiter(4)
"""For readings alone, so that those that never end leave threads to all others."""


async def in_thread(read: Callable[[], _T], what: str) -> _T:
    """The result of ``read``, which may block and changes nothing. ``what`` it reads is named in the error.

    Raises ``TimeoutError`` after ``limits.POLICY_READ_SECONDS``, and what ``read`` raises. The thread is then left to
    itself, also where the edge ends meanwhile.
    """
    with trio.move_on_after(limits.POLICY_READ_SECONDS):
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True, limiter=_THREADS)
    raise TimeoutError(f"{what}: expected to be read within {limits.POLICY_READ_SECONDS:g} s, found no end")
