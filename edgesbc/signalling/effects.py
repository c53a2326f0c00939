"""Effects: what the signalling core asks its shell to do, as frozen values; the shell carries them out in order."""

from __future__ import annotations

from typing import NamedTuple

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.decision import Decision
from edgesbc.media.commands import MediaCommand

__all__ = ["Close", "Effect", "Media", "Open", "Penalise", "Record", "Send"]


class Send(NamedTuple):
    """Bytes of one whole SIP message to one peer."""

    flow: Flow
    data: bytes


class Open(NamedTuple):
    """Open the connection that ``flow`` stands for; messages to it wait meanwhile in its outbox.

    The shell reports ``Edge.flow_connected`` when all its handshakes are complete.

    ``name`` is what the peer's certificate has to carry, over TLS: a host name, or the literal address where
    the destination has no name (RFC 5922 section 4). The shell reports ``Edge.flow_closed`` where that fails.
    """

    flow: Flow
    name: str


class Close(NamedTuple):
    """Close a connection, after what was sent to it before."""

    flow: Flow


class Media(NamedTuple):
    """A command for the media plane; its reply, if it has one, goes to ``Edge.media_replied`` with ``cookie``."""

    cookie: int
    command: MediaCommand


class Penalise(NamedTuple):
    """Have the kernel drop what ``source`` sends to ``listener`` for ``ttl`` seconds, or no longer where that is 0.

    Port 0 is any port.
    """

    listener: Listener
    source: Source
    ttl: float


class Record(NamedTuple):
    """Enter a decision in the ledger."""

    decision: Decision


Effect = Send | Open | Close | Media | Penalise | Record
