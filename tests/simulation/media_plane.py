"""The media plane of a simulated edge: which offer of each session is agreed on, and which has no answer so far."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Zone
from edgesbc.media.commands import Answer, Delete, MediaCommand, Offer, Rollback

__all__ = ["MediaPlane"]


@attrs.frozen
class _Agreement:
    offer: Offer
    answer: Answer


class MediaPlane:
    """Offers and answers by the identifier of their session. Each has a number, which is the version of the description
    that the edge gets for it."""

    def __init__(self) -> None:
        self.pending: dict[str, Offer] = {}
        self.commands: dict[int, Offer | Answer] = {}
        self._agreed: dict[str, _Agreement] = {}
        self._early: dict[str, _Agreement] = {}
        """Answers that are in force, but that a rollback takes back."""
        self._ended: set[str] = set()
        self._before: dict[tuple[str, bytes], _Agreement | None] = {}

    def __len__(self) -> int:
        """Number of sessions."""
        return len({*self.pending, *self._agreed, *self._early})

    def in_force(self, session_id: str) -> _Agreement | None:
        """What the relay does now."""
        return self._early.get(session_id) or self._agreed.get(session_id)

    def has_ended(self, session_id: str) -> bool:
        return session_id in self._ended

    def is_as_before(self, session_id: str, sdp: bytes) -> bool:
        """Whether what was agreed on before the offer ``sdp`` is in force, or no such offer has come."""
        key = session_id, sdp
        return key not in self._before or self._before[key] == self.in_force(session_id)

    def carry_out(self, command: MediaCommand) -> tuple[Zone, int] | None:
        """The zone and version of the description in the reply; None if the command is refused, or has no reply."""
        session_id = command.session_id
        pending = self.pending.get(session_id)
        if isinstance(command, Offer):
            self.pending[session_id] = command
            self._early.pop(session_id, None)
            self._before[session_id, command.sdp] = self._agreed.get(session_id)
            return command.answerer_zone, self._number(command)
        if isinstance(command, Answer):
            agreed = self._agreed.get(session_id)
            offer = pending or (agreed.offer if agreed is not None else None)
            if offer is None or offer.offerer != command.offerer:
                return None
            self._early[session_id] = _Agreement(offer, command)
            if command.final:
                self._agreed[session_id] = self._early.pop(session_id)
                self.pending.pop(session_id, None)
            return offer.offerer_zone, self._number(command)
        if isinstance(command, Rollback) and pending is not None and pending.offerer == command.offerer:
            del self.pending[session_id]
            self._early.pop(session_id, None)
        elif isinstance(command, Delete):
            self._ended.add(session_id)
            for table in (self.pending, self._agreed, self._early):
                table.pop(session_id, None)
        return None

    def _number(self, command: Offer | Answer) -> int:
        self.commands[len(self.commands) + 1] = command
        return len(self.commands)
