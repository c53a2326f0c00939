"""LatchMode: whether a media port follows the source of its peer's packets."""

from __future__ import annotations

import enum

__all__ = ["LatchMode"]


class LatchMode(enum.StrEnum):
    """To where a media port sends, and from which port of its peer's address it receives. In every mode, packets come
    from the address that signalling named, or have no effect."""

    STRICT = "strict"
    """The first source locks the port, the signalled one before all others, and gets what is sent."""
    SYMMETRIC_OFF = "symmetric-off"
    """What is sent goes to the signalled port, whatever the source of the peer's packets (RFC 3264 section 5.1)."""
    ROAMING = "roaming"
    """As ``strict``, and after the peer was silent another port of the same address takes its place: a NAT has given
    the peer another one."""
