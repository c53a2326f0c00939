"""Runs of the garbage collector that visit few objects each, in place of its own."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import trio

from edgesbc.base import limits

__all__ = ["collect_young_garbage", "stop_automatic_collections"]


def stop_automatic_collections() -> None:
    """Let the collector of this process run only when it is called, and never visit what exists now.

    It runs by itself when so many more objects were made than freed. Of calls and transactions as many are freed as
    made, by reference counts: it may then run after half a minute, visits all that are alive, and stops everything for
    a second. The setting is one of the whole process, so that an edge within another program does not change it.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


async def collect_young_garbage(
    collect: Callable[[int], object] = gc.collect, clock: Callable[[], float] = time.perf_counter
) -> None:
    """Collect the cycles that libraries leave, until cancelled.

    A run visits what was made since the last one, within ``limits.COLLECT_SECONDS``. What it leaves is visited once
    more when all these runs together have taken ``limits.COLLECT_AGAIN_SECONDS``, since that takes about as long again:
    soon under load, after a minute or more without. What is still alive then is left to reference counts.
    """
    spent = 0.0
    while True:
        await trio.sleep(limits.COLLECT_SECONDS)
        begun = clock()
        collect(0)
        spent += clock() - begun
        if spent >= limits.COLLECT_AGAIN_SECONDS:
            collect(1)
            spent = 0.0
