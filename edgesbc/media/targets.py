"""The targets of each media section of a description, judged by the rules of the latch. Without I/O."""

from __future__ import annotations

import attrs

from edgesbc.base.address import family_of
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import normal_address
from edgesbc.media.latch import NO_TARGET, MediaInterface, MediaTarget, judge_target
from edgesbc.sdp.session import MediaDescription, SessionDescription

__all__ = ["described_family", "is_relayed", "media_targets"]

_FAX = "UDPTL"
"""The protocol of T.38 facsimile (ITU-T T.38 annex D). It is written in lower case too."""
_RELAYED = frozenset({"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", _FAX})
"""Protocols whose packets the relay passes on unchanged; SDES keys (RFC 4568) pass with the description."""
_DISCARD_PORT = 9  # browsers write it where RTCP has no port of its own


def is_relayed(media: MediaDescription, opaque: frozenset[str] = frozenset()) -> bool:
    """Whether a section is in use and has a protocol that the relay passes on: one that it knows, or one of ``opaque``,
    in capital letters."""
    protocol = media.protocol.upper()
    return media.port != 0 and (protocol in _RELAYED or protocol in opaque) and media.ports == 1


def described_family(description: SessionDescription, opaque: frozenset[str] = frozenset()) -> str:
    """The address family in which the first relayed section that has an address is received: ``IP4`` or ``IP6``; ""
    where none has one, because all are on hold (RFC 3264 section 8.4)."""
    for media in description.media:
        host = _host(description, media) if is_relayed(media, opaque) else ""
        if host:
            return family_of(host)
    return ""


def media_targets(
    description: SessionDescription,
    interface: MediaInterface,
    received_from: str,
    one_family: bool,
    opaque: frozenset[str] = frozenset(),
) -> list[tuple[MediaTarget, MediaTarget] | None]:
    """The targets of RTP and RTCP for each section; None for a section that is rejected or not relayed.

    ``received_from`` is the IP address that the SIP message came from, or "". A section of another address family than
    the interface is rejected with ``one_family`` False, as it may be in an offer. ``opaque`` are protocols, in capital
    letters, whose datagrams the relay passes on without knowing them. Raises :class:`WireError` with
    ``status_hint`` 488 for an address that media must not be sent to, and 400 for lines that cannot be read.
    """
    targets: list[tuple[MediaTarget, MediaTarget] | None] = []
    for media in description.media:
        relayed = is_relayed(media, opaque)
        host = _host(description, media) if relayed else ""
        if not relayed or (host and not one_family and family_of(host) != interface.family):
            targets.append(None)
        else:
            targets.append(_section_targets(description, media, interface, received_from))
    return targets


def _host(description: SessionDescription, media: MediaDescription) -> str:
    """The literal address of a section; "" for a name, for none, and on hold."""
    connection = description.connection_of(media)
    if connection is None or connection.unspecified or not _is_literal(connection.address):
        return ""
    return connection.address


def _section_targets(
    description: SessionDescription, media: MediaDescription, interface: MediaInterface, received_from: str
) -> tuple[MediaTarget, MediaTarget]:
    # RFC 8866 section 5.7: each section has a c= line of its own or that of the session level.
    connection = description.connection_of(media)
    if connection is None:
        raise WireError("a media section without a c= line")
    if connection.unspecified:
        return NO_TARGET, NO_TARGET
    rtp = judge_target(interface, connection.address, media.port, received_from)
    protocol = media.protocol.upper()
    if protocol == _FAX:
        return attrs.evolve(rtp, udptl=True), NO_TARGET
    if protocol not in _RELAYED:
        return attrs.evolve(rtp, opaque=True), NO_TARGET
    host, port = _rtcp_address(media, connection.address)
    if not 0 < port <= 65_535 or host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return rtp, NO_TARGET
    return rtp, judge_target(interface, host, port, received_from)


def _rtcp_address(media: MediaDescription, host: str) -> tuple[str, int]:
    """Host and port of RTCP: the ``rtcp`` attribute (RFC 3605), or the RTP port plus one (RFC 3550 section 11)."""
    attribute = media.attribute("rtcp")
    if attribute is None:
        return host, media.port + 1
    parts = (attribute.value or "").split()
    if len(parts) not in (1, 4) or not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= 5):
        raise WireError("expected a=rtcp:PORT or a=rtcp:PORT IN IP4|IP6 ADDRESS")
    port = int(parts[0])
    if media.attribute("rtcp-mux") is not None and port in (media.port, _DISCARD_PORT):
        return host, media.port + 1
    return (parts[3] if len(parts) == 4 and _is_literal(parts[3]) else host), port


def _is_literal(host: str) -> bool:
    """Whether it is an address. A name is not looked up, as none in ``c=`` is; RTCP then goes where RTP goes."""
    try:
        normal_address(host)
    except ValueError:
        return False
    return True
