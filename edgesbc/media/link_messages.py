"""What signalling and the media plane say to each other on a link between two processes, beside commands, replies and
events: frozen values."""

from __future__ import annotations

import attrs

from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Delete,
    Establish,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
    Refresh,
    Restore,
    Rollback,
)
from edgesbc.media.session_journal import SessionCopy

__all__ = ["Hello", "LinkMessage", "ListSessions", "PrivateSide", "SessionsListed"]


@attrs.frozen
class Hello:
    """The first message of the media plane on a link."""

    version: str
    """Of edgesbc."""


@attrs.frozen
class ListSessions:
    """Signalling asks for every session: each comes as a :class:`SessionCopy`, and after the last one
    :class:`SessionsListed`."""


@attrs.frozen
class SessionsListed:
    """Every session was sent."""


@attrs.frozen
class PrivateSide:
    """The addresses of the private side, which no description of a public peer may name: they replace those of before.
    More than one message holds come in several, of which ``first`` and ``last`` mark two."""

    hosts: tuple[str, ...] = ()
    """Addresses of members and listeners."""
    prefixes: tuple[str, ...] = ()
    """Prefixes that the policy allows there."""
    trunks: tuple[str, ...] = ()
    """Addresses and prefixes of trunks, which are peers on the public side as well."""
    first: bool = True
    last: bool = True


LinkMessage = (
    Offer | Answer | Restore | Establish | Rollback | Acknowledge | Refresh | Delete
    | MediaReply | MediaError | MediaTimeout | MediaSilence
    | Hello | ListSessions | SessionCopy | SessionsListed | PrivateSide
)  # fmt: skip
