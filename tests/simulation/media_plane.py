"""The media plane of a simulated edge: which offer of each session is agreed on, and which has no answer so far."""

from __future__ import annotations

from edgesbc.base.address import Zone
from edgesbc.media.commands import Answer, Delete, MediaCommand, Offer, Rollback

__all__ = ["MediaPlane"]


class MediaPlane:
    """Offers by the identifier of their session."""

    def __init__(self) -> None:
        self.pending: dict[str, Offer] = {}
        self._agreed: dict[str, Offer] = {}

    def __len__(self) -> int:
        """Number of sessions."""
        return len({*self.pending, *self._agreed})

    def carry_out(self, command: MediaCommand) -> Zone | None:
        """The zone that the description in the reply is for; None if the command is refused, or has no reply."""
        session_id = command.session_id
        pending = self.pending.get(session_id)
        if isinstance(command, Offer):
            self.pending[session_id] = command
            return command.answerer_zone
        if isinstance(command, Answer):
            offer = pending or self._agreed.get(session_id)
            if offer is None or offer.offerer != command.offerer:
                return None
            if command.final:
                self._agreed[session_id] = offer
                self.pending.pop(session_id, None)
            return offer.offerer_zone
        if isinstance(command, Rollback) and pending is not None and pending.offerer == command.offerer:
            del self.pending[session_id]
        elif isinstance(command, Delete):
            self.pending.pop(session_id, None)
            self._agreed.pop(session_id, None)
        return None
