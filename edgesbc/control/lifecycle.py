"""The commands about the edge as a whole, as a table for the control socket: why, status, metrics, drain, reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import attrs

from edgesbc.control.protocol import Commands, ControlRequest
from edgesbc.observe.ledger import WhyAnswer

__all__ = ["DrainStarted", "EdgeStatus", "LifecycleCommands", "ListenerStatus", "ProcessStatus"]


class ListenerStatus(TypedDict):
    """A listener, and the address that it is bound to; ``port`` is the real one where the policy has 0."""

    name: str
    zone: str
    transport: str
    host: str
    port: int


class ProcessStatus(TypedDict):
    """A process of the edge."""

    name: str
    """``supervisor``, ``signalling``, ``media``, ``observe``, ``relay 1`` and so on; ``edge`` where one process is all
    but the relays."""
    pid: int
    """0: it does not run now."""
    state: str
    """``starting``, ``running``, ``waiting`` until it is started again, or ``spare``: it waits to take another's
    place."""
    since: float
    """For how many seconds it has been in this state."""
    restarts: int
    """How often it was started again."""


class EdgeStatus(TypedDict):
    """An edge as it is now."""

    name: str
    """``[edge] name``."""
    version: str
    """Of edgesbc."""
    policy_file: str
    policy_version: int
    """In the log of policies; 0: it could not be entered there."""
    change: str | None
    """The state of the last change of the policy, a value of :class:`RolloutState`; None: there was none."""
    listeners: list[ListenerStatus]
    http_port: int
    """Where ``/metrics`` is; 0: it is off."""
    calls: int
    adopted_calls: int
    """Calls of an earlier run of the signalling process, whose media goes on."""
    draining: bool
    not_ready: dict[str, str]
    """Why it takes no new calls, by part; empty: it takes them."""
    processes: list[ProcessStatus]


class DrainStarted(TypedDict):
    """An edge that has begun to drain: its live calls, and the seconds until those left get a BYE."""

    calls: int
    grace: float


class LifecycleCommands:
    """The commands of one edge about itself.

    ``why`` finds decisions by a Call-ID or an address, ``drain`` begins to drain, ``reload`` reads the policy file and
    certificates again and returns an attrs value. ``status`` is :meth:`edgesbc.RunningEdge.status`, ``metrics`` returns
    rows as :meth:`edgesbc.observe.metrics.Metrics.rows` does.
    """

    def __init__(
        self,
        why: Callable[[str], WhyAnswer],
        drain: Callable[[], DrainStarted],
        reload: Callable[[], Awaitable[attrs.AttrsInstance]],
        status: Callable[[], EdgeStatus],
        metrics: Callable[[], list[Any]],
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._find = why
        self._drain = drain
        self._reload = reload

    @property
    def table(self) -> Commands:
        """The commands by their names on the control socket."""
        return {
            "why": self._why,
            "drain": lambda request: self._drain(),
            "reload": self._reloaded,
            "status": lambda request: self._status(),
            "metrics": lambda request: self._metrics(),
        }

    def _why(self, request: ControlRequest) -> dict[str, Any]:
        """``of``: a Call-ID or an address."""
        return attrs.asdict(self._find(request.text("of")))

    async def _reloaded(self, request: ControlRequest) -> dict[str, Any]:
        return attrs.asdict(await self._reload())
