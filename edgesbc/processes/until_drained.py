"""An edge that runs until an order, or ``edgesbc drain``, ends it; and what its process needs for that."""

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

__all__ = ["EdgeOrders", "raise_descriptor_limit", "run_until_drained", "run_until_signal"]


class EdgeOrders:
    """``drain`` drains the edge, and ends it at once the second time; ``reload`` has it reload.

    Reloads are another task than orders, which have to be obeyed while a reload waits for a database or a disk.
    """

    def __init__(self) -> None:
        self.edge: RunningEdge | None = None
        """The edge, once it runs."""
        self.ended_early = False
        """Whether a second order ended it."""
        self.scope = trio.CancelScope()
        """Of the edge and all that it needs."""
        self.draining = False
        self._reload_asked = trio.Event()
        self._log = logs.lifecycle("edge")
        self.containment = Containment(self._report)

    def _report(self, kind: str, error: Exception) -> None:
        self._log.error(f"{kind} failed", error=repr(error))

    def obey(self, order: str) -> None:
        """Obey an order; also before the edge runs."""
        if order == "drain":
            self._drain()
        elif order == "reload":
            self._reload_asked.set()

    def _drain(self) -> None:
        if self.draining or (self.edge is not None and self.edge.draining):
            self._log.info("stopping at once: asked twice")
            self.ended_early = True
            self.scope.cancel()
        else:
            self.draining = True
            if self.edge is not None:
                self.edge.drain()

    async def obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        """SIGTERM and SIGINT are ``drain``, SIGHUP is ``reload``."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                self.obey("reload" if number == signal.SIGHUP else "drain")

    async def reload(self) -> None:
        """Reload once for all orders that came since the last time, until cancelled."""
        while True:
            await self._reload_asked.wait()
            self._reload_asked = trio.Event()
            if self.edge is not None:
                with self.containment.contain("reload"):
                    await self.edge.reload()


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
    return await run_until_drained(serve, EdgeOrders(), signals=True)


async def run_until_drained(
    serve: Callable[[trio.Nursery], contextlib.AbstractAsyncContextManager[RunningEdge]],
    orders: EdgeOrders,
    *,
    signals: bool = False,
) -> bool:
    """The same with ``orders``, which may come from elsewhere; with ``signals`` from these."""
    with orders.scope:
        async with trio.open_nursery() as nursery:
            if signals:
                await nursery.start(orders.obey_signals)
            nursery.start_soon(orders.containment.keep_running, "reload", orders.reload)
            async with serve(nursery) as edge:
                stop_automatic_collections()
                nursery.start_soon(orders.containment.keep_running, "garbage", collect_young_garbage)
                orders.edge = edge
                if orders.draining:
                    edge.drain()
                await edge.wait_ended()
            nursery.cancel_scope.cancel()
    return orders.ended_early
