"""Calls: what the edge remembers of a dialog set up by INVITE. Routing inside it needs only the token."""

from __future__ import annotations

import enum
from collections.abc import Hashable, Iterator
from typing import TypeVar

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.signalling import topology
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.sip.build import request_fields
from edgesbc.sip.headers import NameAddr, parse_name_addr
from edgesbc.sip.message import Message, Request, Response, serialise
from edgesbc.sip.transactions import NOBODY
from edgesbc.sip.uri import Uri

__all__ = ["TARGETED", "Call", "CallState", "Calls", "Leg", "check_addresses"]

_Key = TypeVar("_Key", bound=Hashable)

TARGETED = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK"})
"""Requests whose Contact is the remote target of a dialog (RFC 3261 table 2, RFC 3311, RFC 6665, RFC 3515)."""


class CallState(enum.Enum):
    SETTING_UP = "setting-up"
    ESTABLISHED = "established"
    ENDED = "ended"


class Leg:
    """One side of a call: how to reach that peer, and what it calls itself.

    ``contact`` is its Contact URI, or what it was called by until it names one, ``contact_value`` the field
    that URI stood in, "" where there was none, ``routes`` its own
    side's Record-Route set, ``address`` its From or To value with the tag, ``cseq`` the highest number it
    has used, ``first`` the flow that the dialog began on, ``flow`` the one that it is on now.
    """

    __slots__ = ("address", "contact", "contact_value", "cseq", "first", "flow", "routes", "tag", "token", "token_for")

    def __init__(self, flow: Flow) -> None:
        self.flow = self.first = flow
        self.tag = ""
        self.address = ""
        self.contact = ""
        self.contact_value = ""
        self.routes: tuple[str, ...] = ()
        self.cseq = 0
        self.token = ""
        self.token_for: tuple[object, ...] = ()

    def answered_by(self, response: Response, called: str) -> None:
        """An answer to the INVITE says whose dialog this is, and by which way: a 2xx anew (section 13.2.2.4).

        ``called`` is the Request-URI it came to, which stands for who names no Contact.
        """
        if response.to_tag != self.tag or not self.address:
            self.contact = called
            self.contact_value = ""
            self.routes = ()
        if not self.routes or response.status >= 200:
            self.routes = route_set(response)
        self.tag = response.to_tag
        self.address = response.get("To") or ""


class Call:
    """A dialog, from its INVITE to its end; owns the leases at its destinations and the media session.

    While it is set up, there is a lease for each place that was asked; then only that of who answered.

    ``due`` is the limit of set-up, then that of the duration.
    """

    __slots__ = (
        "anchored",
        "call_id",
        "callee",
        "caller",
        "context",
        "due",
        "forks",
        "late_offer",
        "leases",
        "queued",
        "source",
        "started",
        "state",
        "trunk",
    )  # fmt: skip

    def __init__(self, call_id: str, caller: Leg, now: float) -> None:
        self.call_id = call_id
        self.caller = caller
        self.callee: Leg | None = None
        self.state = CallState.SETTING_UP
        self.started = now
        self.leases: list[Lease] = []
        self.forks: list[Leg] = []  # others that answered the INVITE as well, until they are hung up
        self.anchored = False
        self.late_offer = False  # the INVITE had none, so the callee's answer has it, and a PRACK answers it
        self.trunk = ""
        self.source: Hashable = None
        self.context: object = None  # the response context of the INVITE that set it up, while that lasts
        self.due: float | None = None
        self.queued: float | None = None

    @property
    def media_id(self) -> str:
        """What the media plane knows the call by; see :meth:`Calls.find` for why the Call-ID will not do."""
        return self.call_id if self.caller.first.listener.zone is Zone.PUBLIC else f"{self.call_id};outward"

    def legs_of(self, from_tag: str) -> tuple[Leg, Leg | None] | None:
        """(sender's leg, receiver's leg) of a request inside the dialog; None where the tag is neither's."""
        if from_tag == self.caller.tag:
            return self.caller, self.callee
        if self.callee is not None and from_tag == self.callee.tag:
            return self.callee, self.caller
        return None

    def fork(self, leg: Leg) -> None:
        """Somebody else has answered too: the caller may keep either (RFC 3261 section 13.2.2.4)."""
        if len(self.forks) < limits.FORK_BRANCHES and all(leg.tag != each.tag for each in self.forks):
            self.forks.append(leg)

    def has_fork(self, tag: str) -> bool:
        """Whether ``tag`` is the far side's, or that of another fork that the caller may keep."""
        return (self.callee is not None and self.callee.tag == tag) or any(leg.tag == tag for leg in self.forks)

    def survives(self, tags: tuple[str, str]) -> bool:
        """Whether the call goes on when the dialog with these two tags is hung up: with another fork, then."""
        self.forks = [leg for leg in self.forks if leg.tag not in tags]
        if self.callee is not None and self.callee.tag in tags and self.forks:
            self.callee = self.forks.pop(0)
        return self.callee is not None and self.callee.tag not in tags


