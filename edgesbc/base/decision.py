"""Decision: one decision of the edge, which ``observe`` keeps for `edgesbc why`."""

from __future__ import annotations

from edgesbc.base.reasons import Reason

__all__ = ["Decision"]


class Decision:
    """A verdict, ban, route choice, failover or health change.

    ``time`` is in seconds on the monotonic clock. ``limit`` and ``value`` are the allowed and the measured number, for
    reasons that have numbers. ``answer`` is the status sent to the peer, 0 for none; the default is the reason's.
    ``detail`` is a short free text; bytes of a peer in it are escaped.
    """

    __slots__ = (
        "answer", "call_id", "detail", "limit", "listener", "reason", "shadow", "source", "stage", "time", "value",
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
        answer: int | None = None,
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
        self.answer = reason.status if answer is None else answer

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))
        return f"Decision({shown})"
