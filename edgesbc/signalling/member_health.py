"""The health of members: the evidence of requests (HealthFeedback), and OPTIONS probes (HealthProbes)."""

from __future__ import annotations

from edgesbc.base.address import Listener, SourceKey, Zone, host_port, split_host_port
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import source_key
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health_monitor import Probe
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import ProbeSettings
from edgesbc.signalling import topology
from edgesbc.signalling.call import Call
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import Identifiers
from edgesbc.signalling.request_sender import RequestSender
from edgesbc.signalling.targets import NextHop, listener_for
from edgesbc.signalling.transactions import ClientTransaction, ServerTransaction
from edgesbc.sip.build import request_fields
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.user_part import address_of_record, plain_user
from edgesbc.sip.values import parse_retry_after

__all__ = ["HealthFeedback", "HealthProbes"]


class HealthFeedback:
    """Reports what the answers to one request show about members. A hop without a lease, found by a token or a
    registration, is no member and is skipped.

    ``counts`` is whether the request is evidence at all. One of an unproven source is not, nor is a REGISTER of a
    source that has not registered: anybody could send requests that a member ignores, from as many addresses as it
    takes. Such a request fails over and is recorded, but moves no member's health.
    """

    __slots__ = ("_call", "_counts", "_dispatcher", "_effects", "_server")

    def __init__(
        self,
        dispatcher: Dispatcher,
        effects: EffectQueue,
        server: ServerTransaction,
        call: Call | None,
        counts: bool = True,
    ) -> None:
        self._dispatcher = dispatcher
        self._effects = effects
        self._server = server
        self._call = call
        self._counts = counts

    def on_success(self, hop: NextHop, now: float) -> None:
        """The member answered, and its answer is the callee's own."""
        if hop.lease is not None and self._counts:
            self._dispatcher.health_monitor.succeeded(hop.lease.member, now)

    def on_refusal(self, hop: NextHop, response: Response, rang: bool, fails_over: bool, now: float) -> None:
        """The member has refused the request, after it ``rang`` or not; ``fails_over``: the next member is tried."""
        if hop.lease is None:
            return
        member, status, monitor = hop.lease.member, response.status, self._dispatcher.health_monitor
        if self._counts:
            if status in member.health.settings.refused_on:
                if not (self._asks_for_rest(member, response, now) or rang):
                    monitor.refused(member, status, now, self._caller or self._calling_user(), self._called())
            elif not (self._asks_for_rest(member, response, now) or fails_over or status == 503):
                monitor.succeeded(member, now, repeated=rang)
        if fails_over:
            self._record_failover(member, f"answered {status}", now)

    def on_unusable(self, hop: NextHop, response: Response, why: str, now: float) -> None:
        """The member's answer has a description that cannot be used, and the next one is tried; one such answer shows
        nothing about its health."""
        if hop.lease is not None:
            self._record_failover(hop.lease.member, f"answered {response.status}: {why}", now)

    def on_no_answer(
        self, hop: NextHop, failure: SendFailure | None, timeout: bool, too_late: bool, now: float
    ) -> None:
        """The member gave no answer in time or (``timeout`` False) could not be reached; the next one is tried, unless
        it is ``too_late``. ``failure`` is given where the request was never sent, so that it shows nothing about the
        member."""
        if hop.lease is None:
            return
        if failure is None:
            self._count_failure(hop.lease.member, timeout, now)
        if failure is not None or not too_late:
            self._record_failover(hop.lease.member, failure.value if failure is not None else _words(timeout), now)

    @property
    def _caller(self) -> SourceKey | None:
        """The sender, to which a member's failures are attributed, because a member may ignore the requests of one
        caller only: its address, or /64, however many flows it has. None for a trunk, which sends the requests of many
        people."""
        if self._call is not None and self._call.source is None:
            return None
        return source_key(self._server.flow.peer.host)

    def _called(self) -> str:
        """What the request asks for, in one spelling: the number, or the user that registers."""
        request = self._server.request
        if request.method == "REGISTER":
            return _user_of(request, "To")
        return plain_user(request.uri) or request.uri.host

    def _calling_user(self) -> str:
        """The user that a trunk sends the request for, in one spelling."""
        return _user_of(self._server.request, "From")

    def _asks_for_rest(self, member: Member, response: Response, now: float) -> bool:
        """Whether the answer has a Retry-After that gives the member a rest (RFC 3261 section 21.5.4); it is then
        alive."""
        written = response.get("Retry-After")
        if written is None or response.status not in self._dispatcher.rest_on(member):
            return False
        try:
            seconds = parse_retry_after(written).seconds
        except WireError:
            return False
        return seconds > 0 and self._dispatcher.rest(member, seconds, now)

    def _count_failure(self, member: Member, timeout: bool, now: float) -> None:
        if not self._counts:
            return
        reason: SourceKey | int | None = self._caller if timeout else None
        of_trunk = timeout and reason is None and member.health.settings.interval > 0
        if of_trunk:
            # A server may give no answer for one number only. Probes find a server that is down, so one call of a trunk
            # to each number is enough, as long as there are others; without probes only calls can show it.
            reason = hash(self._called())
        kind = "silence" if timeout else "transport"
        self._dispatcher.health_monitor.failed(member, now, _words(timeout), reason, kind, of_trunk)

    def _record_failover(self, member: Member, why: str, now: float) -> None:
        detail = f"{member.name} {why}"
        self._effects.record(now, Reason.FAILOVER, self._server.source, self._server.request.call_id, detail)


