"""Changes that options make to a description before the media plane gets it."""

from __future__ import annotations

from typing import Final

import attrs

from edgesbc.base.address import family_of
from edgesbc.base.errors import WireError
from edgesbc.ng.options import NgOptions
from edgesbc.sdp.session import Attribute, ConnectionData, MediaDescription, SessionDescription, parse_session

__all__ = ["adapt_answer", "adapt_offer", "passed_before"]

LOOP_ATTRIBUTE: Final = "rtpengine"
"""The attribute of the flag ``loop-protect``; its value names the process."""
_FEEDBACK: Final = {"RTP/AVP": "RTP/AVPF", "RTP/AVPF": "RTP/AVP", "RTP/SAVP": "RTP/SAVPF", "RTP/SAVPF": "RTP/SAVP"}
"""The profile with feedback (RFC 4585, RFC 5124) to each without, and the other way round."""


def passed_before(sdp: bytes, instance: str) -> bool:
    """Whether the description has the mark of ``instance``: the same request comes by a second time."""
    mark = f"a={LOOP_ATTRIBUTE}:{instance}".encode()
    return any(line.rstrip(b"\r") == mark for line in sdp.split(b"\n"))


def adapt_offer(sdp: bytes, options: NgOptions, instance: str) -> tuple[bytes, list[str]]:
    """The offer as the options say, and the profile that each section came with, [] where none was changed.

    Raises :class:`WireError` for a description that cannot be read, or a profile that cannot be had.
    """
    changes = options.media_address or options.without_rtcp_mux or options.transport or options.loop_protect
    if not changes:
        return sdp, []
    description = _with_address(parse_session(sdp), options.media_address)
    protocols = [media.protocol for media in description.media]
    sections = tuple(_offered(media, options) for media in description.media)
    changed = [media.protocol for media in sections] != protocols
    attributes = description.attributes
    if options.loop_protect:
        attributes = (*attributes, Attribute(LOOP_ATTRIBUTE, instance))
    description = attrs.evolve(description, media=sections, attributes=attributes)
    return description.serialise(), protocols if changed else []


def adapt_answer(sdp: bytes, options: NgOptions, protocols: list[str]) -> bytes:
    """The answer as the options say, with the profiles of its offer. Raises :class:`WireError`."""
    if not (options.media_address or protocols):
        return sdp
    description = _with_address(parse_session(sdp), options.media_address)
    if protocols and len(protocols) == len(description.media):
        sections = [
            attrs.evolve(media, protocol=protocol) if _FEEDBACK.get(media.protocol) == protocol else media
            for media, protocol in zip(description.media, protocols, strict=True)
        ]
        description = attrs.evolve(description, media=tuple(sections))
    return description.serialise()


def _offered(media: MediaDescription, options: NgOptions) -> MediaDescription:
    attributes, protocol, wanted = media.attributes, media.protocol, options.transport
    if options.without_rtcp_mux:
        attributes = tuple(one for one in attributes if one.name not in ("rtcp-mux", "rtcp-mux-only"))
    if wanted and media.port and protocol != wanted and protocol in _FEEDBACK:
        if _FEEDBACK[protocol] != wanted:
            raise WireError(f"transport-protocol: expected {protocol} or {_FEEDBACK[protocol]}, found {wanted}", 488)
        protocol = wanted
        if not wanted.endswith("F"):
            attributes = tuple(one for one in attributes if one.name != "rtcp-fb")
    return attrs.evolve(media, attributes=attributes, protocol=protocol)


def _with_address(description: SessionDescription, address: str) -> SessionDescription:
    """``description`` with ``address`` in the place of its own ones; those that mean hold stay."""
    if not address:
        return description
    connection = ConnectionData(family_of(address), address)
    sections = []
    for media in description.media:
        own = description.connection_of(media)
        held = own is not None and own.unspecified
        attributes = tuple(_without_address(one) for one in media.attributes)
        sections.append(attrs.evolve(media, connection=own if held else connection, attributes=attributes))
    return attrs.evolve(description, connection=connection, media=tuple(sections))


def _without_address(attribute: Attribute) -> Attribute:
    """RTCP is at the address of RTP: only its port counts."""
    if attribute.name != "rtcp" or attribute.value is None:
        return attribute
    return Attribute("rtcp", attribute.value.partition(" ")[0])