class Calls:
    """The calls alive, by Call-ID, caller's tag and caller's side."""

    __slots__ = ("_board", "_bounds", "_calls", "by_trunk", "ringing")

    def __init__(self, board: Switchboard, bounds: tuple[int, float, float]) -> None:
        """``bounds``: calls at once, seconds of set-up, seconds of duration."""
        self._board = board
        self._calls: dict[tuple[str, str, Zone], Call] = {}
        self._bounds = bounds
        self.by_trunk: dict[str, int] = {}
        self.ringing: dict[Hashable, int] = {}
        """Calls of each source that is no trunk which were not answered yet."""

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls.values()))

    @property
    def full(self) -> bool:
        return len(self._calls) >= self._bounds[0]

    def find(self, message: Message, zone: Zone) -> Call | None:
        """The call that a message from ``zone`` belongs to: its caller is there, or its callee is.

        A proxy inside may send a call out again with the Call-ID and tags that it came in with; the two
        are calls of their own, told apart by the side that they began on.
        """
        calls, call_id = self._calls, message.call_id
        return calls.get((call_id, message.from_tag, zone)) or calls.get((call_id, message.to_tag, zone.other))

    def open(self, request: Message, flow: Flow, trunk: str, source: Hashable, now: float) -> Call:
        """``trunk`` and ``source`` say whose call it is, as screening counts them; "" and None: nobody counts it."""
        leg = Leg(flow)
        leg.tag = request.from_tag
        leg.address = request.get("From") or ""
        leg.cseq = request.cseq
        leg.routes = route_set(request)
        learn_target(leg, request)
        leg.contact = leg.contact or _target_text(request.from_)  # RFC 2543: who has no Contact is where From says
        call = self._calls[request.call_id, leg.tag, flow.listener.zone] = Call(request.call_id, leg, now)
        call.trunk = trunk
        call.source = source
        if trunk:
            _one_more(self.by_trunk, trunk)
        if source is not None:
            _one_more(self.ringing, source)
        self._board.attempts.begun(now)
        self._board.deadlines.schedule(call, now + self._bounds[1])
        return call

    def establish(self, call: Call, lease: Lease | None, now: float) -> None:
        """The call is answered by who is at ``lease``; a second answer changes nothing."""
        if call.state is CallState.SETTING_UP:
            for other in call.leases:
                if other is not lease:
                    other.release()
            call.state = CallState.ESTABLISHED
            if call.source is not None:
                _one_less(self.ringing, call.source)
            call.late_offer = False
            self._board.set_up.observe(now - call.started)
            self._board.outcomes.add("answered")
            self._board.deadlines.schedule(call, now + self._bounds[2])

    def end(self, call: Call, outcome: str = "") -> None:
        """Give back all that the call holds. Any number of times; only the first does anything.

        ``outcome`` names how a call ended that was never answered.
        """
        if call.state is CallState.ENDED:
            return
        if call.state is CallState.SETTING_UP:
            self._board.outcomes.add(outcome or "failed")
            if outcome != "cancelled":
                self._board.attempts.failed(call.started)
            if call.source is not None:
                _one_less(self.ringing, call.source)
        call.state = CallState.ENDED
        call.context = None
        self._calls.pop((call.call_id, call.caller.tag, call.caller.first.listener.zone), None)
        self._board.deadlines.schedule(call, None)
        for lease in call.leases:
            lease.release()
        if call.trunk:
            _one_less(self.by_trunk, call.trunk)
        if call.anchored:
            self._board.anchor.delete(call)

    # --- tokens ------------------------------------------------------------------------------------------

    def contact_for(self, leg: Leg, holder: Flow) -> str:
        """The Contact value that stands for ``leg``'s peer in front of the peer at ``holder``.

        Sealed once and kept while what it holds is the same: a call shows the same Contact in each answer.
        """
        if not leg.contact:
            return ""
        holds = (leg.contact, leg.routes, leg.flow, holder.listener.id)
        if leg.token_for != holds:
            target = remote_target(leg, self._board.flows)
            leg.token = topology.contact(holder.listener, self._board.sealer.seal(target, holder.listener.zone))
            leg.token_for = holds
        return leg.token

    def lone_contact(self, message: Message, sender: Flow, holder: Flow) -> str:
        """The Contact for the sender of a message outside any call: a subscription, say."""
        leg = Leg(sender)
        leg.routes = route_set(message)
        learn_target(leg, message)
        return self.contact_for(leg, holder)

    # --- ending calls from here --------------------------------------------------------------------------

    def hang_up(self, call: Call, reason: Reason, now: float) -> None:
        """BYE to both sides (RFC 3261 section 15.1.1), and end the call."""
        self._board.record(now, reason, call.caller.flow, call.call_id, "the edge ended the call")
        callee = call.callee
        if call.state is CallState.ESTABLISHED and callee is not None:
            self.bye(call.call_id, callee, call.caller, reason, now)
            self.bye(call.call_id, call.caller, callee, reason, now)
        self.end(call, reason.code)

    def end_answered(self, request: Request, flow: Flow, uri: str, response: Response, bye: bool, now: float) -> None:
        """A 2xx that nobody waits for: acknowledge it, and if ``bye``, end the call (RFC 3261 section 13.2.2.4)."""
        callee, caller = Leg(flow), Leg(flow)
        callee.address = response.get("To") or ""
        callee.contact = uri
        callee.routes = route_set(response)
        learn_target(callee, response)
        via = topology.via(flow.listener, self._board.new_branch())
        self._board.send(flow, topology.refusal_ack(callee.contact, callee.routes, via, request, response))
        if bye:
            caller.address = request.get("From") or ""
            caller.cseq = request.cseq
            self.bye(request.call_id, caller, callee, Reason.SET_UP_TIMEOUT, now)

    def bye(self, call_id: str, sender: Leg, receiver: Leg, reason: Reason, now: float) -> None:
        """A BYE to ``receiver`` in the name of ``sender``."""
        board = self._board
        target = remote_target(receiver, board.flows)
        flow = board.flows.of(target)
        if flow is None:
            return
        branch = board.new_branch()
        via, cseq = topology.via(flow.listener, branch), sender.cseq + 1
        fields = request_fields("BYE", via, sender.address, receiver.address, call_id, cseq, receiver.routes)
        fields.append(("Reason", f'SIP;cause=200;text="{reason.code}"'))
        data = serialise(f"BYE {receiver.contact} SIP/2.0", fields, b"")
        board.transactions.open_client(branch, "BYE", flow, data, NOBODY, now, board.may_repeat(flow, now))