def _user_of(request: Request, name: str) -> str:
    """The address of record in From or To, "" where it is malformed."""
    try:
        return address_of_record((request.to if name == "To" else request.from_).uri)
    except WireError:
        return ""


def _words(timeout: bool) -> str:
    return "gave no answer in time" if timeout else "could not be reached"


class HealthProbes:
    """Sends the probes that are due. ``server_name`` is the value of User-Agent in them, "" for none."""

    __slots__ = ("_dispatcher", "_flows", "_identifiers", "_sender", "_server_name")

    def __init__(
        self,
        dispatcher: Dispatcher,
        flows: Flows,
        sender: RequestSender,
        identifiers: Identifiers,
        server_name: str,
    ) -> None:
        self._dispatcher = dispatcher
        self._flows = flows
        self._sender = sender
        self._identifiers = identifiers
        self._server_name = server_name

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called."""
        return self._dispatcher.health_monitor.deadline()

    def expire(self, now: float) -> None:
        """Send what is due at ``now``."""
        for probe in self._dispatcher.health_monitor.expire(now):
            self._send(probe, now)

    def _send(self, probe: Probe, now: float) -> None:
        """Ask a member whether it is alive. Branch and tag cannot be guessed, so that an answer cannot be forged."""
        member = probe.member
        listener = listener_for(self._flows, member, Zone.CORE) or listener_for(self._flows, member, Zone.PUBLIC)
        if listener is None:
            self._dispatcher.health_monitor.probe_failed(probe, now)
            return
        branch, uri = self._sender.new_branch(), member.settings.uri
        settings = self._dispatcher.probe_settings(member)
        where = _advertised(settings, listener)
        user = f"{settings.user}@" if settings.user else ""
        from_, call_id = f"<sip:{user}{where}>;tag={self._identifiers.new_tag()}", self._identifiers.new_tag()
        fields = request_fields("OPTIONS", topology.via(listener, branch), from_, f"<{uri}>", call_id, 1)
        if settings.contact:
            fields.append(("Contact", topology.contact(listener, settings.user, where)))
        if settings.allow:
            fields.append(("Allow", ", ".join(settings.allow)))
        if settings.accept:
            fields.append(("Accept", ", ".join(settings.accept)))
        agent = self._server_name if settings.user_agent is None else settings.user_agent
        if agent:
            fields.append(("User-Agent", agent))
        data = serialise(f"OPTIONS {uri} SIP/2.0", fields, b"")
        flow = self._flows.to(listener, member.target, member.tls_name)
        transaction_user = _ProbeTransaction(self._dispatcher, probe)
        self._sender.send(branch, "OPTIONS", flow, data, transaction_user, now, timeout=member.health.settings.timeout)


def _advertised(settings: ProbeSettings, listener: Listener) -> str:
    """Host and port in From and Contact of a probe by ``listener``."""
    if not settings.host:
        return host_port(listener.advertise_host, listener.advertise_port)
    host, port = split_host_port(settings.host, 0)
    return host_port(host, port or listener.advertise_port)


class _ProbeTransaction:
    """The user of the client transaction of one OPTIONS."""

    __slots__ = ("_dispatcher", "_probe")

    def __init__(self, dispatcher: Dispatcher, probe: Probe) -> None:
        self._dispatcher = dispatcher
        self._probe = probe

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status >= 200:
            self._dispatcher.health_monitor.probe_answered(self._probe, response.status, now)

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        # A probe that this machine had no descriptor or memory for has asked nothing. Where there is no route, it has
        # found what it asks: that the member cannot be reached from here. No caller can provoke that.
        if transaction.failure is None or transaction.failure is SendFailure.NO_ROUTE:
            self._dispatcher.health_monitor.probe_failed(self._probe, now)
        else:
            self._dispatcher.health_monitor.probe_not_sent(self._probe, now)
