"""The shadow policy: a second policy that judges the same messages as the live one, without effects."""

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
"""The word for a message that was not refused, in the place of a reason code."""

VerdictCallback = Callable[[Flow, str, str, float], None]
"""Called once a message with its flow, its Call-ID ("" if not parsed), the reason code or PASSED, and the time."""
RouteChooser = Callable[[Flow, Request, float], str | None]
"""Returns the destination set that a policy's routes name for a request, or None. Raises WireError for a malformed
part that a route reads."""


class VerdictObserver:
    """Gets the live verdicts on each message from the core, phase by phase, and reports the last one.

    One message lies between :meth:`begin` and :meth:`end`; calls outside of them are ignored.
    """

    __slots__ = ("_callback", "_flow", "_live", "_request")

    def __init__(self, callback: VerdictCallback | None = None) -> None:
        self._callback = callback
        self._flow: Flow | None = None
        self._live = PASSED
        self._request: Request | None = None

    def accept(self, listener: Listener, peer: Source, verdict: Verdict, now: float) -> None:
        """A connection was judged in phase ACCEPT. No :meth:`begin` or :meth:`end` belongs to it."""
        self._flow = Flow(listener, peer, serial=-1)
        self._request = None
        self._live = _code(verdict)
        self.end(now)

    def begin(self, flow: Flow, size: int, verdict: Verdict, now: float, data: bytes = b"") -> None:
        """A message of ``size`` bytes was judged in phase PACKET."""
        self._flow = flow
        self._request = None
        self._live = _code(verdict)

    def request(self, subject: Subject, verdict: Verdict, now: float) -> None:
        """The message is a request, and was judged in phase REQUEST."""
        self._request = subject.request
        self._live = _code(verdict)

    def call(self, verdict: Verdict, now: float) -> None:
        """The request is outside a dialog, and was judged in phase CALL."""
        self._live = _code(verdict)

    def route(self, live_set: str | None, now: float) -> None:
        """The live routes name the destination set ``live_set``, or none."""
        if live_set is None:
            self._live = Reason.NO_ROUTE.code

    def refused(self, reason: Reason) -> None:
        """The signalling core refuses the message for a reason that does not depend on the policy."""
        if self._live == PASSED:
            self._live = reason.code

    def end(self, now: float) -> None:
        """The message has been dealt with: report its verdict."""
        flow, request = self._flow, self._request
        self._flow = self._request = None
        if self._callback is not None and flow is not None:
            self._callback(flow, request.call_id if request is not None else "", self._live, now)


class VerdictDifference:
    """An example of a message on which two policies differ; ``call_id`` is a peer's text, cut but not escaped."""

    __slots__ = ("call_id", "listener", "source", "time")

    def __init__(self, time: float, source: str, listener: str, call_id: str) -> None:
        self.time = time
        self.source = source
        self.listener = listener
        self.call_id = call_id


