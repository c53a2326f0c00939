"""The session description that the other side of a relay receives, built from the one that this side sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from edgesbc.sdp.session import Attribute, ConnectionData, MediaDescription, SessionDescription

__all__ = ["RelayAddress", "rewrite_session", "without_path"]

_NOT_RELAYED = frozenset(
    {
        # Addresses and credentials of a path that ends at the relay (ICE: RFC 8839; RFC 3605, RFC 6947, RFC 4570).
        *("candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options"),
        *("ice-lite", "ice-mismatch", "ice-pacing", "rtcp", "altc", "source-filter"),
        # The same as a capability (RFC 7006), between networks (3GPP TS 29.079), and in the first drafts of ICE.
        *("ccap", "visited-realm", "secondary-realm", "alt"),
        # DTLS offered beside plain RTP (RFC 8643): the handshake cannot cross a relay of plain RTP.
        *("fingerprint", "setup", "tls-id", "dtls-id"),
        # Each section has ports of its own here (RFC 9143 section 6).
        "bundle-only",
    }
)
"""Attributes that the other side does not receive, in lower case."""


class RelayAddress(NamedTuple):
    """The relay's RTP port for one media section (0: rejected), and whether RTCP shares it (RFC 5761)."""

    port: int
    rtcp_mux: bool = False


def rewrite_session(
    description: SessionDescription, address: str, relay_addresses: Sequence[RelayAddress]
) -> SessionDescription:
    """``description`` as if the relay at ``address`` had sent it.

    ``relay_addresses`` has one item for each media section; raises :class:`ValueError` for another number. The
    addresses in ``o=``, in each ``c=`` and of ICE are replaced by the relay's or removed; RTCP is at the RTP port
    plus one, or on it.
    """
    family = "IP6" if ":" in address else "IP4"
    # RFC 8866 section 5.2: the same id and version mean the same description, so both are kept.
    origin = description.origin._replace(username="-", family=family, address=address)
    media = tuple(
        _rewrite_media(description, section, family, relay_address)
        for section, relay_address in zip(description.media, relay_addresses, strict=True)
    )
    return attrs.evolve(
        description,
        origin=origin,
        connection=ConnectionData(family, address),
        attributes=tuple(attribute for attribute in description.attributes if _is_relayed(attribute)),
        media=media,
    )


def without_path(description: SessionDescription) -> SessionDescription:
    """``description`` without the attributes that belong to the path between its sender and the relay: addresses and
    credentials of ICE and DTLS, and where RTCP is."""
    media = tuple(
        attrs.evolve(section, attributes=tuple(one for one in section.attributes if _is_relayed(one)))
        for section in description.media
    )
    attributes = tuple(attribute for attribute in description.attributes if _is_relayed(attribute))
    return attrs.evolve(description, attributes=attributes, media=media)


def _rewrite_media(
    description: SessionDescription, media: MediaDescription, family: str, relay_address: RelayAddress
) -> MediaDescription:
    if media.port == 0 or relay_address.port == 0:
        # RFC 3264 section 6: a rejected section stays in its place with port 0; only its mid (RFC 5888) is kept.
        mid = tuple(attribute for attribute in media.attributes if attribute.name == "mid")
        return MediaDescription(media.kind, 0, media.protocol, media.formats, attributes=mid)
    # RFC 3264 section 8.4: an unspecified address puts the stream on hold, which the other side has to see.
    connection = description.connection_of(media)
    held = connection is not None and connection.unspecified
    return attrs.evolve(
        media,
        port=relay_address.port,
        ports=1,
        connection=ConnectionData(family, "::" if family == "IP6" else "0.0.0.0") if held else None,  # noqa: S104
        attributes=tuple(
            attribute
            for attribute in media.attributes
            if _is_relayed(attribute)
            and (relay_address.rtcp_mux or attribute.name.lower() not in ("rtcp-mux", "rtcp-mux-only"))
        ),
    )


def _is_relayed(attribute: Attribute) -> bool:
    """Whether the other side receives it. Some parsers ignore case in names, so it is ignored here too."""
    name, value = attribute.name.lower(), attribute.value or ""
    if name == "group":
        return not value.lstrip().upper().startswith("BUNDLE")
    if name == "acap":  # a number, and an attribute that is offered as a capability (RFC 5939 section 3.3.2)
        offered = value.split(maxsplit=1)[1:]
        return not any(text.partition(":")[0].strip().lower() in _NOT_RELAYED for text in offered)
    return name not in _NOT_RELAYED
