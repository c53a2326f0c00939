"""Edge: the signalling core, a state machine without I/O, clock or entropy of its own.

The contract of the loop, which ``tests/signalling/test_loop_contract.py`` checks line by line:

1. Input is ``receive`` (a message), ``stream_broken``, ``stream_worked``, ``flow_opened``, ``flow_connected`` and
   ``flow_closed``, ``request_not_sent``, ``unreachable``, ``resolved``, ``media_replied`` and ``media_event``,
   ``adopt_sessions``, and the time: ``expire``. Most take ``now``, the seconds of a monotonic clock,
   which never goes back between calls.
2. Output is the list of effects that the method returns, in the order in which the shell carries them out. A method
   returns all effects of its input; nothing is left for the next call.
3. ``deadline`` says when ``expire`` is next to be called, or None: never. It changes with each input. ``expire`` may
   be called late, and before the deadline it does nothing. After ``expire(now)`` the deadline is later than ``now``.
4. ``entropy`` is the only source of random bytes, and is called by no other thread. Two edges with the same arguments,
   entropy and input return the same effects.
5. ``receive``, ``stream_broken``, ``media_replied`` and ``expire`` raise nothing that bytes from the network or replies
   of the media plane can cause. After an exception, which is a fault of the edge, the shell calls ``recover`` if
   it was ``receive`` that raised, and ``take_effects`` otherwise; both return the effects from before it as well.
6. An edge without calls and transactions (``idle``) has no deadline but those of health probes and of keep-alives, and
   holds no lease.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.errors import WireError
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.media.commands import MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.link_messages import PrivateSide
from edgesbc.media.session_journal import SessionCopy
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.shadow_policy import ShadowPolicy, VerdictCallback, VerdictObserver
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling.call import CallState
from edgesbc.signalling.core_sources import CoreRules
from edgesbc.signalling.effects import Effect
from edgesbc.signalling.header_rules import HeaderRules
from edgesbc.signalling.lease_audit import LeaseAudit, audit_leases
from edgesbc.signalling.media_client import silent_side
from edgesbc.signalling.null_tags import named_tags_of_request, named_tags_of_response
from edgesbc.signalling.received_messages import ReceivedMessages
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.signalling.statistics import CallAttempts, EdgeCounters
from edgesbc.signalling.tokens import Sealer
from edgesbc.signalling.wiring import CoreParts
from edgesbc.sip.delivery import SendFailure, transaction_of
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["Edge"]


class Edge:
    """All of signalling: receives messages, news of connections, media replies and the time; returns effects.

    ``entropy`` gives n random bytes. ``anchor`` says whether media goes through the media plane; ``server`` is what
    the edge calls itself in messages of its own, "" for nothing. ``registrations`` are the rules for registered
    phones, ``headers`` those for header fields that go inward, ``core`` those for the sources of core listeners; None:
    those of a policy that says nothing of them. ``latch`` is the mode of media ports that face neither a trunk nor a
    set with one of its own.
    """

    __slots__ = (
        "_admission", "_adoptions", "_calls", "_deadlines", "_device_flows", "_effects", "_invites", "_last_lateness",
        "_live", "_probes", "_received", "_responder", "_screener", "_transactions", "counters", "parts",
    )  # fmt: skip

    def __init__(
        self,
        listeners: Sequence[Listener],
        dispatcher: Dispatcher,
        routing: RoutingTable,
        pipeline: Pipeline,
        sealer: Sealer,
        entropy: Callable[[int], bytes],
        anchor: bool = True,
        server: str = "",
        registrations: RegistrationRules | None = None,
        headers: HeaderRules | None = None,
        core: CoreRules | None = None,
        max_calls: int = limits.CALLS,
        latch: LatchMode = LatchMode.STRICT,
    ) -> None:
        headers = HeaderRules() if headers is None else headers
        core = CoreRules() if core is None else core
        registrations = RegistrationRules() if registrations is None else registrations
        parts = self.parts = CoreParts(
            listeners, dispatcher, routing, pipeline, sealer, entropy, anchor, server, registrations, headers,
            core, max_calls, latch,
        )  # fmt: skip
        """For tests and fuzz targets alone: no other package of edgesbc uses it (tests/test_architecture.py)."""
        self._admission = parts.admission
        self._calls = parts.calls
        self._deadlines = parts.deadlines
        self._device_flows = parts.device_flows
        self._effects = parts.effects
        self._invites = parts.invites
        self._live = parts.live
        self._probes = parts.probes
        self._responder = parts.responder
        self._screener = parts.screener
        self._transactions = parts.transactions
        self._last_lateness = 0.0
        self._adoptions = 0
        self.counters = EdgeCounters(
            parts.responder.responses,
            parts.statistics.outcomes,
            parts.statistics.set_up,
            pipeline.counts,
            pipeline.shadow_counts,
            parts.screener.shadow_differences,
        )
        self._received = ReceivedMessages(parts, self.counters)

    # --- the state of the edge -----------------------------------------------------------------------------

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return self.parts.flows.listeners

    @property
    def dispatcher(self) -> Dispatcher:
        """The destination sets, for those who change them: policy changes, the resolver, operators' commands."""
        return self.parts.dispatcher

    @property
    def pipeline(self) -> Pipeline:
        """The screening in force, for operators' commands about bans and for the file that stores bans."""
        return self._live.pipeline

    @property
    def call_attempts(self) -> CallAttempts:
        """Attempted and failed calls, for the probation of a new policy."""
        return self.parts.statistics.attempts

    @property
    def calls(self) -> int:
        """Calls alive."""
        return len(self._calls)

    @property
    def transactions(self) -> int:
        """Transactions alive."""
        return len(self._transactions)

    @property
    def retransmissions(self) -> int:
        """Requests and final answers that timers have sent again so far."""
        return self._transactions.retransmissions

    def is_inside(self, host: str) -> bool:
        """Whether media of a public peer must not go to ``host``: it is of the private side, or a listener's.

        A server that the policy also lists as a trunk is a peer on the public side as well.
        """
        return self.parts.core_sources.is_inside(host) and not self._live.standings.lists(host)

    @property
    def private_side(self) -> PrivateSide:
        """The addresses for which :meth:`is_inside` is True, for a media plane in a process of its own."""
        sources = self.parts.core_sources
        return PrivateSide(tuple(sources.hosts), sources.allowed, self._live.standings.listed)

    @property
    def private_side_version(self) -> tuple[int, int]:
        """Changes whenever :attr:`private_side` does."""
        return self.parts.dispatcher.members_version, self._adoptions

    @property
    def adopted_calls(self) -> int:
        """Calls of an earlier run of signalling whose media goes on."""
        return len(self.parts.adopted)

    @property
    def connections(self) -> int:
        """Connections open, or asked for."""
        return len(self.parts.flows)

    @property
    def idle(self) -> bool:
        """Whether no call, no transaction, no media command and no message for a lost connection is left."""
        return not (self._calls or self._transactions or self.parts.media or self._device_flows.waiting)

    @property
    def awaits_responses(self) -> bool:
        """Whether a request that the edge has sent, such as a BYE, still waits for its final answer."""
        return self._transactions.requesting

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because the edge stops."""
        return self._invites.draining

    @property
    def lag(self) -> float:
        """By how many seconds the event loop is late, smoothed."""
        return self._admission.lag

    @property
    def standings_version(self) -> int:
        """Changes whenever :meth:`trusted_sources` may answer otherwise than before."""
        return self._live.standings.version

    def trusted_sources(
        self, listener: Listener, now: float
    ) -> tuple[list[ipaddress.IPv4Network | ipaddress.IPv6Network | Source], float | None]:
        """The sources that have the trusted receive queue of a listener; see
        :meth:`edgesbc.screen.standing.Standings.trusted`."""
        return self._live.standings.trusted(listener, now)

    def is_trunk(self, flow: Flow, now: float) -> bool:
        return self._live.standings.of(flow, now) is Standing.TRUNK

    def has_account(self, flow: Flow, now: float) -> bool:
        """Whether the flow is of a trunk, of the private side, or has registered."""
        return self._live.standings.of(flow, now) >= Standing.REGISTERED

    def may_be_silent(self, flow: Flow, now: float) -> bool:
        """Whether a connection may be idle for long: it is of a trunk, of the private side, has registered, or a call
        lives on it, whose peer has nothing to say for as long as both sides talk."""
        return self._calls.of_connections.has_call(flow.serial) or self.has_account(flow, now)

    def audit_leases(self) -> LeaseAudit:
        """See :func:`edgesbc.signalling.lease_audit.audit_leases`."""
        return audit_leases(self._calls, self._transactions, self.parts.dispatcher)

    # --- connections -------------------------------------------------------------------------------------

    def new_flow(self, listener: Listener, peer: Source, names: tuple[str, ...] = ()) -> Flow:
        """A flow for a connection that a listener accepted; ``names`` are those of its verified certificate."""
        return Flow(listener, peer, self.parts.flows.new_serial(), names)

    def accept(self, listener: Listener, peer: Source, now: float) -> bool:
        """Phase ACCEPT: whether a connection may go on to its handshakes."""
        return self._screener.accept(listener, peer, now)

    def flow_opened(self, flow: Flow) -> None:
        self.parts.flows.opened(flow)

    def flow_connected(self, flow: Flow, now: float) -> list[Effect]:
        """A connection that an ``Open`` asked for is open, its handshakes complete: what waits for it is sent."""
        for waiter in self.parts.flows.connected(flow, now):
            waiter.on_connected(now)
        return self._effects.take()

    def flow_closed(self, flow: Flow, now: float, failure: SendFailure | None = None) -> list[Effect]:
        """A connection is closed, or could not be opened: requests that wait for it fail. Those of a registered device
        wait for its next connection. ``failure`` is given where it could not be opened for a reason of this machine,
        which shows nothing about the peer."""
        flows = self.parts.flows
        waiters = flows.connect_failed(flow, failure, now)
        flows.closed(flow)
        awaited = self._device_flows.closed(flow, now)
        self._live.standings.withdraw(flow)
        if not awaited:
            self._transactions.fail_connection(flow.serial, now, failure, was_open=waiters is None)
        for waiter in waiters or ():
            waiter.on_connect_failed(failure, now)
        return self._effects.take()

    def stream_worked(self, flow: Flow, units: int, kind: str, now: float) -> list[Effect]:
        """A connection has caused work that completed no message: ``units``, as :class:`WorkSettings` counts them, most
        of them of ``kind``. That of a failed handshake has a flow with the serial -1."""
        self._screener.work(flow, units, kind, now)
        return self._effects.take()

    def request_not_sent(self, data: bytes, failure: SendFailure, now: float) -> list[Effect]:
        """The kernel has not taken a datagram: if it was a request, this shows nothing about the peer that it was
        for. Anything else, as a response, is lost."""
        key = transaction_of(data)
        if key is not None:
            self._transactions.not_sent(*key, failure, now)
        return self._effects.take()

    def unreachable(self, destination: Source, quote: bytes, now: float) -> list[Effect]:
        """An ICMP error says that a datagram could not get to ``destination``; ``quote`` is its beginning (section
        18.4).

        It counts for the request that it quotes up to the branch, which only those on the path of that request have
        seen, and only while that waits for its first answer: a peer that has answered is there.
        """
        key = transaction_of(quote)
        client = self._transactions.unanswered(*key) if key is not None else None
        if client is not None and not client.flow.serial and client.flow.peer == destination:
            self._transactions.fail(client, now)
        return self._effects.take()

    def resolved(self, server_uri: ServerUri, targets: Sequence[ResolvedAddress], now: float) -> list[Effect]:
        """A destination's name has these addresses now, in order."""
        self.parts.dispatcher.resolved(server_uri, targets, now)
        return self._effects.take()

    # --- messages ----------------------------------------------------------------------------------------

    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        """One datagram, or one message that framing has cut from a stream. Raises nothing that bytes can cause."""
        self._received.receive(flow, data, now)
        return self._effects.take()

    def stream_broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> list[Effect]:
        """A stream cannot be framed from ``data`` on. The shell closes it after the answer."""
        self._received.refuse_stream(flow, data, error, now)
        return self._effects.take()

    def recover(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        """Clean up after :meth:`receive` of ``data`` has raised: a request that was opened gets 500, and its call ends.
        The same for the request that a response belongs to.

        Without it, its sender would wait for an answer, its lease at a member would never be released, and its
        transaction would keep its place in the table for ever.
        """
        message, zone = parse_message(data), flow.listener.zone
        if isinstance(message, Response):
            message = named_tags_of_response(message, zone)
            # The transaction that it belongs to may have ended. Call-ID, tag and CSeq are the same on both sides.
            servers = self._transactions.unanswered_servers(message)
            server = next((one for one in servers if one.source.listener.zone is not zone), None)
        elif message.method != "ACK":
            server = self._transactions.find_server(named_tags_of_request(message, zone, self._calls), flow)
        else:
            server = None
        if server is not None and not server.answered:
            self._effects.record(now, Reason.INTERNAL, server.source, message.call_id, message.cseq_method)
            if server.user is not None:
                server.user.on_internal_error(now)
            else:
                self._responder.answer(server, Reason.INTERNAL.status, now)
        return self._effects.take()

    def take_effects(self) -> list[Effect]:
        """The effects of a method that has raised."""
        return self._effects.take()

    # --- media -------------------------------------------------------------------------------------------

    def media_replied(self, cookie: int, reply: MediaReply | MediaError, now: float) -> list[Effect]:
        """The media plane's reply to a :class:`~edgesbc.signalling.effects.Media` effect."""
        self.parts.media.replied(cookie, reply, now)
        return self._effects.take()

    def media_event(self, event: MediaTimeout | MediaSilence, now: float) -> list[Effect]:
        """A media session ended because no packet came for too long: so does its call. Or one side of it has fallen
        silent, which is recorded."""
        call = self._calls.of_media(event.session_id)
        if call is None and isinstance(event, MediaTimeout):
            self.parts.adopted.forget(event.session_id)
        if call is not None and call.state is CallState.ESTABLISHED:
            if isinstance(event, MediaSilence):
                flow, detail = silent_side(call, event)
                self._effects.record(now, Reason.ONE_WAY_MEDIA, flow, call.call_id, detail)
            elif event.silent:
                flow, detail = silent_side(call, *event.silent)
                self._calls.hang_up(call, Reason.MEDIA_TIMEOUT, now, detail, flow)
            else:
                self._calls.hang_up(call, Reason.MEDIA_TIMEOUT, now)
        return self._effects.take()

    def adopt_sessions(self, copies: Iterable[SessionCopy]) -> list[Effect]:
        """Take over the media sessions of an earlier run of signalling. Those of answered calls go on until a BYE that
        is sent on by its token; the others end."""
        self.parts.adopted.adopt(copies)
        return self._effects.take()

    # --- time --------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called."""
        own, probes = self._deadlines.next(), self._probes.deadline()
        if own is None or probes is None:
            return probes if own is None else own
        return min(own, probes)

    def expire(self, now: float) -> list[Effect]:
        """Do what is due at ``now``."""
        for item in self._deadlines.pop_due(now):
            item.expire(now)
        self._probes.expire(now)
        return self._effects.take()

    def set_wall_clock(self, offset: float) -> None:
        """The seconds since 1970 are the plane's clock and ``offset``; the shell repeats it, since clocks are set."""
        self.parts.clock.offset = offset

    def note_lateness(self, late: float) -> None:
        """The shell was woken ``late`` seconds after the time that it had set; :attr:`lag` smooths that.

        Of two successive values the smaller one counts, so that one suspension of the machine does not look like
        overload.
        """
        self._admission.lag += (min(late, self._last_lateness) - self.lag) / 4
        self._last_lateness = late

    # --- ending and changing -----------------------------------------------------------------------------

    def drain(self) -> None:
        """From now on, refuse new calls with 503 and Retry-After; those alive go on."""
        self._invites.draining = True

    def end_calls(self, now: float) -> list[Effect]:
        """End every call with a BYE to both sides, and refuse every call that is being set up."""
        self._calls.end_all(Reason.DRAINING, now)
        self.parts.adopted.end_all()
        return self._effects.take()

    def adopt(
        self,
        routing: RoutingTable,
        pipeline: Pipeline,
        registrations: RegistrationRules | None = None,
        headers: HeaderRules | None = None,
        core: CoreRules | None = None,
    ) -> None:
        """Judge and route by a new policy from the next message on, and wait by its rules for new connections of
        devices whose connection closes from now on. None: the rules are those from before."""
        self.parts.open_connections.note_trunks()
        self._adoptions += 1
        if registrations is not None:
            self._device_flows.wait = registrations.reconnect_wait
            self.parts.keep_alives.settings = registrations.keep_alive
            self.parts.router.registrations = registrations
            self.parts.registrations.contact = registrations.contact
        if headers is not None:
            self._live.headers = headers
        if core is not None:
            self.parts.core_sources.adopt(core)
        self._screener.adopt(pipeline)
        self.parts.router.table = routing

    def judge_connections(self, now: float) -> list[Effect]:
        """Close the connections that the policy in force would not accept, after :meth:`adopt` or a change of the
        destinations."""
        self.parts.open_connections.judge(now)
        return self._effects.take()

    def count_refusals_of(self, trunks: Standings | None) -> None:
        """While a policy is on probation, count refused calls of ``trunks``, those of the previous policy, as
        failed."""
        self._screener.previous_standings = trunks

    def keep_restored_flows_open(self, now: float) -> None:
        """The registered UDP flows of the last run may be behind NAT: keep them open until they register again."""
        for flow in self._live.standings.registered_flows(self.listeners, now):
            self.parts.keep_alives.add(flow, now)

    @property
    def challenging_sets(self) -> frozenset[str]:
        """The sets whose registrars have asked for passwords."""
        return self.parts.challenges.sets

    def assume_challenges(self, set_names: Iterable[str]) -> None:
        """Take the registrars of these sets to ask for passwords, although no challenge was seen: a capture may begin
        after it, and a restart forgets it. Otherwise an accepted REGISTER proves its sender only after the first
        challenge of its registrar."""
        self.parts.challenges.assume(set_names)

    def observe_verdicts(self, observer: VerdictObserver | None) -> None:
        """Report the verdicts on each message; see :meth:`edgesbc.signalling.screener.Screener.observe`."""
        self._screener.observe(observer)

    def start_shadow(
        self, pipeline: Pipeline, routing: RoutingTable, on_verdict: VerdictCallback | None = None
    ) -> ShadowPolicy:
        """Judge by a second policy, without effect; see :meth:`edgesbc.signalling.screener.Screener.start_shadow`."""
        return self._screener.start_shadow(pipeline, routing, on_verdict)

    @property
    def shadow_policy(self) -> ShadowPolicy | None:
        """The policy that is judged beside the live one, if there is one."""
        return self._screener.shadow_policy

    def lift_bans(self, subject: str) -> tuple[int, list[Effect]]:
        """End the edge's own bans of an address, an address and port, or a prefix; the number of these bans."""
        lifted = self._screener.lift_bans(subject)
        return lifted, self._effects.take()

    def close_banned(self, now: float) -> list[Effect]:
        """Close all connections that are under a ban, after an operator has added one."""
        self._screener.close_banned(now)
        return self._effects.take()
