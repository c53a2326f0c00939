"""Checks the invariants of the signalling core after each input; ``fuzz.signalling`` lists them."""

from __future__ import annotations

from edgesbc.base.address import Flow, FlowKey, Zone, host_port
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import Ban
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Close, Effect, Media, Open, Record, Send
from edgesbc.signalling.tokens import SHORTEST_TOKEN
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import ServerTransaction
from fuzz.answers import Answers
from fuzz.environment import FuzzEnvironment
from fuzz.known_devices import KnownDevices
from fuzz.output_oracle import OutputOracle
from fuzz.reachability_oracle import ReachabilityOracle
from fuzz.reading import read
from fuzz.step import Step

__all__ = ["Invariants"]

_REPEATED = ("Via", "From", "To", "Call-ID", "CSeq")


class _SentRequest:
    """A request that the edge sent, and its outcome."""

    def __init__(self, flow: Flow, request: Request) -> None:
        self.flow = flow
        self.request = request
        self.provisional = self.refused = self.ended_by_response = self.cancelled = False
        self.has_response = self.sent_again = False
        self.may_go_again = False  # whether its connection closed before a response, for the first time
        self.answered: dict[str, bool] = {}  # by To tag of a 2xx: whether it was forwarded or acknowledged


class Invariants:
    """The oracle of one environment; raises ``AssertionError`` that names the broken invariant."""

    def __init__(self, environment: FuzzEnvironment) -> None:
        self._environment = environment
        self.edge = environment.edge
        self._reachability = ReachabilityOracle()
        self._output = OutputOracle(environment.policy.anchor)
        self._devices = KnownDevices()
        self._answers = Answers(self._output, self._devices)
        self._requests: dict[tuple[str, str], _SentRequest] = {}
        self.sent: dict[tuple[FlowKey, bytes], tuple[Request | Response | None, bool]] = {}
        self._by_tag: dict[tuple[str, str], list[_SentRequest]] = {}  # several if destinations chose the same tag
        self._credit: dict[str, float] = {}  # bytes that may be sent to an unproven source, by address
        self._step = Step(environment.edge, None, b"")
        self._moved: set[tuple[str, str, str]] = set()  # Call-ID, and listener and peer of its device's new connection
        self._bans: set[int] = set()  # of streams, by object identity: a ban that is set again is a new one

    # --- inputs ------------------------------------------------------------------------------------------

    def opened(self, flow: Flow) -> None:
        self._reachability.open.add(flow.serial)

    def lost(self, flow: Flow) -> None:
        """A connection is closed, or an address is unreachable."""
        self._reachability.close(flow)
        self._answers.lost(flow)
        for sent in self._requests.values():
            if (sent.request.call_id, flow.listener.name, str(flow.peer)) in self._moved:
                sent.ended_by_response = True  # its device had moved to that connection
            if sent.flow == flow:
                sent.ended_by_response = True
                sent.may_go_again = not (sent.has_response or sent.sent_again)
                sent.answered = dict.fromkeys(sent.answered, True)

    def relayed(self, zone: Zone, sdp: bytes) -> None:
        self._output.relay(zone, sdp)

    def before(self, flow: Flow | None, data: bytes) -> None:
        self._step = Step(self.edge, flow, data, flow is not None and self._is_unproven(flow, self._environment.now))
        if flow is not None:
            self._reachability.record_source(flow)
        self._bans = set(map(id, self._stream_bans()))

    def _stream_bans(self) -> list[Ban]:
        return [ban for ban in self.edge.pipeline.penalties if ban.stream]

    def _is_unproven(self, flow: Flow, now: float) -> bool:
        return self._environment.standings.of(flow, now) is Standing.UNPROVEN

    def after(self, effects: list[Effect], now: float) -> None:
        step = self._step
        step.finish()
        self._learn(step, now)
        sends = [effect for effect in effects if isinstance(effect, Send)]
        self._check_step(step, effects, sends)
        for effect in effects:
            if isinstance(effect, Open):
                self._reachability.check_open(effect.flow)
            elif isinstance(effect, Send):
                self._check_send(effect.flow, effect.data, now)
            elif isinstance(effect, Record) and effect.decision.reason is Reason.FLOW_MOVED:
                decision = effect.decision
                self._moved.add((decision.call_id, decision.listener, decision.source))
        self._check_closed({effect.flow for effect in effects if isinstance(effect, Close)}, now)
        self._check_amount(step, sends, now)
        if effects or step.flow is not None:
            self._check_tables()

    def _learn(self, step: Step, now: float) -> None:
        flow, message = step.flow, step.message
        if flow is None or message is None:
            return
        of_branch = step.malformed and step.client is not None  # a malformed response that ends its branch
        if isinstance(message, Request):
            self._devices.record(flow, message)
            self._answers.record_request(flow, message, step)
        elif isinstance(message, Response) and (step.passed or of_branch):
            self._answers.record_response(message, step.malformed)
            self._note_answer(message, step.state)
        if step.passed or of_branch:
            self._reachability.learn(flow, message)
            self._output.learn(flow, message, self._environment.standings.of(flow, now))

    def _note_answer(self, response: Response, state: TransactionState | None) -> None:
        sent = self._requests.get((response.via.branch, response.cseq_method))
        if sent is None or state is None:
            return
        sent.has_response = True
        if response.status >= 200:
            sent.ended_by_response = True
            sent.refused = sent.refused or response.status >= 300
            if response.status < 300 and response.cseq_method == "INVITE" and state is not TransactionState.COMPLETED:
                others = self._by_tag.setdefault((response.call_id, response.to_tag), [])
                sent.answered.setdefault(response.to_tag, any(other.answered[response.to_tag] for other in others))
                others.append(sent)
                if self._waits_for_device(response.call_id):
                    sent.answered[response.to_tag] = True  # if the device does not return, its sender ends the call
        elif response.status > 100 or state in (TransactionState.CALLING, TransactionState.PROCEEDING):
            sent.provisional = True

    # --- effects of one step -----------------------------------------------------------------------------

    def _check_step(self, step: Step, effects: list[Effect], sends: list[Send]) -> None:
        limit = 64 + 12 * step.busy
        assert len(effects) <= limit, f"{len(effects)} effects of {step.data[:80]!r}"
        message, traffic = step.message, [effect for effect in effects if isinstance(effect, (Media, Open, Send))]
        if step.banned:
            assert not traffic, "a banned source has effects"
        if isinstance(message, Response) and step.client is None:
            assert not traffic, f"{message!r} of {step.flow!r} matches no request, and has effects"
        if not isinstance(message, Request) or step.flow is None:
            return
        if message.method == "ACK" and step.state not in (None, TransactionState.ACCEPTED):
            assert not traffic, f"{message!r} of a refusal is forwarded"
        if message.in_dialog and step.server is None and self._is_forged(message, step.flow.listener.zone):
            answers = [send for send in sends if send.data.startswith(b"SIP/2.0 ")]
            assert len(traffic) == len(answers), f"{message!r} with a forged token is forwarded"

    def _check_closed(self, closed: set[Flow], now: float) -> None:
        """Check that the edge closes banned connections only, and all of them when a ban is set."""
        for flow in closed:
            assert self._is_banned(flow, now), f"{flow!r} is closed without a ban"
        if any(id(ban) not in self._bans for ban in self._stream_bans()):
            for flow in self.edge.parts.flows:
                assert flow in closed or not self._is_banned(flow, now), f"{flow!r} is banned and stays open"

    def _is_banned(self, flow: Flow, now: float) -> bool:
        return flow.listener.zone is Zone.PUBLIC and self.edge.pipeline.is_banned(flow, now)

    def _is_forged(self, request: Request, zone: Zone) -> bool:
        user = request.uri.user or ""
        return len(user) >= SHORTEST_TOKEN and self.edge.parts.sealer.open(user, zone) is None

    def _check_amount(self, step: Step, sends: list[Send], now: float) -> None:
        """Check that an unproven source gets at most 1.5 times its bytes, and one response to a retransmission."""
        flow = step.flow
        if flow is None or not step.unproven or not self._is_unproven(flow, now):
            return
        answers = [send.data for send in sends if send.flow.peer.host == flow.peer.host and not send.flow.serial]
        if step.server is not None and isinstance(step.message, Request) and step.message.method != "CANCEL":
            assert len(answers) <= 1, f"{len(answers)} responses to a retransmission"
            return
        # All bytes of the source count: a CANCEL causes the response to its INVITE.
        allowed = self._credit.get(flow.peer.host, 0.0) + 1.5 * len(step.data)
        size = sum(map(len, answers))
        assert size <= allowed, f"{size} bytes for {len(step.data)}, {allowed:.0f} are allowed"
        self._credit[flow.peer.host] = allowed - size

    # --- messages ----------------------------------------------------------------------------------------

    def _check_send(self, flow: Flow, data: bytes, now: float) -> None:
        key = (flow.key, data)
        if key in self.sent:
            self._check_repeated(flow, data, *self.sent[key])
            return
        message = read(data)
        of_malformed = self._step.malformed and not isinstance(self._step.message, Response)
        if message is None or (of_malformed and isinstance(message, Response)):
            self._check_malformed(flow, data)
            self.sent[key] = (None, False)
            return
        self.sent[key] = (message, self._is_unproven(flow, now))
        self._note_forwarded(message)
        if isinstance(message, Request):
            self._reachability.check_request(flow, message.method)
            self._check_request(flow, message)
            self._output.check_request(self._written_for(flow, message), message)
        else:
            self._answers.check(flow, message, data)
        start, _, rest = data.partition(b"\r\n")
        serialised, _, serialised_rest = bytes(message).partition(b"\r\n")
        # Hosts and names of parameters may be in capitals, which do not matter.
        assert (serialised.lower(), serialised_rest) == (start.lower(), rest), (
            f"not as the library serialises it: {data!r}"
        )

    def _note_forwarded(self, message: Request | Response) -> None:
        """Note that a 2xx to an INVITE was forwarded, or was acknowledged by the edge, which then ends its dialog."""
        forwarded = isinstance(message, Response) and message.cseq_method == "INVITE" and 200 <= message.status < 300
        if forwarded or (isinstance(message, Request) and message.method == "ACK"):
            for sent in self._by_tag.get((message.call_id, message.to_tag), ()):
                sent.answered[message.to_tag] = True

    def _check_repeated(self, flow: Flow, data: bytes, message: Request | Response | None, unproven: bool) -> None:
        if isinstance(message, Response):
            self._answers.count_repeated(flow, message, data)
        elif message is None:
            self._check_malformed(flow, data)
        elif unproven and self._step.flow is None:
            assert not message.in_dialog, f"{message!r} is repeated to {flow!r}, which is unproven"
        if isinstance(message, Request):
            self._reachability.check_request(flow, message.method)

    def _check_malformed(self, flow: Flow, data: bytes) -> None:
        """Check the response to a malformed request: it repeats header fields of the request and has no others."""
        step = self._step
        assert step.flow is not None, f"unreadable: {data!r}"
        assert flow == step.flow, f"{flow!r} is answered for {step.flow!r}"
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        assert status.startswith((b"SIP/2.0 4", b"SIP/2.0 5"))
        assert not body
        for line in lines[:-1]:
            name, _, value = line.partition(b": ")
            assert name.decode() in _REPEATED, f"{line!r} in {data!r}"
            assert not line.translate(None, bytes([9, *range(32, 127), *range(128, 256)])), f"{line!r} in {data!r}"
            assert value in step.data or b"\r\n" in step.data, f"{line!r} is not in the request"
        assert lines[-1] == b"Content-Length: 0"

    def _is_sent_again(self, flow: Flow, request: Request) -> bool:
        """Whether a request whose connection closed before a response goes by the next one to the same address, or to
        the same device."""
        sent = self._requests.get((request.via.branch, request.method))
        if sent is not None and self._devices.are_of_one(sent.flow, flow):
            assert not sent.has_response, f"{request!r}, which has a response, is sent again"
            assert bytes(request) == bytes(sent.request), f"{request!r} is not what was sent before"
            sent.flow, sent.may_go_again, sent.ended_by_response = flow, False, False
            return True
        if sent is None or not sent.may_go_again or not sent.flow.serial:
            return False
        assert (flow.listener, flow.peer) == (sent.flow.listener, sent.flow.peer), f"{request!r} goes elsewhere"
        assert bytes(request) == bytes(sent.request), f"{request!r} is not what was sent before"
        sent.flow, sent.sent_again, sent.may_go_again, sent.ended_by_response = flow, True, False, False
        return True

    def _check_request(self, flow: Flow, request: Request) -> None:
        if self._is_sent_again(flow, request):
            return
        branch, method = request.via.branch, request.method
        invite = self._requests.get((branch, "INVITE"))
        if method == "CANCEL":
            assert invite is not None, f"{request!r} cancels nothing"
            assert not invite.cancelled, f"{request!r} is a second CANCEL"
            assert invite.provisional, f"{request!r} before a provisional response (RFC 3261 section 9.1)"
            assert self._is_same_peer(invite.flow, flow)
            assert str(invite.request.uri) == str(request.uri)
            invite.cancelled = True
        elif method == "ACK":
            of_refusal = invite is None or (invite.refused and self._is_same_peer(invite.flow, flow))
            assert of_refusal, f"{request!r} of no refusal"
            return
        else:
            assert (branch, method) not in self._requests, f"the branch of {request!r} was used before"
        self._requests[branch, method] = _SentRequest(flow, request)

    def _written_for(self, flow: Flow, request: Request) -> Flow:
        """The flow that a request was built for: the edge may send it by a later one of its device."""
        via = request.via
        for former in (flow, *self._devices.former(flow)):
            listener = former.listener
            where = host_port(listener.advertise_host, listener.advertise_port)
            if (via.sent_by, via.transport.lower()) == (where, listener.transport):
                return former
        return flow

    def _waits_for_device(self, call_id: str) -> bool:
        """Whether a response in a call waits for the next connection of the device that began it."""
        parts = self.edge.parts
        waiting = [item for serial in parts.effects.held for item in parts.transactions.on_connection(serial)]
        return any(isinstance(item, ServerTransaction) and item.request.call_id == call_id for item in waiting)

    def _is_same_peer(self, former: Flow, flow: Flow) -> bool:
        return former == flow or self._devices.are_of_one(former, flow)

    # --- tables ------------------------------------------------------------------------------------------

    def _check_tables(self) -> None:
        edge, parts = self.edge, self.edge.parts
        transactions = parts.transactions
        assert not parts.effects.take(), "effects were not taken"
        servers, clients = len(transactions._servers), len(transactions._clients)
        assert servers <= transactions._limit, f"{servers} transactions over the limit"
        assert clients <= 2 * transactions._limit + 24, f"{clients} requests over the limit"
        assert edge.calls <= parts.calls.limits.count, f"{edge.calls} calls over the limit"
        assert set(parts.flows._open) == self._reachability.open, "the connections that are open"
        differences = edge.audit_leases().differences
        assert not differences, "; ".join(differences)

    def check_end(self) -> None:
        """Check that nothing is left after all deadlines."""
        edge, parts = self.edge, self.edge.parts
        remaining = {
            "calls": edge.calls,
            "transactions": len(parts.transactions),
            "waiting for media": len(parts.media),
            "deadlines": len(parts.deadlines),
            "leases": edge.dispatcher.leases,
            "load": sum(member.load for member in edge.dispatcher.members()),
            "calls of trunks": len(parts.calls.by_trunk),
            "calls of accounts and addresses": len(parts.calls.by_holder),
            "connections of transactions": parts.transactions.connections,
            "bytes of transactions": parts.transactions.stored_bytes,
            "media sessions": len(self._environment.table),
            "media ports": len(self._environment.ports.open_pairs),
        }
        assert edge.idle, f"left over: {remaining}"
        assert not any(remaining.values()), f"left over: {remaining}"
        self._answers.check_end(self._reachability.closed)
        for sent in self._requests.values():
            ended = sent.ended_by_response or sent.cancelled or not sent.provisional or sent.request.method != "INVITE"
            assert ended, f"{sent.request!r} rings at {sent.flow!r} and is never cancelled"
            # A 2xx without a To tag cannot be attributed.
            accounted = all(sent.answered.values()) or "" in sent.answered
            assert accounted, f"the 2xx of {sent.flow!r} to {sent.request!r} is neither forwarded nor acknowledged"
