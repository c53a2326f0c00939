"""An edge that runs until a signal, or ``edgesbc drain``, ends it; and what its process needs for that."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable

import trio

from edgesbc.embedding import RunningEdge
from edgesbc.observe import logs
from edgesbc.tasks.containment import Containment
from edgesbc.tasks.garbage import collect_young_garbage, stop_automatic_collections

__all__ = ["raise_descriptor_limit", "run_until_signal"]


class _Signals:
    """SIGTERM and SIGINT drain the edge, the second one ends it at once; SIGHUP has it reload.

    Reloads are another task than signals, which have to be obeyed while a reload waits for a database or a disk.
    """

    def __init__(self) -> None:
        self.edge: RunningEdge | None = None
        self.terminating = False
        self.ended_early = False
        self._reload_asked = trio.Event()
        self._log = logs.lifecycle("edge")
        self.containment = Containment(self._report)

    def _report(self, kind: str, error: Exception) -> None:
        self._log.error(f"{kind} failed", error=repr(error))

    async def start(self, nursery: trio.Nursery) -> None:
        """Obey signals in tasks of ``nursery``, whose scope ends the edge."""
        await nursery.start(self._receive, nursery.cancel_scope)
        nursery.start_soon(self.containment.keep_running, "reload", self._reload)

    async def _receive(self, scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                if number != signal.SIGHUP:
                    self._terminate(scope)
                else:
                    self._reload_asked.set()

    async def _reload(self) -> None:
        """Reload once for all signals that came since the last time."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked = trio.Event()
            if self.edge is not None:
                with self.containment.contain("reload"):
                    await self.edge.reload()

    def _terminate(self, scope: trio.CancelScope) -> None:
        if self.terminating or (self.edge is not None and self.edge.draining):
            self._log.info("stopping at once: asked twice")
            self.ended_early = True
            scope.cancel()
        else:
            self.terminating = True
            if self.edge is not None:
                self.edge.drain()


def raise_descriptor_limit() -> None:
    """Raise the number of descriptors that this process may have to the highest one that it may choose itself.

    The default of 1,024 is for programs that use select(2). The setting is one of the whole process, so that an edge
    within another program does not change it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may refuse it; then the limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run_until_signal(
    serve: Callable[[trio.Nursery], contextlib.AbstractAsyncContextManager[RunningEdge]],
) -> bool:
    """Run the edge that ``serve`` starts until it has drained; whether a second signal ended it early.

    Raises ``OSError``, in an exception group, where the edge cannot start.
    """
    signals = _Signals()
    async with trio.open_nursery() as nursery:
        await signals.start(nursery)
        async with serve(nursery) as edge:
            stop_automatic_collections()
            nursery.start_soon(signals.containment.keep_running, "garbage", collect_young_garbage)
            signals.edge = edge
            if signals.terminating:
                edge.drain()
            await edge.wait_ended()
        nursery.cancel_scope.cancel()
    return signals.ended_early
