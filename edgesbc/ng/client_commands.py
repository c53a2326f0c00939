"""Commands of signalling as commands of the NG protocol, and the replies of rtpengine as replies to signalling."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone, family_of
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import normal_address
from edgesbc.media.commands import Answer, Consent, MediaError, MediaReply, Offer
from edgesbc.media.interfaces import MediaInterface, MediaTarget
from edgesbc.media.latch import AddressScope, scope_of
from edgesbc.media.targets import described_family, media_targets
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session, without_path
from edgesbc.sdp.session import Attribute, MediaDescription, SessionDescription, parse_session

__all__ = ["LOAD_REASONS", "UNKNOWN_CALL", "answer_command", "checked_description", "offer_command", "reply_of"]

UNKNOWN_CALL: Final = frozenset({"Unknown call-id", "Unknown call-ID"})
LOAD_REASONS: Final = frozenset({"Parallel session limit reached", "Load limit exceeded", "Ran out of ports"})
"""The ``error-reason`` of an rtpengine that has no room; another one may have."""


@attrs.frozen
class CheckedDescription:
    """A description that an rtpengine may get."""

    sdp: bytes
    sections: int
    behind_nat: bool
    """Whether media goes to the source of the SIP message, because the description has an address behind a NAT."""
    waits: bool
    """Whether nothing may be sent before a packet came: the address may be one of another network."""


def checked_description(
    command: Offer | Answer,
    zone: Zone,
    interfaces: Mapping[Zone, Sequence[MediaInterface]],
    own: Collection[str] = frozenset(),
) -> CheckedDescription:
    """The description of ``command``, whose sender is on the side ``zone``, by the rules that the relay of the edge has
    for addresses: rtpengine has none. A public peer may not name ``own``, which are those of rtpengines: what is sent
    to another call's port would come from the relay itself. Raises :class:`WireError`.

    It is written anew: rtpengine gets no line that was not read here, and none that could make it send elsewhere.
    Sections that no media may go to have port 0. Of ICE nothing is left, because rtpengine would send checks to each
    candidate.
    """
    description = parse_session(command.sdp)
    of_zone = interfaces[zone]
    family = described_family(description) or family_of(command.received_from)
    interface = next((one for one in of_zone if one.family == family), of_zone[0])
    targets = media_targets(description, interface, command.received_from, isinstance(command, Answer))
    pairs = [pair for pair in targets if pair is not None]
    if not interface.trusted and any(_is_of(own, target) for pair in pairs for target in pair):
        raise WireError("the media address is the relay itself", 488)
    waits = any(target.signalled is not None and target.send_to is None for pair in pairs for target in pair)
    behind_nat = waits and bool(command.received_from)
    left = len(targets) if interface.trusted else limits.MEDIA_SECTIONS
    sections = []
    for media, pair in zip(without_path(description).media, targets, strict=True):
        left -= pair is not None
        if pair is None or left < 0:
            sections.append(attrs.evolve(media, port=0, ports=1))
        else:
            sections.append(_with_rtcp(media, pair, behind_nat))
    if not any(media.port for media in sections) and (
        isinstance(command, Offer) or any(media.port for media in description.media)
    ):
        raise WireError("the description has no section that can be relayed", 488)
    sdp = attrs.evolve(without_path(description), media=tuple(sections)).serialise()
    return CheckedDescription(sdp, len(sections), behind_nat, waits)


def _is_of(own: Collection[str], target: MediaTarget) -> bool:
    """Whether a target is at one of the addresses; on loopback, peers share them."""
    hosts = target.learn_from if target.signalled is None else {target.signalled.host, *target.learn_from}
    return any(host in own and scope_of(host) is not AddressScope.LOOPBACK for host in hosts)


def _with_rtcp(media: MediaDescription, pair: tuple[MediaTarget, MediaTarget], behind_nat: bool) -> MediaDescription:
    """The section with the address of RTCP that was judged, where it is not the next port of that of RTP (RFC 3605)."""
    rtp, rtcp = pair[0].signalled, pair[1].signalled
    if rtp is None or rtcp is None or rtcp == Source(rtp.host, rtp.port + 1):
        return media
    value = str(rtcp.port)
    if rtcp.host != rtp.host and not behind_nat:
        value += f" IN {family_of(rtcp.host)} {rtcp.host}"
    return attrs.evolve(media, attributes=(*media.attributes, Attribute("rtcp", value)))


def offer_command(
    offer: Offer, checked: CheckedDescription, engine: RtpengineSettings, record: bytes
) -> dict[str, Any]:
    """The NG command of an offer."""
    command = _with_description(offer, checked) | {"command": "offer"}
    command["metadata"] = _metadata(offer, record)
    if offer.answerer:
        command["to-tag"] = offer.answerer
    if engine.public:
        names = {Zone.PUBLIC: engine.public, Zone.CORE: engine.core}
        command["direction"] = [names[offer.offerer_zone], names[offer.answerer_zone]]
    if offer.answerer_family:
        command["address-family"] = offer.answerer_family
    return command


def answer_command(answer: Answer, checked: CheckedDescription) -> dict[str, Any]:
    """The NG command of an answer. As in rtpengine, ``from-tag`` is the tag of the offerer."""
    return _with_description(answer, checked) | {"command": "answer", "to-tag": answer.answerer}


def _with_description(command: Offer | Answer, checked: CheckedDescription) -> dict[str, Any]:
    # Ports stay as they are, though the peer changes its own: what is taken back leaves no side with a port of before.
    flags = ["SIP-source-address" if checked.behind_nat else "trust-address", "strict-source", "port-latching"]
    if checked.waits or command.consent is not Consent.ANY:
        flags.append("NAT-wait")  # to an address that may be forged, nothing before a packet came from there
    values: dict[str, Any] = {
        "call-id": command.session_id,
        "from-tag": command.offerer,
        "sdp": checked.sdp,
        "flags": flags,
        "endpoint-learning": "heuristic",  # of several sources, that of the description is the peer
        "replace": ["origin", "session-connection"],
        "ICE": "remove",
        "DTLS": "off",
        "supports": ["load limit"],
    }
    if command.received_from:
        values["received-from"] = [family_of(command.received_from), command.received_from]
    return values


def _metadata(offer: Offer, record: bytes) -> str:
    """What a signalling process that finds the session needs to know of it, as ``KEY:VALUE|...``."""
    zones = f"{offer.offerer_zone},{offer.answerer_zone}"
    known = base64.b64encode(record).decode("ascii")
    text = f"edgesbc:1|session:{offer.session_id}|zones:{zones}|record:{known}"
    return text if len(text) <= limits.NG_METADATA_BYTES else f"edgesbc:1|zones:{zones}"


def reply_of(reply: Mapping[str, Any], sections: int) -> tuple[MediaReply | MediaError, str]:
    """The reply to an offer or answer of so many sections, and the address of rtpengine in it, "" for none.

    Of rtpengine's description it has the addresses and ports, and what it has changed in the codecs; what must not
    cross is removed as the relay of the edge does.
    """
    result = reply.get("result")
    if result == "load limit":
        return MediaError(503, "the rtpengine has reached its limit"), ""
    if result != "ok":
        reason = str(reply.get("error-reason", "no reason"))[:200]
        if reason in LOAD_REASONS:
            return MediaError(503, f"the rtpengine has no room: {reason}"), ""
        return MediaError(481 if reason in UNKNOWN_CALL else 500, f"the rtpengine refuses: {reason}"), ""
    sdp = reply.get("sdp")
    try:
        if not isinstance(sdp, str):
            raise WireError("it has no description")
        relayed = _relayed(sdp.encode("utf-8", "surrogateescape"), sections)
        return MediaReply(relayed.serialise()), relayed.origin.address
    except WireError as error:
        return MediaError(500, f"the reply of the rtpengine cannot be used: {error.reason}"), ""


def _relayed(sdp: bytes, sections: int) -> SessionDescription:
    description = parse_session(sdp)
    if len(description.media) != sections:
        raise WireError(f"expected {sections} sections, found {len(description.media)}")
    own = {description.connection_of(media) for media in description.media if media.port}
    addresses = {one.address for one in own if one is not None and not one.unspecified}
    if len(addresses) > 1 or None in own:
        raise WireError("expected one address for all sections")
    address = next(iter(addresses), description.origin.address)
    try:
        address = normal_address(address)
    except ValueError:
        raise WireError("expected an IP address of its own") from None
    relay_addresses = [RelayAddress(media.port, media.attribute("rtcp-mux") is not None) for media in description.media]
    return rewrite_session(description, address, relay_addresses)
