"""Invariants: what must hold after each input. ``fuzz.signalling`` lists them."""

from __future__ import annotations

from edgesbc.base.address import Flow, FlowKey, Zone
from edgesbc.screen.bans import Ban
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Close, Effect, Media, Open, Send
from edgesbc.signalling.tokens import SHORTEST_TOKEN
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Request, Response
from fuzz.answers import Answers
from fuzz.environment import FuzzEnvironment
from fuzz.output_oracle import OutputOracle
from fuzz.reachability_oracle import ReachabilityOracle
from fuzz.reading import read
from fuzz.step import Step

__all__ = ["Invariants"]

_REPEATED = ("Via", "From", "To", "Call-ID", "CSeq")


class _Asked:
    """A request that the edge has sent, and what became of it."""

    def __init__(self, flow: Flow, request: Request) -> None:
        self.flow = flow
        self.request = request
        self.rang = self.refused = self.over = self.cancelled = False
        self.answered: dict[str, bool] = {}  # by the tag of a 2xx: whether anything has come of it


class Invariants:
    """Checks one environment; raises ``AssertionError`` that names the invariant."""

    def __init__(self, environment: FuzzEnvironment) -> None:
        self._environment = environment
        self.edge = environment.edge
        self._ways = ReachabilityOracle()
        self._wording = OutputOracle(environment.policy.anchor)
        self._answers = Answers(self._wording)
        self._asked: dict[tuple[str, str], _Asked] = {}
        self.sent: dict[tuple[FlowKey, bytes], tuple[Request | Response | None, bool]] = {}
        self._answered: dict[tuple[str, str], list[_Asked]] = {}  # two that chose one tag are one to the edge
        self._credit: dict[str, float] = {}  # bytes that may be sent to an address that has proven nothing
        self._step = Step(environment.edge, None, b"")
        self._bans: set[int] = set()  # those of streams, by identity: a ban that is set anew is another

    # --- news --------------------------------------------------------------------------------------------

    def opened(self, flow: Flow) -> None:
        self._ways.open.add(flow.serial)

    def lost(self, flow: Flow) -> None:
        """A connection is closed, or no socket listens at an address."""
        self._ways.close(flow)
        for asked in self._asked.values():
            if asked.flow == flow:
                asked.over = True
                asked.answered = dict.fromkeys(asked.answered, True)

    def relayed(self, zone: Zone, sdp: bytes) -> None:
        self._wording.relay(zone, sdp)

    def before(self, flow: Flow | None, data: bytes) -> None:
        self._step = Step(self.edge, flow, data, flow is not None and self._is_unproven(flow, self._environment.now))
        if flow is not None:
            self._ways.hear(flow)
        self._bans = set(map(id, self._stream_bans()))

    def _stream_bans(self) -> list[Ban]:
        return [ban for ban in self.edge.pipeline.penalties if ban.stream]

    def _is_unproven(self, flow: Flow, now: float) -> bool:
        return self._environment.standings.of(flow, now) is Standing.UNPROVEN

    def after(self, effects: list[Effect], now: float) -> None:
        step = self._step
        step.done()
        self._learn(step, now)
        sends = [effect for effect in effects if isinstance(effect, Send)]
        self._check_step(step, effects, sends)
        for effect in effects:
            if isinstance(effect, Open):
                self._ways.check_open(effect.flow)
            elif isinstance(effect, Send):
                self._check_send(effect.flow, effect.data, now)
        self._check_closed({effect.flow for effect in effects if isinstance(effect, Close)}, now)
        self._check_amount(step, sends, now)
        if effects or step.flow is not None:
            self._check_tables()

    def _learn(self, step: Step, now: float) -> None:
        flow, message = step.flow, step.message
        if flow is None or message is None:
            return
        if isinstance(message, Request):
            self._answers.take_request(flow, message, step)
        elif step.passed and isinstance(message, Response):
            self._answers.take_response(message)
            self._note_answer(message, step.state)
        if step.passed:
            self._ways.learn(flow, message)
            trunk = flow.listener.zone is Zone.PUBLIC and self._environment.standings.of(flow, now) is Standing.TRUNK
            self._wording.learn(flow, message, trunk)

    def _note_answer(self, response: Response, state: TransactionState | None) -> None:
        asked = self._asked.get((response.via.branch, response.cseq_method))
        if asked is None or state is None:
            return
        if response.status >= 200:
            asked.over = True
            asked.refused = asked.refused or response.status >= 300
            if response.status < 300 and response.cseq_method == "INVITE" and state is not TransactionState.COMPLETED:
                others = self._answered.setdefault((response.call_id, response.to_tag), [])
                asked.answered.setdefault(response.to_tag, any(each.answered[response.to_tag] for each in others))
                others.append(asked)
        elif response.status > 100 or state in (TransactionState.CALLING, TransactionState.PROCEEDING):
            asked.rang = True

    # --- what one step may do ----------------------------------------------------------------------------

    def _check_step(self, step: Step, effects: list[Effect], sends: list[Send]) -> None:
        most = 64 + 12 * step.busy
        assert len(effects) <= most, f"{len(effects)} effects of {step.data[:80]!r}"
        message, moved = step.message, [each for each in effects if isinstance(each, (Media, Open, Send))]
        if step.banned:
            assert not moved, "a banned source moves something"
        if isinstance(message, Response) and step.client is None:
            assert not moved, f"{message!r} of {step.flow!r} answers nothing, and moves something"
        if not isinstance(message, Request) or step.flow is None:
            return
        if message.method == "ACK" and step.state not in (None, TransactionState.ACCEPTED):
            assert not moved, f"{message!r} of a refusal is forwarded"
        if message.in_dialog and step.server is None and self._is_forged(message, step.flow.listener.zone):
            answers = [each for each in sends if each.data.startswith(b"SIP/2.0 ")]
            assert len(moved) == len(answers), f"{message!r} with a token of nobody's is forwarded"

    def _check_closed(self, closed: set[Flow], now: float) -> None:
        """The edge closes connections that are under a ban, all of them when it is set, and no others."""
        for flow in closed:
            assert self._is_out(flow, now), f"{flow!r} is closed for nothing"
        if any(id(ban) not in self._bans for ban in self._stream_bans()):
            for flow in self.edge.parts.flows:
                assert flow in closed or not self._is_out(flow, now), f"{flow!r} is banned and stays open"

    def _is_out(self, flow: Flow, now: float) -> bool:
        return flow.listener.zone is Zone.PUBLIC and self.edge.pipeline.is_banned(flow, now)

    def _is_forged(self, request: Request, zone: Zone) -> bool:
        user = request.uri.user or ""
        return len(user) >= SHORTEST_TOKEN and self.edge.parts.sealer.open(user, zone) is None

    def _check_amount(self, step: Step, sends: list[Send], now: float) -> None:
        """A source that has proven nothing gets half as much again as it sends, and what it repeats once again."""
        flow = step.flow
        if flow is None or not step.unproven or not self._is_unproven(flow, now):
            return
        back = [send.data for send in sends if send.flow.peer.host == flow.peer.host and not send.flow.serial]
        if step.server is not None and isinstance(step.message, Request) and step.message.method != "CANCEL":
            assert len(back) <= 1, f"{len(back)} answers to a request repeated"
            return
        # All that it has sent counts: a CANCEL brings the answer to its INVITE.
        left = self._credit.get(flow.peer.host, 0.0) + 1.5 * len(step.data)
        got = sum(map(len, back))
        assert got <= left, f"{got} bytes for {len(step.data)}, and {left:.0f} from before"
        self._credit[flow.peer.host] = left - got

    # --- what is sent ------------------------------------------------------------------------------------

    def _check_send(self, flow: Flow, data: bytes, now: float) -> None:
        key = (flow.key, data)
        if key in self.sent:
            self._check_repeated(flow, data, *self.sent[key])
            return
        message = read(data)
        if message is None or (self._step.malformed and isinstance(message, Response)):
            self._check_malformed(flow, data)
            self.sent[key] = (None, False)
            return
        self.sent[key] = (message, self._is_unproven(flow, now))
        self._note_heard(message)
        if isinstance(message, Request):
            self._ways.check_request(flow, message.method)
            self._check_request(flow, message)
            self._wording.check_request(flow, message)
        else:
            self._answers.check(flow, message, data)
        start, _, rest = data.partition(b"\r\n")
        again, _, same = bytes(message).partition(b"\r\n")
        # A host, or the name of a parameter, may be in capitals, and they say nothing.
        assert (again.lower(), same) == (start.lower(), rest), f"it would be written otherwise: {data!r}"

    def _note_heard(self, message: Request | Response) -> None:
        """A 2xx to an INVITE goes on to the caller, or is acknowledged and ended from here."""
        forwarded = isinstance(message, Response) and message.cseq_method == "INVITE" and 200 <= message.status < 300
        if forwarded or (isinstance(message, Request) and message.method == "ACK"):
            for asked in self._answered.get((message.call_id, message.to_tag), ()):
                asked.answered[message.to_tag] = True

    def _check_repeated(self, flow: Flow, data: bytes, message: Request | Response | None, unproven: bool) -> None:
        if isinstance(message, Response):
            self._answers.again(flow, message, data)
        elif message is None:
            self._check_malformed(flow, data)
        elif unproven and self._step.flow is None:
            assert not message.in_dialog, f"{message!r} is repeated to {flow!r}, which has proven nothing"
        if isinstance(message, Request):
            self._ways.check_request(flow, message.method)

    def _check_malformed(self, flow: Flow, data: bytes) -> None:
        """The answer to what could not be read: what it had, and nothing else."""
        step = self._step
        assert step.flow is not None, f"nobody can read {data!r}"
        assert flow == step.flow, f"{flow!r} is answered for {step.flow!r}"
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        assert status.startswith((b"SIP/2.0 4", b"SIP/2.0 5"))
        assert not body
        for line in lines[:-1]:
            name, _, value = line.partition(b": ")
            assert name.decode() in _REPEATED, f"{line!r} in {data!r}"
            assert not line.translate(None, bytes([9, *range(32, 127), *range(128, 256)])), f"{line!r} in {data!r}"
            assert value in step.data or b"\r\n" in step.data, f"{line!r} was never said"
        assert lines[-1] == b"Content-Length: 0"

    def _check_request(self, flow: Flow, request: Request) -> None:
        branch, method = request.via.branch, request.method
        invite = self._asked.get((branch, "INVITE"))
        if method == "CANCEL":
            assert invite is not None, f"{request!r} cancels nothing"
            assert not invite.cancelled, f"{request!r} once more"
            assert invite.rang, f"{request!r} before anything came back (RFC 3261 section 9.1)"
            assert invite.flow == flow
            assert str(invite.request.uri) == str(request.uri)
            invite.cancelled = True
        elif method == "ACK":
            assert invite is None or (invite.refused and invite.flow == flow), f"{request!r} of no refusal"
            return
        else:
            assert (branch, method) not in self._asked, f"the branch of {request!r} was there before"
        self._asked[branch, method] = _Asked(flow, request)

    # --- what is kept ------------------------------------------------------------------------------------

    def _check_tables(self) -> None:
        edge, parts = self.edge, self.edge.parts
        transactions = parts.transactions
        assert not parts.effects.take(), "effects are left behind"
        servers, clients = len(transactions._servers), len(transactions._clients)
        assert servers <= transactions._limit, f"{servers} transactions over the limit"
        assert clients <= 2 * transactions._limit + 24, f"{clients} requests over the limit"
        assert edge.calls <= parts.calls.limits.count, f"{edge.calls} calls over the limit"
        assert set(parts.flows._open) == self._ways.open, "the connections that are open"
        differences = edge.audit_leases().differences
        assert not differences, "; ".join(differences)

    def check_end(self) -> None:
        """All deadlines have passed."""
        edge, parts = self.edge, self.edge.parts
        left = {
            "calls": edge.calls,
            "transactions": len(parts.transactions),
            "waiting for media": len(parts.media),
            "deadlines": len(parts.deadlines),
            "leases": edge.dispatcher.leases,
            "load": sum(member.load for member in edge.dispatcher.members()),
            "calls of trunks": len(parts.calls.by_trunk),
            "connections of transactions": parts.transactions.connections,
            "media sessions": len(self._environment.table),
            "media ports": len(self._environment.ports.open_pairs),
        }
        assert edge.idle, f"left over: {left}"
        assert not any(left.values()), f"left over: {left}"
        self._answers.check_end(self._ways.closed)
        for asked in self._asked.values():
            told = asked.over or asked.cancelled or not asked.rang or asked.request.method != "INVITE"
            assert told, f"{asked.request!r} rings at {asked.flow!r} and is never told of the end"
            heard = all(asked.answered.values()) or "" in asked.answered  # without a tag nobody knows whose it is
            assert heard, f"nothing comes of the 2xx of {asked.flow!r} to {asked.request!r}"