def _one_more(counts: dict[_Key, int], key: _Key) -> None:
    counts[key] = counts.get(key, 0) + 1


def _one_less(counts: dict[_Key, int], key: _Key) -> None:
    """What comes to nothing leaves nothing behind."""
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]


def check_addresses(message: Message) -> None:
    """Read what the signalling core will want to know of addresses, before anything is begun. Raises ``WireError``."""
    if isinstance(message, Request) and message.method == "INVITE" and message.get("Contact") is None:
        _ = message.from_.uri  # which takes its place
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

    A message without a Contact, or whose method moves no target, leaves what is known.
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


def remote_target(leg: Leg, flows: Flows) -> RemoteTarget:
    """Where requests to ``leg``'s peer go.

    On the public side always where the peer's own messages come from: that passes every NAT, and no
    Contact can steer us elsewhere. In the core, to the first Route or the Contact if that is an address,
    since servers there may hand a call to each other; who names neither is where its messages come from,
    for the URI that it was called by is a stranger's choice.
    """
    flow = leg.flow
    peer, serial = flow.peer, flow.serial
    if flow.listener.zone is Zone.CORE and (leg.routes or leg.contact_value):
        next_hop = leg.routes[0] if leg.routes else f"<{leg.contact}>"
        literal = _literal(parse_name_addr(next_hop).uri, flow.listener.transport)
        if literal is not None and (":" in literal.host) is (":" in peer.host):
            peer, serial = literal, 0
    return RemoteTarget(flow.listener.name, peer, serial, flows.epoch, leg.contact, leg.routes)


def _literal(uri: Uri, transport: Transport) -> Source | None:
    """The address of a URI with a literal unicast address; None for a name or what must not be sent to."""
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
