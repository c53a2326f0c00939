"""A second policy judged beside the live one, message by message: what would have been otherwise. Has no effects."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.counts import Counts
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.screen.operator_bans import OperatorBans
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stage import Pass, Subject, Verdict
from edgesbc.sip.message import Request, Response

__all__ = ["PASSED", "RouteChooser", "ShadowPolicy", "VerdictCallback", "VerdictDifference", "VerdictObserver"]

PASSED = "pass"
"""What stands in the place of a reason where there is none."""

VerdictCallback = Callable[[Flow, str, str, float], None]
"""Of one message: its flow, its Call-ID ("" where it was not read), what it was refused for or PASSED, and when."""
RouteChooser = Callable[[Flow, Request, float], str | None]
"""The destination set that a policy's routes name for a request; raises WireError where one looks at a broken part."""


class VerdictObserver:
    """Hears from the core what becomes of each message, phase by phase, and knows at its end what it came to.

    Between :meth:`begin` and :meth:`end` stands one message; what is said outside of them is not heard.
    """

    __slots__ = ("_flow", "_live", "_request", "_told")

    def __init__(self, told: VerdictCallback | None = None) -> None:
        self._told = told
        self._flow: Flow | None = None
        self._live = PASSED
        self._request: Request | None = None

    def accept(self, listener: Listener, peer: Source, verdict: Verdict, now: float) -> None:
        """A connection was judged in phase ACCEPT: a matter of its own."""
        self._flow = Flow(listener, peer, serial=-1)
        self._request = None
        self._live = _code(verdict)
        self.end(now)

    def begin(self, flow: Flow, size: int, verdict: Verdict, now: float) -> None:
        """A message of ``size`` bytes was judged in phase PACKET."""
        self._flow = flow
        self._request = None
        self._live = _code(verdict)

    def request(self, subject: Subject, verdict: Verdict, now: float) -> None:
        """It is a request, and was judged in phase REQUEST."""
        self._request = subject.request
        self._live = _code(verdict)

    def call(self, verdict: Verdict, now: float) -> None:
        """It would begin something, and was judged in phase CALL."""
        self._live = _code(verdict)

    def route(self, to: str | None, now: float) -> None:
        """The live routes name the set ``to``, or none."""
        if to is None:
            self._live = Reason.NO_ROUTE.code

    def refused(self, reason: Reason) -> None:
        """The signalling core itself refuses the message, whatever the policy."""
        if self._live == PASSED:
            self._live = reason.code

    def end(self, now: float) -> None:
        """All is said of this message."""
        flow, request = self._flow, self._request
        self._flow = self._request = None
        if self._told is not None and flow is not None:
            self._told(flow, request.call_id if request is not None else "", self._live, now)


class VerdictDifference:
    """An example of what two policies do not agree on; ``call_id`` is a peer's text, cut but not escaped."""

    __slots__ = ("call_id", "listener", "source", "time")

    def __init__(self, time: float, source: str, listener: str, call_id: str) -> None:
        self.time = time
        self.source = source
        self.listener = listener
        self.call_id = call_id


