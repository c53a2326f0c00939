"""Containment of faults: what is raised in a task costs one connection, record or command, and ends no other task.

A task directly below a nursery that matters is run by :meth:`Containment.keep_running`, or its work is done within
:meth:`Containment.contain`. Cancellation passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from edgesbc.base import limits
from edgesbc.base.counts import Counts

__all__ = ["Containment"]


class Containment:
    """Counts and reports faults of the tasks of one edge.

    ``report`` is called with (kind, exception). A kind is a name from this program or the policy, never a peer's text:
    it is a label of a metric.
    """

    __slots__ = ("_report", "faults")

    def __init__(self, report: Callable[[str, Exception], None]) -> None:
        self._report = report
        self.faults = Counts()
        """Faults by (kind,)."""

    def fault(self, kind: str, error: Exception) -> None:
        """Count and report a fault that was caught elsewhere. Raises nothing."""
        self.faults.add(kind)
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]  # the error itself, not the group that a nursery makes of it
        try:
            self._report(kind, error)
        except Exception:  # noqa: BLE001 - a fault that cannot be reported is still counted
            self.faults.add("report")

    @contextmanager
    def contain(self, kind: str) -> Iterator[None]:
        """A context for one connection, record or command: what its block raises is a fault of ``kind``."""
        try:
            yield
        except* Exception as faults:  # noqa: BLE001 - the boundary between one piece of work and all others
            self.fault(kind, faults)

    async def keep_running(self, kind: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run ``run`` until it returns; when it raises, run it again after a pause.

        The pause doubles from ``limits.RESTART_SECONDS_LEAST`` to ``limits.RESTART_SECONDS_MOST``, and begins anew
        after a run that was longer than the latter.
        """
        pause = 0.0
        returned = False
        while not returned:
            began = trio.current_time()
            with self.contain(kind):
                await run()
                returned = True
            if not returned:
                if trio.current_time() - began > limits.RESTART_SECONDS_MOST:
                    pause = 0.0
                pause = min(max(2 * pause, limits.RESTART_SECONDS_LEAST), limits.RESTART_SECONDS_MOST)
                await trio.sleep(pause)
