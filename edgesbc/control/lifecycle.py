"""The commands about the edge as a whole: why, drain and reload, as a table for the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import attrs

from edgesbc.control.protocol import Commands, ControlRequest
from edgesbc.observe.ledger import WhyAnswer

__all__ = ["DrainStarted", "LifecycleCommands"]


class DrainStarted(TypedDict):
    """An edge that has begun to drain: its live calls, and the seconds until those left get a BYE."""

    calls: int
    grace: float


class LifecycleCommands:
    """The commands of one edge about itself.

    ``why`` finds decisions by a Call-ID or an address, ``drain`` begins to drain, ``reload`` reads the policy file and
    certificates again and returns an attrs value.
    """

    def __init__(
        self,
        why: Callable[[str], WhyAnswer],
        drain: Callable[[], DrainStarted],
        reload: Callable[[], Awaitable[attrs.AttrsInstance]],
    ) -> None:
        self._find = why
        self._drain = drain
        self._reload = reload

    @property
    def table(self) -> Commands:
        """The commands by their names on the control socket."""
        return {"why": self._why, "drain": lambda request: self._drain(), "reload": self._reloaded}

    def _why(self, request: ControlRequest) -> dict[str, Any]:
        """``of``: a Call-ID or an address."""
        return attrs.asdict(self._find(request.text("of")))

    async def _reloaded(self, request: ControlRequest) -> dict[str, Any]:
        return attrs.asdict(await self._reload())