class ShadowPolicy(VerdictObserver):
    """A second pipeline, asked about the same messages as the live one, and where they differ.

    The other policy has its own trackers, buckets and penalties, which begin empty, and standings of its own
    that get the live one's proofs; what the operator has ordered counts for both. Each refuses a message
    once: one that the other has refused is not put to it again, and of one that the live policy refuses the
    other never sees the later phases. What the signalling core refuses under any policy is no difference. Of what the
    other has refused it hears no more: neither that it could not be read, nor what the inside said to it,
    for it would not have come so far.

    ``differences`` counts messages by (live, other), each a reason code or PASSED; ``routes`` counts those that
    both let begin something by (live set, other set). ``totals`` is counted as well, and may outlive this.
    """

    __slots__ = (
        "_choose", "_examples", "_lived", "_mute", "_ordered", "_orders", "_other", "_passed", "_pipeline", "_subject",
        "_totals", "differences", "judged", "routes",
    )  # fmt: skip

    def __init__(
        self, pipeline: Pipeline, choose: RouteChooser, totals: Counts, told: VerdictCallback | None = None
    ) -> None:
        super().__init__(told)
        self._pipeline = pipeline
        self._choose = choose
        self._totals = totals
        self._orders = OperatorBans()
        """The live policy's, and their version when they were last looked at."""
        self._ordered = self._orders.version
        self._other = PASSED
        self._passed = True
        """Whether the other policy has nothing against the message so far."""
        self._mute: dict[int, None] = {}
        """Requests that went on and that the other policy had refused: what is answered is not for its ears."""
        self._subject: Subject | None = None
        self._lived: Subject | None = None
        """The live policy's view of the request that :attr:`_subject` is of."""
        self._examples: dict[tuple[str, str, str], deque[VerdictDifference]] = {}
        self.judged = 0
        self.differences = Counts()
        self.routes = Counts()

    def follow(self, live: Pipeline) -> None:
        """Share the proofs of ``live`` and what the operator orders there, now and from now on; and hear what became
        of requests."""
        self._pipeline.standings.resemble(live.standings)
        live.standings.follower = self._pipeline.standings
        live.follower = self
        self._orders = live.orders
        self._take_orders()

    def _take_orders(self) -> None:
        """What the operator has ordered stands whatever the policy."""
        self._pipeline.orders.resemble(self._orders)
        self._ordered = self._orders.version

    def accept(self, listener: Listener, peer: Source, verdict: Verdict, now: float) -> None:
        if self._orders.version != self._ordered:
            self._take_orders()
        self._say(self._pipeline.accept(listener, peer, now))
        super().accept(listener, peer, verdict, now)

    def begin(self, flow: Flow, size: int, verdict: Verdict, now: float) -> None:
        super().begin(flow, size, verdict, now)
        if self._orders.version != self._ordered:
            self._take_orders()
        self._say(self._pipeline.packet(flow, size, now))

    def request(self, subject: Subject, verdict: Verdict, now: float) -> None:
        super().request(subject, verdict, now)
        request = subject.request
        if self._other == PASSED and request is not None:
            self._lived = subject
            self._subject = self._pipeline.subject(subject.flow, request, now)
            self._say(self._pipeline.request(self._subject, now))

    def call(self, verdict: Verdict, now: float) -> None:
        super().call(verdict, now)
        if self._other == PASSED and self._subject is not None and self._lived is not None:
            self._subject.load = self._lived.load  # there is one edge, and what it carries
            self._say(self._pipeline.call(self._subject, now))

    def _say(self, verdict: Verdict) -> None:
        self._other = _code(verdict)
        self._passed = self._other == PASSED

    def route(self, to: str | None, now: float) -> None:
        super().route(to, now)
        flow, request = self._flow, self._request
        if self._other != PASSED or flow is None or request is None:
            return
        try:
            other = self._choose(flow, request, now)
        except WireError:
            self._other, self._passed = Reason.MALFORMED.code, False
            return
        if other is None:
            self._other, self._passed = Reason.NO_ROUTE.code, False
        elif to is not None and to != other:
            self.routes.add(to, other)
            self._keep("route", to, other, now)

    def refused(self, reason: Reason) -> None:
        if self._live == PASSED and self._other == PASSED:
            self._other = reason.code
        super().refused(reason)

    def misread(self, flow: Flow, now: float) -> None:
        """What came by ``flow`` could not be read: a message that is judged now, or bytes that a stream broke at."""
        if self._flow is None or self._passed:
            self._pipeline.misread(flow, now)
            self._let_go()

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """The inside gave its final answer to a request that the live policy had let go on."""
        key = _key(flow, request)
        if key in self._mute:
            del self._mute[key]
        else:
            self._pipeline.answered(flow, request, response, now)

    def _let_go(self) -> None:
        """Nobody carries out what the other policy's bans ask for."""
        self._pipeline.penalties.take()
        self._pipeline.penalties.take_closing()

    def end(self, now: float) -> None:
        if self._flow is not None:
            self.judged += 1
            if self._request is not None and self._live == PASSED and (self._mute or not self._passed):
                self._note_way(_key(self._flow, self._request))
            if self._live != self._other:
                self.differences.add(self._live, self._other)
                self._totals.add(self._live, self._other)
                self._keep("verdict", self._live, self._other, now)
            self._let_go()
        self._subject = self._lived = None
        super().end(now)

    def _note_way(self, key: int) -> None:
        """The request goes on: with the consent of the other policy, or without."""
        self._mute.pop(key, None)
        if not self._passed:
            if len(self._mute) >= limits.SHADOW_REFUSED:
                del self._mute[next(iter(self._mute))]
            self._mute[key] = None

    def _keep(self, kind: str, live: str, other: str, now: float) -> None:
        flow, request = self._flow, self._request
        if flow is None:
            return
        kept = self._examples.get((kind, live, other))
        if kept is None:  # as many as there are pairs of reasons, and of sets
            kept = self._examples[kind, live, other] = deque(maxlen=limits.SHADOW_EXAMPLES)
        call_id = request.call_id[: limits.LEDGER_TEXT_CHARS] if request is not None else ""
        kept.append(VerdictDifference(now, str(flow.peer), flow.listener.name, call_id))

    def examples(self, live: str, other: str, kind: str = "verdict") -> tuple[VerdictDifference, ...]:
        """The last few messages of that pair, oldest first; ``kind`` is ``verdict`` or ``route``."""
        return tuple(self._examples.get((kind, live, other), ()))

    def report(self) -> dict[str, Any]:
        """All that is known, for JSON; the pairs that are seen most come first. Times are the plane's."""
        return {
            "judged": self.judged,
            "differences": list(self._told_of("verdict", self.differences)),
            "routes": list(self._told_of("route", self.routes)),
        }

    def _told_of(self, kind: str, counts: Counts) -> Iterator[dict[str, Any]]:
        for (live, other), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            examples = [
                {"time": each.time, "source": each.source, "listener": each.listener, "call_id": each.call_id}
                for each in self.examples(live, other, kind)
            ]
            yield {"live": live, "other": other, "count": count, "examples": examples}


def _key(flow: Flow, request: Request) -> int:
    """A number for a request on its way. Hashed, so that its size is not the peer's choice."""
    return hash((flow.key, request.via.branch, request.call_id, request.cseq, request.method))


def _code(verdict: Verdict) -> str:
    return PASSED if isinstance(verdict, Pass) else verdict.reason.code
