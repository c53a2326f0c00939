"""Effects: what the signalling core asks its shell to do, as small values; the shell carries them out in order."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.decision import Decision
from edgesbc.media.commands import MediaCommand

__all__ = ["Close", "Effect", "Media", "Open", "Penalise", "Record", "Send"]


class Send:
    """Bytes of one whole SIP message to one peer."""

    __slots__ = ("data", "flow")

    def __init__(self, flow: Flow, data: bytes) -> None:
        self.flow = flow
        self.data = data

    def __repr__(self) -> str:
        return f"Send({self.flow!r}, {self.data[:40]!r}...)"


class Open:
    """Open the connection that ``flow`` stands for; messages to it wait meanwhile in its outbox.

    ``name`` is what the peer's certificate has to carry, over TLS: a host name, or the literal address where
    the destination has no name (RFC 5922 section 4). The shell reports ``Edge.flow_closed`` where that fails.
    """

    __slots__ = ("flow", "name")

    def __init__(self, flow: Flow, name: str) -> None:
        self.flow = flow
        self.name = name


class Close:
    """Close a connection, after what was sent to it before."""

    __slots__ = ("flow",)

    def __init__(self, flow: Flow) -> None:
        self.flow = flow


@attrs.frozen
class Media:
    """A command for the media plane; its reply, if it has one, goes to ``Edge.media_replied`` with ``cookie``."""

    cookie: int
    command: MediaCommand


class Penalise:
    """Have the kernel drop what ``source`` sends to ``listener`` for ``ttl`` seconds, or no longer where that is 0.

    Port 0 is any port.
    """

    __slots__ = ("listener", "source", "ttl")

    def __init__(self, listener: Listener, source: Source, ttl: float) -> None:
        self.listener = listener
        self.source = source
        self.ttl = ttl


class Record:
    """Enter a decision in the ledger."""

    __slots__ = ("decision",)

    def __init__(self, decision: Decision) -> None:
        self.decision = decision


Effect = Send | Open | Close | Media | Penalise | Record
