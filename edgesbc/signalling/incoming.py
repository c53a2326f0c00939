"""Incoming: a request on its way through the core, with what is known of how it came."""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.screen.stage import Subject
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
