"""What a description says about where each media section goes, judged by the latch's rules. Opens no port."""

from __future__ import annotations

from edgesbc.base.errors import WireError
from edgesbc.media.latch import NOWHERE, MediaInterface, MediaTarget, judge_target
from edgesbc.sdp.session import MediaDescription, SessionDescription

__all__ = ["is_relayed", "media_targets"]

_RELAYED = frozenset({"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"})
"""What a relay of RTP packets can carry unopened; SDES keys pass through with the description."""
_DISCARD_PORT = 9  # browsers write it where RTCP has no port of its own


def is_relayed(media: MediaDescription) -> bool:
    """Whether a section is in use and of a kind that the relay carries."""
    return media.port != 0 and media.protocol in _RELAYED and media.ports == 1


def media_targets(
    session: SessionDescription, interface: MediaInterface, received: str
) -> list[tuple[MediaTarget, MediaTarget] | None]:
    """Aims for RTP and RTCP of each section, None for one that is rejected or not relayed.

    ``received`` is the address that signalling came from, or "". Raises :class:`WireError` for an
    address that media must not go to.
    """
    return [_aims_of(session, media, interface, received) if is_relayed(media) else None for media in session.media]


def _aims_of(
    session: SessionDescription, media: MediaDescription, interface: MediaInterface, received: str
) -> tuple[MediaTarget, MediaTarget]:
    connection = session.connection_of(media)
    if connection is None:
        raise WireError("a media section without a c= line")
    if connection.unspecified:
        return NOWHERE, NOWHERE
    rtp = judge_target(interface, connection.address, media.port, received)
    host, port = _rtcp_of(media, connection.address)
    if port > 65_535 or host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return rtp, NOWHERE
    return rtp, judge_target(interface, host, port, received)


def _rtcp_of(media: MediaDescription, host: str) -> tuple[str, int]:
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
