"""Calls and their legs: what the edge remembers of a dialog that an INVITE set up (RFC 3261 section 12).

The table of calls is in ``calls.py``. A request inside the dialog needs only the token in its Request-URI.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Protocol

from edgesbc.base import limits
from edgesbc.base.address import CallHolder, Flow, Source, SourceKey, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.media.commands import MediaCommand
from edgesbc.signalling.open_offer import OpenOffer
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.sip.headers import NameAddr, parse_name_addr
from edgesbc.sip.message import Message, Request, Response
from edgesbc.sip.uri import Uri

__all__ = [
    "TARGETED",
    "Call",
    "CallState",
    "GivenToken",
    "Leg",
    "check_dialog_fields",
    "learn_target",
    "leg_of_caller",
    "remote_target",
    "route_set",
]

TARGETED = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK"})
"""Requests whose Contact is the remote target of a dialog (RFC 3261 table 2, RFC 3311, RFC 6665, RFC 3515)."""


_LAST_CSEQ = 2**31 - 1


class GivenToken:
    """A token of the edge that the peer of one leg has for that of the other, as the user of a Contact.

    ``contact`` is the value of that Contact, ``text`` the token, ``content`` what it was made from, and ``tag`` that of
    the leg then. ``target`` is what it opens to; None where it is to be opened for that.
    """

    __slots__ = ("contact", "content", "tag", "target", "text")

    def __init__(
        self, contact: str, text: str, content: tuple[object, ...], tag: str, target: RemoteTarget | None
    ) -> None:
        self.contact: Final = contact
        self.text: Final = text
        self.content: Final = content
        self.tag: Final = tag
        self.target: Final = target


class Leg:
    """One side of a dialog: how to reach that peer, and how it names itself.

    ``contact`` is its Contact URI, or the URI at which it was called until it gives one; ``contact_value`` is the
    field value of that Contact, "" where there was none; ``routes`` is the Record-Route set of its own
    side, ``address`` its From or To value with the tag, ``cseq`` the highest number it has used; ``first`` is
    the flow on which the dialog began, ``flow`` the one that it uses now.
    """

    __slots__ = ("address", "contact", "contact_value", "cseq", "first", "flow", "given", "routes", "tag")

    def __init__(self, flow: Flow) -> None:
        self.flow = self.first = flow
        self.tag = ""
        self.address = ""
        self.contact = ""
        self.contact_value = ""
        self.routes: tuple[str, ...] = ()
        self.cseq = 0
        self.given: GivenToken | None = None  # what stands for this peer on the other side

    def learn_dialog(self, response: Response, called: str) -> None:
        """Take tag, address and route set from an answer to the INVITE; those of a 2xx replace those of a 1xx
        (RFC 3261 section 13.2.2.4).

        ``called`` is the Request-URI that the INVITE had there; it is the target of a peer without a Contact.
        """
        if response.to_tag != self.tag or not self.address:
            self.contact = called
            self.contact_value = ""
            self.routes = ()
        if not self.routes or response.status >= 200:
            self.routes = route_set(response)
        self.tag = response.to_tag
        self.address = response.get("To") or ""


def leg_of_caller(request: Request, flow: Flow) -> Leg:
    """The sender of an INVITE that begins a dialog."""
    leg = Leg(flow)
    leg.tag = request.from_tag
    leg.address = request.get("From") or ""
    leg.cseq = request.cseq
    leg.routes = route_set(request)
    learn_target(leg, request)
    leg.contact = leg.contact or _target_text(request.from_)  # without a Contact (RFC 2543), the URI in From
    return leg


def check_dialog_fields(message: Message) -> None:
    """Check the addresses and the CSeq that the core reads later, before any state is made for the message.

    Raises ``WireError``.
    """
    if isinstance(message, Request):
        if message.cseq == _LAST_CSEQ and (message.method == "INVITE" or message.in_dialog) and message.method != "BYE":
            # The edge could not end the call: its BYE needs a higher number (RFC 3261 sections 8.1.1.5 and 12.2.1.1).
            raise WireError("CSeq leaves no number for a BYE")
        if message.method == "INVITE" and message.get("Contact") is None:
            _ = message.from_.uri  # which takes the place of the Contact
    for value in message.get_all("Contact"):
        if value != "*":
            _ = parse_name_addr(value).uri
    routes = message.get_all("Record-Route")
    for value in routes:
        _ = parse_name_addr(value).uri
    if message.cseq_method in TARGETED and not (isinstance(message, Response) and message.status >= 300):
        written = "".join((message.get("Contact") or "", *routes))
        if len(routes) > limits.ROUTE_SET or len(written.encode("utf-8", "surrogateescape")) > limits.TARGET_BYTES:
            raise WireError("Contact and Record-Route are too long for a dialog", 513)


def learn_target(leg: Leg, message: Message) -> None:
    """Take the remote target that ``message`` gives for its sender (RFC 3261 sections 12.1 and 12.2).

    A message without a Contact, or whose method changes no target, leaves what is known.
    """
    value = message.get("Contact") if message.cseq_method in TARGETED else None
    if not value or value == "*" or value == leg.contact_value:
        return
    leg.contact_value = value
    leg.contact = _target_text(parse_name_addr(value))


def route_set(message: Message) -> tuple[str, ...]:
    """The route set towards the sender of ``message``, the nearest proxy first (RFC 3261 sections 12.1.1 and 12.1.2).

    In a request that is the order of Record-Route; an answer repeats those of the request as its sender had them.
    """
    values = message.get_all("Record-Route")
    return tuple(values if isinstance(message, Request) else reversed(values))


def _target_text(address: NameAddr) -> str:
    """The URI as a Request-URI, where header fields have no place (RFC 3261 section 19.1.1, table 1)."""
    uri = address.uri
    return str(Uri(uri.scheme, uri.user, uri.host, uri.port, uri.params)) if uri.headers else address.uri_text


def remote_target(leg: Leg, epoch: str) -> RemoteTarget:
    """Where requests to ``leg``'s peer go; ``epoch`` is that of :class:`edgesbc.signalling.flows.Flows`.

    Requests to a public peer go to the address that its messages come from: that passes every NAT, and no Contact can
    make the edge send to another address. Requests to a peer in the core go to its first Route, or to its Contact if
    that is a literal address, because servers in the core may hand a call to each other. If a core peer has neither,
    they go to the address that its messages come from: the URI at which it was called was chosen by the caller.
    """
    flow = leg.flow
    peer, serial = flow.peer, flow.serial
    if flow.listener.zone is Zone.CORE and (leg.routes or leg.contact_value):
        next_hop = leg.routes[0] if leg.routes else f"<{leg.contact}>"
        literal = _literal(parse_name_addr(next_hop).uri, flow.listener.transport)
        if literal is not None and (":" in literal.host) is (":" in peer.host):
            peer, serial = literal, 0
    return RemoteTarget(flow.listener.name, peer, serial, epoch, leg.contact, leg.routes)


def _literal(uri: Uri, transport: Transport) -> Source | None:
    """The address of a URI with a literal unicast address; None for a name, and for loopback and the like."""
    host = uri.host
    if ":" in host:
        if host in ("::", "::1") or host.lower().startswith(("ff", "::ffff:")):
            return None
    else:
        parts = host.split(".")
        if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
            return None
        if not 0 < int(parts[0]) < 224:
            return None
    return Source(host, uri.port or transport.default_port)


class CallState(enum.Enum):
    SETTING_UP = "setting-up"
    ESTABLISHED = "established"
    ENDED = "ended"


class CallTable(Protocol):
    """The table of all calls."""

    def hang_up(self, call: Call, reason: Reason, now: float) -> None: ...

    def note_connections(self, call: Call) -> None: ...


class PendingInvite(Protocol):
    """The response context of the INVITE that sets a call up."""

    def stop(self, reason: Reason, outcome: str, now: float) -> None:
        """End the call from here with the status of ``reason``; ``outcome`` is how the statistics name its end."""


class Call:
    """A call: one INVITE server transaction outside a dialog, and what it set up.

    During set-up it has a lease at each member that was tried, afterwards only at the member that answered. ``number``
    identifies it while the edge runs, ``media_id`` also over several runs and edges: it is the identifier of its media
    session. Call-ID and tags do not identify it: a proxy forks, and sends a call out again by the same edge (RFC 3261
    section 16.6). ``due`` is the limit of its set-up, and once it is answered, that of its duration (seconds, the
    plane's clock).
    """

    __slots__ = (
        "_table",
        "acknowledged",
        "anchored",
        "call_id",
        "callee",
        "callee_media",
        "caller",
        "connections",
        "due",
        "early",
        "forks",
        "has_subscription",
        "holder",
        "hung_up",
        "invite",
        "late_offers",
        "leases",
        "limited",
        "media_holder",
        "media_id",
        "number",
        "open_offer",
        "queued",
        "ring_until",
        "source",
        "started",
        "state",
        "trunk",
    )  # fmt: skip

    def __init__(self, table: CallTable, number: int, media_id: str, call_id: str, caller: Leg, now: float) -> None:
        self._table = table
        self.number = number
        self.media_id = media_id
        self.call_id = call_id
        self.caller = caller
        self.callee: Leg | None = None
        self.state = CallState.SETTING_UP
        self.started = now
        self.leases: list[Lease] = []
        self.early: Sequence[Leg] = ()  # others that have rung, until one has answered
        self.forks: list[Leg] = []  # others that answered the INVITE as well, until they are hung up
        self.connections: frozenset[int] = frozenset()  # the serials that CallsOfConnections has for it
        self.anchored = False  # whether the media plane has a session for it
        self.limited = ""  # the tag of the public side while the media plane limits what is sent to it
        self.acknowledged = ""  # the tag of the public side once it has shown that it receives at its address
        self.has_subscription = False  # whether a REFER or SUBSCRIBE was sent within it
        self.hung_up: tuple[str, ...] = ()  # the tags of callees whose dialog has a BYE, which may have no answer yet
        self.open_offer: OpenOffer | None = None  # the one without a final answer
        self.late_offers: list[
            OpenOffer
        ] = []  # those that responses to one request carried, while ACKs may answer them
        self.media_holder = ""  # the tag of the callee whose media are relayed, where several have answered
        self.callee_media: dict[str, tuple[MediaCommand, ...]] = {}  # what it takes to relay those of each
        self.trunk = ""
        self.source: SourceKey | None = None
        self.holder: CallHolder | None = None
        self.invite: PendingInvite | None = None  # until the INVITE has its final answer
        self.ring_until = 0.0  # until when it may ring, however often it gets a provisional answer
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        """It has rung for too long, or without a provisional answer (Timer C, RFC 3261 section 16.8), or lasted too
        long."""
        if self.invite is not None:
            self.invite.stop(Reason.SET_UP_TIMEOUT, "timeout", now)
        else:
            self._table.hang_up(self, Reason.DURATION, now)

    def flows_changed(self) -> None:
        """A leg has another flow than before, or there is another leg."""
        self._table.note_connections(self)

    def legs_of(self, from_tag: str, to_tag: str) -> tuple[Leg, Leg | None] | None:
        """(sender's leg, receiver's leg) of a request inside a dialog of the call; None where its sender has none.

        A callee may be one of several that rang or answered. The receiver is the callee that the call has now where no
        leg has ``to_tag``.
        """
        if from_tag == self.caller.tag:
            return self.caller, self._callee_with(to_tag) or self.callee
        callee = self._callee_with(from_tag)
        return None if callee is None else (callee, self.caller)

    def _callee_with(self, tag: str) -> Leg | None:
        if self.callee is not None and self.callee.tag == tag:
            return self.callee
        return next((leg for leg in (*self.forks, *self.early) if leg.tag == tag), None)

    def begin_answer(self, hop: Flow, tag: str) -> Leg:
        """The leg of the callee with that tag, which rings or answers at ``hop``. The one that the call had stays for
        the requests of its early dialog (RFC 3261 section 12.1)."""
        leg = self.callee
        if leg is not None and leg.first == hop and (leg.tag == tag or not leg.address):
            return leg
        if leg is not None and leg.address and len(self.early) < limits.FORK_BRANCHES:
            self.early = [*self.early, leg]
        known = [other for other in self.early if other.tag == tag and other.first == hop]
        self.early = [other for other in self.early if other not in known]
        self.callee = known[0] if known else Leg(hop)
        return self.callee

    def add_fork(self, leg: Leg) -> None:
        """Another callee has answered too: the caller may keep either dialog (RFC 3261 section 13.2.2.4)."""
        if len(self.forks) < limits.FORK_BRANCHES and all(leg.tag != fork.tag for fork in self.forks):
            self.forks.append(leg)
            self.flows_changed()

    @property
    def unanswered_offers(self) -> list[OpenOffer]:
        """The offers without a final answer; of several callees each may have made one (RFC 3261 section 13.2.2.4)."""
        offers = [offer for offer in self.late_offers if offer.relayed is None]
        if self.open_offer is not None and self.open_offer not in offers:
            offers.append(self.open_offer)
        return offers

    def close_offer(self, offer: OpenOffer) -> None:
        """``offer`` is answered, or will not be."""
        if self.open_offer is offer:
            self.open_offer = None

    def remove_fork(self, tag: str) -> bool:
        """Remove another callee that the caller has not heard of; False if there is none with that tag."""
        before = len(self.forks)
        self.forks = [leg for leg in self.forks if leg.tag != tag]
        if len(self.forks) == before:
            return False
        self.flows_changed()
        return True

    def has_fork(self, tag: str) -> bool:
        """Whether ``tag`` is the callee's, or that of another fork that the caller may keep."""
        return (self.callee is not None and self.callee.tag == tag) or any(leg.tag == tag for leg in self.forks)

    def is_dialog(self, from_tag: str, to_tag: str) -> bool:
        """Whether these are the tags of its caller and of a callee that has answered, one way or the other."""
        caller = self.caller.tag
        return (caller == from_tag and self.has_fork(to_tag)) or (caller == to_tag and self.has_fork(from_tag))

    def is_hung_up(self, from_tag: str, to_tag: str) -> bool:
        """Whether the dialog with these tags has ended, or is about to by a BYE."""
        return self.state is CallState.ENDED or from_tag in self.hung_up or to_tag in self.hung_up

    def survives_bye(self, tags: tuple[str, str]) -> bool:
        """Whether the call goes on, with another fork, when the dialog with these two tags is hung up."""
        self.forks = [leg for leg in self.forks if leg.tag not in tags]
        for tag in tags:
            self.callee_media.pop(tag, None)
        if self.callee is not None and self.callee.tag in tags and self.forks:
            self.callee = self.forks.pop(0)
        self.flows_changed()
        return self.callee is not None and self.callee.tag not in tags
