"""Commands that signalling gives to the media plane, its replies and its events: frozen values.

The planes share these types and nothing else. An offer and an answer (RFC 3264) name the media session by its
identifier, which is that of the call, and by the dialog tags of its two sides.
"""

from __future__ import annotations

import enum

import attrs

from edgesbc.base.address import Zone
from edgesbc.base.latch_mode import LatchMode

__all__ = [
    "Acknowledge",
    "Answer",
    "Consent",
    "Delete",
    "Establish",
    "MediaCommand",
    "MediaError",
    "MediaReply",
    "MediaSilence",
    "MediaTimeout",
    "Offer",
    "Refresh",
    "RelayLayout",
    "Restore",
    "Rollback",
]


class Consent(enum.Enum):
    """To which address the sender of a description may have media sent. ICE asks each address (RFC 8445, RFC 7675);
    without it, signalling has to show that the address is the sender's."""

    NONE = "none"
    """The source of its message may be forged: no address gets more bytes than came from it."""
    SOURCE = "source"
    """It receives what is sent to the source of its message; any other address gets no more bytes than came from it."""
    ANY = "any"
    """A trunk, a registered connection or the private side, or it has acknowledged an answer."""


@attrs.frozen
class Offer:
    """A description that offers (RFC 3264 section 5), whichever SIP message carries it.

    The first offer opens the session, a later one changes it once it is answered; until then, a :class:`Rollback` takes
    it back, and another offer takes its place. The reply is a :class:`MediaReply` or a :class:`MediaError`.
    """

    session_id: str
    offerer: str
    """The dialog tag of the side that sent the description."""
    answerer: str
    """The dialog tag of the other side; "" before it has one."""
    sdp: bytes
    offerer_zone: Zone
    answerer_zone: Zone
    received_from: str = ""
    """The IP address that the SIP message came from, which counts where the offerer is behind a NAT; "" for none."""
    consent: Consent = Consent.ANY
    reserved: bool = True
    """Whether it may open the ports that are kept for trunks and the private side."""
    answerer_family: str = ""
    """The address family, ``IP4`` or ``IP6``, that the other side gets before it has sent a description of its own, if
    its zone has it; "" for that of the offerer."""
    offerer_interface: str = ""
    """The name of the relay's interface that faces the offerer, of those in its zone; an edge's own have none."""
    answerer_interface: str = ""
    """The same for the other side."""
    latch: LatchMode = LatchMode.STRICT
    """Whether the ports that face the offerer follow the source of its packets."""


@attrs.frozen
class Answer:
    """A description that answers the latest offer (RFC 3264 section 6).

    Another ``answerer`` than before is another fork or the next destination, and takes the place of the one
    before. The reply is a :class:`MediaReply` or a :class:`MediaError`.
    """

    session_id: str
    offerer: str
    """The dialog tag of the side whose offer this answers."""
    answerer: str
    """The dialog tag of the side that sent the description."""
    sdp: bytes
    received_from: str = ""
    """The IP address that the SIP message came from; see :attr:`Offer.received_from`."""
    consent: Consent = Consent.ANY
    final: bool = True
    """Whether the answer stays. One that does not is carried out too, and a :class:`Rollback` takes it back with its
    offer: the answer in a provisional response that is not reliable (RFC 3262 section 5)."""
    latch: LatchMode = LatchMode.STRICT
    """Whether the ports that face the answerer follow the source of its packets."""


@attrs.frozen
class Rollback:
    """The pending offer of the side with the tag ``offerer`` will have no final answer: what was agreed on before it
    stays (RFC 3261 section 14.1; the term is that of RFC 8829 section 4.1.10.2). There is no reply."""

    session_id: str
    offerer: str


@attrs.frozen
class Delete:
    """End each session of that identifier in which a side has the tag. There is no reply."""

    session_id: str
    tag: str


@attrs.frozen
class Acknowledge:
    """The side with that tag has acknowledged an answer from the address that its description came from: what it
    described has :attr:`Consent.ANY` from now on. There is no reply."""

    session_id: str
    tag: str


@attrs.frozen
class Establish:
    """The call is answered: from now on silence ends the session. Before, nobody has to send: ringing may be heard from
    the caller's own phone. There is no reply."""

    session_id: str
    tag: str
    record: bytes = b""
    """What signalling wants to know of the call after a restart of its own; the media plane does not read it."""


@attrs.frozen
class Refresh:
    """A side has refreshed the call without a description (RFC 4028). There is no reply."""

    session_id: str
    tag: str


@attrs.frozen
class RelayLayout:
    """Where the relay is for one exchange of offer and answer. The first of each two faces the offerer."""

    addresses: tuple[str, str]
    """The literal addresses that its ports are bound to."""
    ports: tuple[tuple[int, int], ...] = ()
    """The RTP ports of each media section; 0: it has none."""


@attrs.frozen
class Restore:
    """An offer, and its answer if it has one, that a media plane which has ended had carried out: they are carried out
    on the ports of then. The reply is a :class:`MediaReply` to the answer, or to the offer without one, or a
    :class:`MediaError`; then nothing of it was carried out."""

    offer: Offer
    layout: RelayLayout
    """That of the last reply."""
    answer: Answer | None = None


MediaCommand = Offer | Answer | Restore | Establish | Rollback | Acknowledge | Refresh | Delete


@attrs.frozen
class MediaReply:
    """The reply to an offer or answer that was carried out."""

    sdp: bytes
    """The description for the other side, with the relay's addresses."""
    layout: RelayLayout = RelayLayout(("", ""))
    """For :class:`Restore`."""


@attrs.frozen
class MediaError:
    """The reply to an offer or answer that was refused; sessions and ports are as they were before it."""

    status: int
    """The SIP status that fits."""
    reason: str
    """For people: what was found and what was expected."""


@attrs.frozen
class MediaTimeout:
    """The event that a session received no packet for too long, or too few of one side. The media plane has ended the
    session."""

    session_id: str
    tags: tuple[str, ...]
    """The dialog tags of the sides that have one."""
    silent: tuple[MediaSilence, ...] = ()
    """The sides that fell silent; none where both did, or where the longest call is over."""


@attrs.frozen
class MediaSilence:
    """The event that one side of a session has fallen silent. The session goes on."""

    session_id: str
    tag: str
    """The dialog tag of that side."""
    missing: str
    """What does not come from it: ``packets``, or ``RTP`` where RTCP may come."""
    seconds: float
    """For how long, at least."""
