"""The whole edge as a part of another program: ``async with edgesbc.serve(policy) as edge``.

The command line's ``run`` with ``planes = "tasks"`` is such a program too. :mod:`edgesbc.app` builds and runs what
:func:`serve` starts.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

import trio

from edgesbc.app import App
from edgesbc.base.errors import PolicyErrors
from edgesbc.control.bans import BanCommands
from edgesbc.control.destinations import DestinationCommands
from edgesbc.control.lifecycle import DrainStarted, EdgeStatus, ListenerStatus, ProcessStatus
from edgesbc.control.protocol import CommandRefused
from edgesbc.observe.decision_feed import DecisionSubscription
from edgesbc.observe.ledger import WhyAnswer
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.policy.model import Policy
from edgesbc.rollout.commands import PolicyCommands
from edgesbc.rollout.results import ReloadResult, RestartNeeded

__all__ = [
    "CommandRefused",
    "EdgeStatus",
    "ListenerStatus",
    "PolicyErrors",
    "ProcessStatus",
    "RestartNeeded",
    "RunningEdge",
    "load_policy",
    "parse_policy",
    "serve",
    "serve_app",
]


class RunningEdge:
    """An edge that runs: the commands of its control socket as methods, its decisions, and its end.

    :attr:`bans`, :attr:`destinations` and :attr:`policy` are groups of commands. Their methods raise
    :class:`edgesbc.CommandRefused`, whose text says why, and change nothing then. All methods are for the trio task
    that runs the edge, or another one of the same ``trio.run``.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def bans(self) -> BanCommands:
        """``list``, ``add``, ``remove``."""
        return self._app.bans

    @property
    def destinations(self) -> DestinationCommands:
        """``list``, ``drain``, ``disable``, ``enable``, ``left``, ``audit``."""
        return self._app.destinations

    @property
    def policy(self) -> PolicyCommands:
        """``running``, ``diff``, ``apply``, ``settling``, ``rollback``, ``log``, ``shadow``, ``shadowed``."""
        return self._app.policies

    def why(self, key: str) -> WhyAnswer:
        """The decisions about a Call-ID, an address (with or without a port), a prefix or the name of a destination."""
        return self._app.why(key)

    def decisions(self) -> AbstractContextManager[DecisionSubscription]:
        """Decisions from now on: ``with edge.decisions() as decisions: async for decision in decisions: ...``.

        The queue is bounded (``limits.DECISIONS_WAITING``); ``decisions.lost`` says how many it had no room for.
        ``decision.time`` is on trio's clock.
        """
        return self._app.feed.subscribe()

    def status(self) -> EdgeStatus:
        """Listeners, calls, readiness, processes and the version of the policy."""
        return self._app.status()

    def metrics(self) -> str:
        """The metrics in the Prometheus text format."""
        return self._app.metrics.render().decode()

    async def reload(self) -> ReloadResult:
        """Read the policy file and certificates again, as SIGHUP does for ``edgesbc run``."""
        return await self._app.reload()

    @property
    def draining(self) -> bool:
        """Whether it drains, or has ended."""
        return self._app.stopping.is_set()

    def drain(self) -> DrainStarted:
        """Begin to drain, as SIGTERM does for ``edgesbc run``; :meth:`wait_ended` waits for the end."""
        return self._app.drain()

    async def wait_ended(self) -> None:
        """Wait until the edge has ended, after a drain that was ordered here or by ``edgesbc drain``."""
        await self._app.ended.wait()


@asynccontextmanager
async def serve(
    policy: Policy | str | os.PathLike[str], *, nursery: trio.Nursery | None = None
) -> AsyncIterator[RunningEdge]:
    """Run an edge for the time of an ``async with`` block, which begins when every listener listens.

    ``policy`` is a policy, or the path of one. The edge's tasks are in ``nursery``; without it, in a nursery of its own
    around the block. At the end of the block the edge drains: new calls get 503, live ones have ``[edge] grace``
    seconds, then both sides get a BYE. When the block is cancelled or raises, the edge ends at once. No signal is
    obeyed.

    Raises ``edgesbc.PolicyErrors`` with every mistake in the policy, and ``OSError`` where the edge cannot start, as
    when an address is in use or another edge runs with the same ``[edge] state_dir``. What the block raises comes out
    as from any nursery: without ``nursery``, in an exception group.
    """
    if not isinstance(policy, Policy):
        policy = await trio.to_thread.run_sync(load_policy, os.fspath(policy))
    app = App(policy)
    if nursery is not None:
        async with serve_app(app, nursery) as edge:
            yield edge
        return
    failure: OSError | None = None
    async with trio.open_nursery() as own:
        try:
            await _start(app, own)
        except OSError as error:  # raised below, where no nursery makes a group of it
            failure = error
        else:
            async with _ended_after(app):
                yield RunningEdge(app)
    if failure is not None:
        raise failure


@asynccontextmanager
async def serve_app(app: App, nursery: trio.Nursery) -> AsyncIterator[RunningEdge]:
    """Run ``app`` by tasks of ``nursery`` for the time of an ``async with`` block; see :func:`serve`."""
    await _start(app, nursery)
    async with _ended_after(app):
        yield RunningEdge(app)


async def _start(app: App, nursery: trio.Nursery) -> None:
    """Start ``app``. Raises the ``OSError`` that kept it from starting without the groups of its nurseries."""
    try:
        await nursery.start(app.run)
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if isinstance(error, OSError):
            raise error from None
        raise


@asynccontextmanager
async def _ended_after(app: App) -> AsyncIterator[None]:
    """Drain ``app`` at the end of the block, and wait for its end; end it at once where the block fails."""
    try:
        yield
        app.drain()
        await app.ended.wait()
    finally:
        app.cancel()
        with trio.CancelScope(shield=True):
            await app.ended.wait()
