"""The result of one call, from the side of its caller."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Transport

__all__ = ["CallResult"]


@attrs.frozen
class CallResult:
    """The result of one call. Times are in seconds of the system's monotonic clock, None if it did not come to that."""

    call_id: str
    transport: Transport
    placed: float
    answered: float | None = None
    ended: float = 0.0
    status: int = 0
    """The status of the final response to the INVITE; 0 if there was none."""
    to_tag: str = ""
    sent: int = 0
    """RTP packets sent."""
    heard: int = 0
    """RTP packets that came back unchanged."""
    verified: bool = False
    """Every packet sent came back once and unchanged, and no other packet came."""
    bye_status: int = 0
    """The status of the response to the caller's BYE; 0 if there was none, or the other side hung up."""
    hung_up: bool = False
    """The other side ended the call."""
    problem: str = ""

    @property
    def set_up(self) -> float | None:
        """Seconds from INVITE to 200."""
        return None if self.answered is None else self.answered - self.placed

    @property
    def completed(self) -> bool:
        """Answered, with verified audio, and ended by a BYE with a 200."""
        return self.answered is not None and self.verified and self.bye_status == 200
