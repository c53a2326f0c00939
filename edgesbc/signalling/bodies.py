"""Bodies of messages: the session description in them, and which other bodies cross the edge (RFC 5621).

A description may stand alone or in a multipart body. The media plane gets it, and its own takes that place. The other
parts cross as they are, or are removed: by their media type, and by the standing of the peer on the public side.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgesbc.base.errors import WireError
from edgesbc.media.commands import MediaError
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Message
from edgesbc.sip.multipart import Multipart, Part, disposition_of, media_type_of, parse_multipart

__all__ = [
    "NEGOTIATING", "REGISTERED_TYPES", "SDP", "TRUNK_TYPES", "BodyRule", "BodyRules", "CrossingBody", "body_error",
    "crossing_body", "has_sdp", "lost_requirement", "multipart_error", "sdp_of",
]  # fmt: skip

SDP: Final = "application/sdp"
NEGOTIATING: Final = frozenset({"INVITE", "UPDATE", "PRACK", "ACK"})
"""Methods whose messages have an offer or an answer (RFC 3261, RFC 3311, RFC 3262)."""
_TELEPHONY: Final = frozenset({"application/isup", "application/qsig"})
"""Signalling of telephone networks (RFC 3204), which networks accept from each other alone."""
_LOCATION: Final = "application/pidf+xml"
"""Where a caller is (PIDF-LO, RFC 6442); in PUBLISH and NOTIFY it is presence (RFC 3863)."""

REGISTERED_TYPES: Final = frozenset({
    "application/resource-lists+xml", "application/rs-metadata", "application/rs-metadata+xml",
})  # fmt: skip
"""What crosses besides descriptions in the calls of registered users: lists of users to invite (RFC 5366), and what
recorders get (RFC 7866)."""
TRUNK_TYPES: Final = REGISTERED_TYPES | _TELEPHONY | {
    _LOCATION, "application/vnd.etsi.aoc+xml", "application/vnd.etsi.cug+xml",
    "application/vnd.etsi.pstn+xml", "application/emergencycalldata.comment+xml",
    "application/emergencycalldata.deviceinfo+xml", "application/emergencycalldata.providerinfo+xml",
    "application/emergencycalldata.serviceinfo+xml", "application/emergencycalldata.subscriberinfo+xml",
}  # fmt: skip
"""And in those of trunks: ISUP and QSIG, locations (PIDF-LO, RFC 6442), services of telephone networks (3GPP TS 24.647
and others), and what emergency calls have (RFC 7852)."""


class BodyRule:
    """Which bodies cross between the private side and a peer of one standing.

    In messages that negotiate, ``types`` are the media types that cross beside a description, or in any multipart body;
    a body that stands alone crosses too if it is no ISUP, QSIG or location, and the rule is not ``strict``. In all
    others, only ISUP and QSIG need to be among the types.
    """

    __slots__ = ("_strict", "_types")

    def __init__(self, types: Iterable[str], strict: bool = False) -> None:
        self._types = frozenset(types)
        self._strict = strict

    def passes(self, media_type: str, negotiates: bool) -> bool:
        """Whether a part of that type crosses; a description is not asked about."""
        return media_type in self._types or not (negotiates or media_type in _TELEPHONY)

    def passes_alone(self, media_type: str, negotiates: bool) -> bool:
        """The same, for a body that is no part of another."""
        if not negotiates or self._strict:
            return self.passes(media_type, negotiates)
        return media_type in self._types or not (media_type in _TELEPHONY or media_type == _LOCATION)


class BodyRules:
    """The rules by standing, with the types that a policy adds; names are in any case."""

    __slots__ = ("_by_standing",)

    def __init__(
        self, unregistered: Iterable[str] = (), registered: Iterable[str] = (), trunk: Iterable[str] = ()
    ) -> None:
        strangers = BodyRule(map(str.lower, unregistered), strict=True)
        self._by_standing: dict[Standing, BodyRule] = {
            Standing.UNPROVEN: strangers,
            Standing.REACHABLE: strangers,
            Standing.REGISTERED: BodyRule([*REGISTERED_TYPES, *map(str.lower, registered)]),
            Standing.TRUNK: BodyRule([*TRUNK_TYPES, *map(str.lower, trunk)]),
        }

    def of(self, standing: Standing) -> BodyRule:
        """The rule for what a peer of that standing sends to the private side, and gets from there."""
        return self._by_standing[standing]


# --- the session description -----------------------------------------------------------------------------


def has_sdp(message: Message) -> bool:
    """Whether the body is, or contains, a session description (RFC 3264)."""
    return sdp_of(message) is not None


def sdp_of(message: Message) -> bytes | None:
    """The session description in a message; None without one, and where :func:`body_error` has an objection."""
    if not message.body:
        return None
    media_type = _media_type(message)
    if media_type == SDP:
        return message.body
    if not media_type.startswith("multipart/"):
        return None
    try:
        descriptions = _descriptions(_parts_of(message))
    except WireError:
        return None
    return descriptions[0].content if len(descriptions) == 1 and not descriptions[0].encoded else None


def body_error(message: Message) -> MediaError | None:
    """Why a message that may negotiate cannot: its body, or the description in it, can be read in no way, or in two."""
    media_type = _media_type(message) if message.body else SDP
    if not media_type:
        return MediaError(488, "a body without Content-Type, or with a malformed one")
    error = multipart_error(message)
    if error is not None or not media_type.startswith("multipart/"):
        return error
    descriptions = _descriptions(_parts_of(message))
    if len(descriptions) > 1:
        return MediaError(488, "several session descriptions in a multipart body")
    if descriptions and descriptions[0].encoded:
        return MediaError(488, "a session description in an encoding")
    return None


def multipart_error(message: Message) -> MediaError | None:
    """Why a multipart body cannot be read; None where it can, and for any other body."""
    if message.body and _media_type(message).startswith("multipart/"):
        try:
            _parts_of(message)
        except WireError as error:
            return MediaError(error.status_hint, error.reason)
    return None


def _descriptions(multipart: Multipart) -> list[Part]:
    """Its session descriptions for the session itself: RFC 3959 has others, for early media."""
    return [part for part in multipart.leaves() if part.media_type == SDP and part.disposition in ("", "session")]


def _parts_of(message: Message) -> Multipart:
    """Raises :class:`WireError` for a body that is no multipart body, or a malformed one."""
    if (message.get("Content-Encoding") or "identity").lower() != "identity":
        raise WireError("a multipart body in an encoding", 415)
    return parse_multipart(message.get("Content-Type") or "", message.body)


def _media_type(message: Message) -> str:
    return media_type_of(message.get("Content-Type") or "")


# --- what crosses ----------------------------------------------------------------------------------------


class CrossingBody:
    """The body that takes the place of another. ``content_type`` is the value of its Content-Type, None where the
    fields that describe the former one still do."""

    __slots__ = ("content", "content_type")

    def __init__(self, content: bytes, content_type: str | None = None) -> None:
        self.content: Final = content
        self.content_type: Final = content_type


def crossing_body(message: Message, sdp: bytes | None, rule: BodyRule) -> CrossingBody | None:
    """The body that crosses in the place of that of ``message``, None where that crosses as it is.

    ``sdp`` takes the place of the session description; b"" removes it, None leaves it. Parts that do not cross are
    removed. A description that is left alone is no multipart body any more; without anything left, there is no body.
    """
    if not message.body:
        return None
    media_type = _media_type(message)
    if media_type == SDP:
        return None if sdp is None else CrossingBody(sdp)
    negotiates = message.cseq_method in NEGOTIATING
    if not media_type.startswith("multipart/"):
        # One without a type may be a description.
        crosses = sdp is None or not negotiates if not media_type else rule.passes_alone(media_type, negotiates)
        return None if crosses else CrossingBody(b"")
    try:
        multipart = _parts_of(message)
    except WireError:
        return CrossingBody(b"")
    negotiated = _descriptions(multipart) if negotiates else []
    crossing = _Crossing(sdp, negotiated[0] if len(negotiated) == 1 else None, rule, negotiates)
    parts = crossing.parts_of(multipart)
    content = multipart.written(parts)
    if content == message.body:
        return None
    if not parts:
        return CrossingBody(b"")
    if crossing.left == 1 and crossing.sdp_left is not None:
        return CrossingBody(crossing.sdp_left, SDP)
    return CrossingBody(content)


class _Crossing:
    """Which parts of one body cross. ``left`` are those that do, ``sdp_left`` is the last description of them."""

    __slots__ = ("_negotiated", "_negotiates", "_rule", "_sdp", "left", "sdp_left")

    def __init__(self, sdp: bytes | None, negotiated: Part | None, rule: BodyRule, negotiates: bool) -> None:
        self._sdp = sdp
        self._negotiated = negotiated
        self._rule = rule
        self._negotiates = negotiates
        self.left = 0
        self.sdp_left: bytes | None = None

    def parts_of(self, multipart: Multipart) -> list[bytes]:
        """The parts of ``multipart`` that cross, as they are written. If it is signed, and what is signed crosses
        otherwise than it came, there is no signature (RFC 1847)."""
        parts = []
        for part in multipart.parts:
            written = self._part(part)
            if written is not None:
                parts.append(written)
            if multipart.subtype == "signed" and written != bytes(part):
                break
        return parts

    def _part(self, part: Part) -> bytes | None:
        if part.parts is not None:
            parts = self.parts_of(part.parts)
            return part.with_content(part.parts.written(parts)) if parts else None
        if part.media_type == SDP:
            content = part.content if self._sdp is None else self._sdp
            if self._sdp is not None and (not self._sdp or part is not self._negotiated):
                return None
            self.sdp_left = content
        elif not self._rule.passes(part.media_type, self._negotiates):
            return None
        else:
            content = part.content
        self.left += 1
        return bytes(part) if content is part.content else part.with_content(content)


def lost_requirement(message: Message, rule: BodyRule) -> str:
    """The media type of a body that its sender requires to be handled, and that does not cross; "" if there is none
    (RFC 3261 section 20.11). Where handling is not said, it is optional here."""
    if not message.body or _media_type(message) == SDP:
        return ""
    negotiates = message.cseq_method in NEGOTIATING
    try:
        if not _media_type(message).startswith("multipart/"):
            required = disposition_of(message.get("Content-Disposition") or "")[1]
            lost = required and not rule.passes_alone(_media_type(message), negotiates)
            return _media_type(message) if lost else ""
        return _lost_part(_parts_of(message), rule, negotiates)
    except WireError:
        return ""


def _lost_part(multipart: Multipart, rule: BodyRule, negotiates: bool) -> str:
    for part in multipart.leaves():
        removed = part.media_type != SDP and not rule.passes(part.media_type, negotiates)
        if part.required and removed:
            return part.media_type or "a body without Content-Type"
    return ""
