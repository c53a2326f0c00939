"""What became of one call, as its caller saw it. A value: calls nobody."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Transport

__all__ = ["CallResult"]


@attrs.frozen
class CallResult:
    """What became of one call. Times are in seconds of the system's monotonic clock, None: never came to that."""

    call_id: str
    transport: Transport
    placed: float
    answered: float | None = None
    ended: float = 0.0
    status: int = 0
    """Of the final answer to the INVITE; 0: there was none."""
    to_tag: str = ""
    sent: int = 0
    """RTP packets sent, and how many of them came back unchanged."""
    heard: int = 0
    verified: bool = False
    """Everything said was heard, and nothing else."""
    bye_status: int = 0
    """Of the answer to the caller's BYE; 0: none, or the other side hung up."""
    hung_up: bool = False
    """The other side ended the call."""
    problem: str = ""

    @property
    def set_up(self) -> float | None:
        """Seconds from INVITE to 200."""
        return None if self.answered is None else self.answered - self.placed

    @property
    def completed(self) -> bool:
        """Answered, heard as it was said, and ended by a BYE that was answered with 200."""
        return self.answered is not None and self.verified and self.bye_status == 200
