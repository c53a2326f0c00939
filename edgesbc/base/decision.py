"""Decision: one thing the edge decided that somebody may later ask about. A value; kept by ``observe``."""

from __future__ import annotations

from edgesbc.base.reasons import Reason

__all__ = ["Decision"]


class Decision:
    """A verdict, ban, route choice, failover or health change (DESIGN: the ledger).

    ``time`` is on the plane's monotonic clock; ``limit`` and ``value`` are what was allowed and what was
    seen, where the reason has numbers; ``detail`` is a short free text and never holds raw bytes of a
    peer that were not escaped.
    """

    __slots__ = (
        "call_id", "detail", "limit", "listener", "reason", "shadow", "source", "stage", "time", "value",
    )  # fmt: skip

    def __init__(
        self,
        time: float,
        reason: Reason,
        source: str = "",
        listener: str = "",
        call_id: str = "",
        stage: str = "",
        limit: float | None = None,
        value: float | None = None,
        shadow: bool = False,
        detail: str = "",
    ) -> None:
        self.time = time
        self.reason = reason
        self.source = source
        self.listener = listener
        self.call_id = call_id
        self.stage = stage
        self.limit = limit
        self.value = value
        self.shadow = shadow
        self.detail = detail

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))
        return f"Decision({shown})"
