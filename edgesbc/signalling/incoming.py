"""Incoming: a request on its way through the core, with what is known of how it came."""

from __future__ import annotations

from edgesbc.base.address import Flow, Zone
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
    def may_assert_identity(self) -> bool:
        """Whether the sender belongs to the trust domain of RFC 3325: only trunks on the public side do."""
        return self.subject.standing is Standing.TRUNK and self.flow.listener.zone is Zone.PUBLIC
