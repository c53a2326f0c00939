"""What a description says about where each media section goes, judged by the latch's rules. Opens no port."""

from __future__ import annotations

from edgesbc.base.errors import WireError
from edgesbc.media.latch import NOWHERE, Aim, Interface, aim
from edgesbc.sdp.session import Media, Session

__all__ = ["aims_of", "relayed"]

_RELAYED = frozenset({"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"})
"""What a relay of RTP packets can carry unopened; SDES keys pass through with the description."""
_DISCARD_PORT = 9  # browsers write it where RTCP has no port of its own


def relayed(media: Media) -> bool:
    """Whether a section is in use and of a kind that the relay carries."""
    return media.port != 0 and media.protocol in _RELAYED and media.ports == 1


def aims_of(session: Session, interface: Interface, received: str) -> list[tuple[Aim, Aim] | None]:
    """Aims for RTP and RTCP of each section, None for one that is rejected or not relayed.

    ``received`` is the address that signalling came from, or "". Raises :class:`WireError` for an
    address that media must not go to.
    """
    return [_aims_of(session, media, interface, received) if relayed(media) else None for media in session.media]


def _aims_of(session: Session, media: Media, interface: Interface, received: str) -> tuple[Aim, Aim]:
    connection = session.connection_of(media)
    if connection is None:
        raise WireError("a media section without a c= line")
    if connection.unspecified:
        return NOWHERE, NOWHERE
    rtp = aim(interface, connection.address, media.port, received)
    host, port = _rtcp_of(media, connection.address)
    if port > 65_535 or host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return rtp, NOWHERE
    return rtp, aim(interface, host, port, received)


def _rtcp_of(media: Media, host: str) -> tuple[str, int]:
    """Where RTCP goes: the ``rtcp`` attribute (RFC 3605) or the RTP port plus one (RFC 3550 section 11)."""
    attribute = media.attribute("rtcp")
    if attribute is None:
        return host, media.port + 1
    parts = (attribute.value or "").split()
    if len(parts) not in (1, 4) or not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= 5):
        raise WireError("expected a=rtcp:PORT or a=rtcp:PORT IN IP4|IP6 ADDRESS")
    port = int(parts[0])
    if media.attribute("rtcp-mux") is not None and port in (media.port, _DISCARD_PORT):
        return host, media.port + 1
    return (parts[3] if len(parts) == 4 else host), port
