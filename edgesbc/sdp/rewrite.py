"""The description that the other side of a relay sees, built from the one this side sent. Opens no port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from edgesbc.sdp.session import Attribute, ConnectionData, MediaDescription, SessionDescription

__all__ = ["RelayAddress", "rewrite_session"]

_OF_THE_PATH = frozenset(
    {
        # ICE and the addresses beside c= name a path that ends at the relay (RFC 8839, RFC 3605, RFC 6947)
        *("candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options"),
        *("ice-lite", "ice-mismatch", "ice-pacing", "rtcp", "altc", "source-filter"),
        # the same as a capability (RFC 7006), between networks (3GPP TS 29.079), and in ICE's first drafts
        *("ccap", "visited-realm", "secondary-realm", "alt"),
        # a DTLS handshake offered beside plain RTP (RFC 8643) cannot cross a relay of plain RTP
        *("fingerprint", "setup", "tls-id", "dtls-id"),
        # every section has ports of its own here (RFC 9143)
        "bundle-only",
    }
)


class RelayAddress(NamedTuple):
    """Where the relay takes one media section: its RTP port (0: rejected), and whether RTCP shares it."""

    port: int
    rtcp_mux: bool = False


def rewrite_session(session: SessionDescription, address: str, places: Sequence[RelayAddress]) -> SessionDescription:
    """``session`` as if the relay at ``address`` had sent it, one place a media section.

    Addresses of the origin, of every connection and of ICE give way to the relay's; RTCP is at the RTP
    port plus one, or on it. A section with port 0 stays rejected and keeps nothing but its ``mid``. The
    hold by an unspecified address (RFC 3264 section 8.4) stays visible. The number and version of the
    origin are kept, so that a repeated description is still seen as the same.
    """
    family = "IP6" if ":" in address else "IP4"
    origin = session.origin._replace(username="-", family=family, address=address)
    media = tuple(
        _anchor_media(session, section, family, place) for section, place in zip(session.media, places, strict=True)
    )
    return attrs.evolve(
        session,
        origin=origin,
        connection=ConnectionData(family, address),
        attributes=tuple(a for a in session.attributes if _passes(a)),
        media=media,
    )


def _anchor_media(
    session: SessionDescription, media: MediaDescription, family: str, place: RelayAddress
) -> MediaDescription:
    if media.port == 0 or place.port == 0:
        mid = tuple(a for a in media.attributes if a.name == "mid")
        return MediaDescription(media.kind, 0, media.protocol, media.formats, attributes=mid)
    connection = session.connection_of(media)
    held = connection is not None and connection.unspecified
    return attrs.evolve(
        media,
        port=place.port,
        ports=1,
        connection=ConnectionData(family, "::" if family == "IP6" else "0.0.0.0") if held else None,  # noqa: S104
        attributes=tuple(
            a
            for a in media.attributes
            if _passes(a) and (place.rtcp_mux or a.name.lower() not in ("rtcp-mux", "rtcp-mux-only"))
        ),
    )


def _passes(attribute: Attribute) -> bool:
    """Whether the other side may see it. Some readers take names in any case, so here too none counts."""
    name, value = attribute.name.lower(), attribute.value or ""
    if name == "group":
        return not value.lstrip().upper().startswith("BUNDLE")
    if name == "acap":  # a number and an attribute that is offered as a capability (RFC 5939 section 3.3.2)
        offered = value.split(maxsplit=1)[1:]
        return not any(each.partition(":")[0].strip().lower() in _OF_THE_PATH for each in offered)
    return name not in _OF_THE_PATH