class ShadowPolicy(VerdictObserver):
    """A second pipeline that judges the same messages as the live one, and counts where they differ.

    The other policy has trackers, buckets and penalties of its own, which begin empty, and standings of its own
    that get the live one's proofs; the operator's bans count for both. Each policy refuses a message at most once:
    after either has refused it, the other policy does not judge its later phases. A refusal of the signalling core
    under any policy is no difference. Of messages that the other policy has refused, it gets neither parse failures nor
    responses, because under it they would not have been parsed or forwarded.

    ``differences`` counts messages by (live, other), each a reason code or PASSED; ``routes`` counts requests that
    both pass by (live set, other set). ``totals`` is counted as well, and may outlive this object.
    """

    __slots__ = (
        "_choose", "_examples", "_live_bans", "_live_bans_version", "_live_subject", "_other", "_passed", "_pipeline",
        "_refused", "_subject", "_totals", "differences", "judged", "routes",
    )  # fmt: skip

    def __init__(
        self, pipeline: Pipeline, choose: RouteChooser, totals: Counts, callback: VerdictCallback | None = None
    ) -> None:
        super().__init__(callback)
        self._pipeline = pipeline
        self._choose = choose
        self._totals = totals
        self._live_bans = OperatorBans()
        """The live pipeline's operator bans; the version is that of the last copy."""
        self._live_bans_version = self._live_bans.version
        self._other = PASSED
        self._passed = True
        """Whether the other policy has passed the message so far."""
        self._refused: dict[int, None] = {}
        """Requests that were forwarded and that the other policy had refused: it does not get their responses."""
        self._subject: Subject | None = None
        self._live_subject: Subject | None = None
        """The live policy's subject of the same request as :attr:`_subject`."""
        self._examples: dict[tuple[str, str, str], deque[VerdictDifference]] = {}
        self.judged = 0
        self.differences = Counts()
        self.routes = Counts()

    def attach(self, live: Pipeline) -> None:
        """Copy the proofs and operator bans of ``live``, and observe it: later proofs, bans and responses are passed
        on to the other policy."""
        self._pipeline.standings.copy_from(live.standings)
        live.standings.shadow = self._pipeline.standings
        live.observer = self
        self._live_bans = live.operator_bans
        self._copy_operator_bans()

    def _copy_operator_bans(self) -> None:
        """The operator's bans count under every policy."""
        self._pipeline.operator_bans.copy_from(self._live_bans)
        self._live_bans_version = self._live_bans.version

    def accept(self, listener: Listener, peer: Source, verdict: Verdict, now: float) -> None:
        if self._live_bans.version != self._live_bans_version:
            self._copy_operator_bans()
        self._set_verdict(self._pipeline.accept(listener, peer, now))
        super().accept(listener, peer, verdict, now)

    def begin(self, flow: Flow, size: int, verdict: Verdict, now: float, data: bytes = b"") -> None:
        super().begin(flow, size, verdict, now, data)
        if self._live_bans.version != self._live_bans_version:
            self._copy_operator_bans()
        self._set_verdict(self._pipeline.packet(flow, size, now, data))

    def request(self, subject: Subject, verdict: Verdict, now: float) -> None:
        super().request(subject, verdict, now)
        request = subject.request
        if self._other == PASSED and request is not None:
            self._live_subject = subject
            self._subject = self._pipeline.subject(subject.flow, request, now)
            self._subject.in_call = subject.in_call
            self._set_verdict(self._pipeline.request(self._subject, now))

    def call(self, verdict: Verdict, now: float) -> None:
        super().call(verdict, now)
        if self._other == PASSED and self._subject is not None and self._live_subject is not None:
            self._subject.load = self._live_subject.load  # the load is that of the edge, whatever the policy
            self._set_verdict(self._pipeline.call(self._subject, now))

    def _set_verdict(self, verdict: Verdict) -> None:
        self._other = _code(verdict)
        self._passed = self._other == PASSED

    def route(self, live_set: str | None, now: float) -> None:
        super().route(live_set, now)
        flow, request = self._flow, self._request
        if self._other != PASSED or flow is None or request is None:
            return
        try:
            other_set = self._choose(flow, request, now)
        except WireError:
            self._other, self._passed = Reason.MALFORMED.code, False
            return
        if other_set is None:
            self._other, self._passed = Reason.NO_ROUTE.code, False
        elif live_set is not None and live_set != other_set:
            self.routes.add(live_set, other_set)
            self._keep_example("route", live_set, other_set, now)

    def refused(self, reason: Reason) -> None:
        if self._live == PASSED and self._other == PASSED:
            self._other = reason.code
        super().refused(reason)

    def malformed(self, flow: Flow, now: float) -> None:
        """The message that is judged now, or the bytes of a stream outside a message, could not be parsed."""
        if self._flow is None or self._passed:
            self._pipeline.malformed(flow, now)
            self._discard_bans()

    def token_misused(self, subject: Subject, now: float) -> None:
        """The signalling core refuses the request that is judged now, under any policy."""
        if self._passed and self._subject is not None:
            self._pipeline.token_misused(self._subject, now)
            self._discard_bans()

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """The private side sent its final response to a request that the live policy had passed."""
        key = _key(flow, request)
        if key in self._refused:
            del self._refused[key]
        else:
            self._pipeline.answered(flow, request, response, now)

    def _discard_bans(self) -> None:
        """The bans of the other policy have no effect: drop the changes for kernel filters and connections."""
        self._pipeline.penalties.take_datagram_bans()
        self._pipeline.penalties.take_stream_bans()

    def end(self, now: float) -> None:
        if self._flow is not None:
            self.judged += 1
            if self._request is not None and self._live == PASSED and (self._refused or not self._passed):
                self._note_forwarded(_key(self._flow, self._request))
            if self._live != self._other:
                self.differences.add(self._live, self._other)
                self._totals.add(self._live, self._other)
                self._keep_example("verdict", self._live, self._other, now)
            self._discard_bans()
        self._subject = self._live_subject = None
        super().end(now)

    def _note_forwarded(self, key: int) -> None:
        """The request is forwarded: note it if the other policy has refused it."""
        self._refused.pop(key, None)
        if not self._passed:
            if len(self._refused) >= limits.SHADOW_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[key] = None

    def _keep_example(self, kind: str, live: str, other: str, now: float) -> None:
        flow, request = self._flow, self._request
        if flow is None:
            return
        examples = self._examples.get((kind, live, other))
        if examples is None:  # bounded by the number of pairs of reasons and of sets
            examples = self._examples[kind, live, other] = deque(maxlen=limits.SHADOW_EXAMPLES)
        call_id = request.call_id[: limits.LEDGER_TEXT_CHARS] if request is not None else ""
        examples.append(VerdictDifference(now, str(flow.peer), flow.listener.name, call_id))

    def examples(self, live: str, other: str, kind: str = "verdict") -> tuple[VerdictDifference, ...]:
        """The last messages of that pair, at most ``limits.SHADOW_EXAMPLES``, oldest first; ``kind`` is ``verdict`` or
        ``route``."""
        return tuple(self._examples.get((kind, live, other), ()))

    def report(self) -> dict[str, Any]:
        """The counts with examples, for JSON; the most frequent pairs come first. Times are the plane's, in seconds."""
        return {
            "judged": self.judged,
            "differences": list(self._rows("verdict", self.differences)),
            "routes": list(self._rows("route", self.routes)),
        }

    def _rows(self, kind: str, counts: Counts) -> Iterator[dict[str, Any]]:
        for (live, other), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            examples = [
                {
                    "time": example.time,
                    "source": example.source,
                    "listener": example.listener,
                    "call_id": example.call_id,
                }
                for example in self.examples(live, other, kind)
            ]
            yield {"live": live, "other": other, "count": count, "examples": examples}


def _key(flow: Flow, request: Request) -> int:
    """A number that identifies a request: a hash, so that its size does not depend on the peer's text."""
    return hash((flow.key, request.via.branch, request.call_id, request.cseq, request.method))


def _code(verdict: Verdict) -> str:
    return PASSED if isinstance(verdict, Pass) else verdict.reason.code
