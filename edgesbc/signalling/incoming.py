"""Incoming: a request on its way through the core, with what is known of how it came."""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.screen.stage import Subject
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request

__all__ = ["Incoming"]


class Incoming:
    """A request: ``message`` came by ``flow`` in ``size`` bytes; ``subject`` is what screening judges."""

    __slots__ = ("flow", "message", "size", "subject")

    def __init__(self, message: Request, flow: Flow, size: int, subject: Subject) -> None:
        self.message = message
        self.flow = flow
        self.size = size
        self.subject = subject

    @property
    def of_stranger(self) -> bool:
        """Whether its sender shares half of the transactions with all others without an account. One that has proven
        its address does not in its dialogs."""
        standing = self.subject.standing
        return standing is Standing.UNPROVEN or (standing is Standing.REACHABLE and not self.message.in_dialog)
