"""EffectQueue: the effects that the parts of the signalling core make while they work on one input, in order."""

from __future__ import annotations

from typing import Final, Protocol

from edgesbc.base.address import Flow
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.signalling.effects import Effect, Record, Send

__all__ = ["EffectQueue"]


class HeldFlow(Protocol):
    """A connection that has closed, and whose peer is expected to connect again."""

    def keep(self, data: bytes) -> None:
        """Take a message that would have been sent by it."""


class EffectQueue:
    """Filled by the parts of the core, emptied by ``Edge`` at the end of each of its methods."""

    __slots__ = ("_effects", "held")

    def __init__(self) -> None:
        self._effects: list[Effect] = []
        self.held: Final[dict[int, HeldFlow]] = {}
        """Closed connections whose messages are kept, by serial: ``DeviceFlows`` fills it."""

    def emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send the bytes of one whole SIP message."""
        if self.held and (held := self.held.get(flow.serial)) is not None:
            held.keep(data)
            return
        self._effects.append(Send(flow, data))

    def record(
        self,
        now: float,
        reason: Reason,
        flow: Flow | None = None,
        call_id: str = "",
        detail: str = "",
        answer: int | None = None,
    ) -> None:
        """Enter a decision of the core in the ledger; ``answer`` is the status that the sender gets."""
        source, listener = (str(flow.peer), flow.listener.name) if flow is not None else ("", "")
        self._effects.append(
            Record(Decision(now, reason, source, listener, call_id, "brain", None, None, False, detail, answer))
        )

    def take(self) -> list[Effect]:
        """The effects since the last time, in order."""
        effects, self._effects = self._effects, []
        return effects
