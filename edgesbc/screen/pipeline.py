"""The gauntlet: asks the stages in order, and turns what they say into verdicts, bans, counts and decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.screen.misbehaviour import MisbehaviourScore
from edgesbc.screen.operator_bans import OperatorBans
from edgesbc.screen.penalties import Penalties
from edgesbc.screen.settings import ScreenSettings
from edgesbc.screen.stage import (
    PASS,
    Drop,
    Observer,
    Pass,
    Phase,
    Reject,
    ResponseListener,
    Stage,
    Subject,
    Verdict,
)
from edgesbc.screen.stages import STAGES
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request, Response

__all__ = ["BANNED", "Pipeline", "ScreenSettings"]

BANNED = Drop(Reason.BANNED, quiet=True)


class Pipeline:
    """Screening of one signalling plane.

    ``record`` takes decisions for the ledger; ``failed`` is told once of each kind of exception in a
    stage, as (stage, exception). ``counts`` holds verdicts by (stage, reason code),
    ``shadow_counts`` those that were not carried out; bans are counted under the stage that asked when
    they are set, and under ``penalties`` when they drop something.
    ``extra`` stages are asked after those of the settings.

    All methods take ``now`` in seconds of the plane's monotonic clock, and raise nothing.
    """

    __slots__ = (
        "_banned", "_by_phase", "_conduct", "_failed", "_failures", "_hearers", "_record", "_shadowed", "_subject",
        "counts", "follower", "orders", "penalties", "same_answer", "settings", "shadow_counts", "standings",
    )  # fmt: skip

    def __init__(
        self,
        settings: ScreenSettings,
        standings: Standings,
        record: Callable[[Decision], None],
        failed: Callable[[str, Exception], None],
        extra: tuple[Stage, ...] = (),
    ) -> None:
        self.settings = settings
        self.standings = standings
        pike = settings.pike
        self.penalties = Penalties(
            standings,
            capacity=int(settings.max_ban_share * pike.tracker_entries),
            density=pike.reqs_density_per_unit,
            window=pike.sampling_time_unit,
        )
        self.orders = OperatorBans(settings.exempt)
        self._conduct = MisbehaviourScore(settings.conduct)
        self.follower: Observer | None = None
        """Who hears what became of messages as this one hears it: the policy that is judged beside."""
        self.counts = Counts()
        self.shadow_counts = Counts()
        self._record = record
        self._failed = failed
        self._failures: set[tuple[str, type[Exception]]] = set()
        stages = [STAGES[name](getattr(settings, name), standings) for name in settings.stages]
        stages.extend(extra)
        everything = settings.mode == "shadow"
        self._shadowed = frozenset(s.name for s in stages if everything or s.name in settings.shadow)
        self._by_phase = {phase: tuple(s for s in stages if phase in s.phases) for phase in Phase}
        self._hearers = [cast(ResponseListener, s) for s in stages if hasattr(s, "answered")]
        self.same_answer = settings.guess.same_answer and "guess" in {s.name for s in stages} - self._shadowed
        """Whether strangers are not to be told which users there are."""
        self._banned = ("penalties", Reason.BANNED.code)
        self._subject = Subject(
            Flow(Listener(-1, "", Zone.CORE, Transport.UDP, "", 0), Source("", 0)), Standing.UNPROVEN
        )

    def stage(self, name: str) -> Stage | None:
        """The stage of that name; None where it is off."""
        return next((stage for stages in self._by_phase.values() for stage in stages if stage.name == name), None)

    def accept(self, listener: Listener, source: Source, now: float) -> Verdict:
        """Judge a connection that was just accepted, before TLS."""
        if listener.zone is Zone.CORE:
            return PASS
        flow = Flow(listener, source, serial=-1)
        standing = self.standings.of(flow, now)
        if self._keeps_out(flow, standing, now):
            self.counts.add(*self._banned)
            return BANNED
        return self._judge(Subject(flow, standing), Phase.ACCEPT, now)

    def packet(self, flow: Flow, size: int, now: float) -> Verdict:
        """Judge a datagram or a framed message of ``size`` bytes by its source alone."""
        if flow.listener.zone is Zone.CORE:
            return PASS
        standing = self.standings.of(flow, now)
        if self._keeps_out(flow, standing, now):
            counts, banned = self.counts, self._banned
            counts[banned] = counts.get(banned, 0) + 1
            return BANNED
        subject = self._subject
        subject.flow = flow
        subject.standing = standing
        subject.size = size
        return self._judge(subject, Phase.PACKET, now)

    def subject(self, flow: Flow, request: Request, now: float) -> Subject:
        """A parsed request and what its source is worth: the one look at it, for all that follows."""
        standing = self.standings.of(flow, now)
        trunk = self.standings.trunk(flow) if standing is Standing.TRUNK else None
        return Subject(flow, standing, trunk, request)

    def request(self, subject: Subject, now: float) -> Verdict:
        """Judge a parsed request. An ACK, which nobody answers, is never rejected but dropped."""
        return self._judge(subject, Phase.REQUEST, now)

    def call(self, subject: Subject, now: float) -> Verdict:
        """Judge a request outside of dialogs that matched no transaction and would start something new."""
        return self._judge(subject, Phase.CALL, now)

    def misread(self, flow: Flow, now: float) -> None:
        """What came by ``flow`` could not be read, and has been recorded."""
        if self.follower is not None:
            self.follower.misread(flow, now)
        if not self.is_out(flow, now):  # a connection that is closed under a ban may break before it is gone
            self._blame(Subject(flow, self.standings.of(flow, now)), Reason.MALFORMED, now)

    def is_out(self, flow: Flow, now: float) -> bool:
        """Whether an open connection is under a ban, the edge's or the operator's."""
        standing = self.standings.of(flow, now)
        if standing is Standing.TRUNK:
            return False
        order = self.orders.of(flow.peer[0], now)
        if order is not None:
            return not order.exempt
        if standing >= Standing.REGISTERED or self.settings.mode == "shadow":
            return False
        return self.penalties.covers(flow, now)

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """The inside gave its final answer to a request of the public side: the stages that care are told."""
        if self.follower is not None:
            self.follower.answered(flow, request, response, now)
        if response.status < 300:
            self._conduct.clear(flow)
        if not self._hearers:
            return
        subject = self.subject(flow, request, now)
        for stage in self._hearers:
            try:
                stage.answered(subject, response, now)
            except WireError:
                pass  # a part of the message that is read when it is asked for
            except Exception as error:  # noqa: BLE001 - the answer goes out all the same
                self._internal(stage.name, error)

    def succeed(self, previous: Pipeline) -> None:
        """Take over counts, proofs and bans when a new policy replaces that of ``previous``, which is not used
        again. Trackers and buckets start anew: their thresholds may be others."""
        self.counts = previous.counts
        self.shadow_counts = previous.shadow_counts
        self._failures = previous._failures
        self.standings.succeed(previous.standings)
        self.orders.succeed(previous.orders)
        self.penalties.succeed(previous.penalties)

    def _judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        for stage in self._by_phase[phase]:
            try:
                verdict = stage.judge(subject, phase, now)
            except WireError as unreadable:  # a stage looked at a part that is read when it is asked for
                verdict = Reject(unreadable.status_hint, Reason.MALFORMED, detail=unreadable.reason)
            except Exception as error:  # noqa: BLE001 - a broken stage costs the message, never the edge
                verdict = self._internal(stage.name, error)
            if verdict is not PASS and (verdict := self._refused(stage.name, verdict, subject, now)) is not PASS:
                return verdict
        return PASS

    def _internal(self, stage: str, error: Exception) -> Reject:
        kind = (stage, type(error))
        if kind not in self._failures:
            self._failures.add(kind)
            self._failed(stage, error)
        return Reject(500, Reason.INTERNAL, detail=type(error).__name__)

    def _refused(self, stage: str, verdict: Verdict, subject: Subject, now: float) -> Verdict:
        """Count and record what is not a pass, ban where it asks for it, and let it go in shadow mode."""
        if isinstance(verdict, Pass):
            return PASS
        shadow = stage in self._shadowed
        (self.shadow_counts if shadow else self.counts).add(stage, verdict.reason.code)
        request = subject.request
        if not (isinstance(verdict, Drop) and verdict.quiet):
            self._write(stage, verdict.reason, subject, now, verdict.limit, verdict.value, shadow, verdict.detail)
        if shadow:
            return PASS
        if isinstance(verdict, Drop) and verdict.ban:
            self._ban(stage, verdict, subject, now)
        else:
            self._blame(subject, verdict.reason, now)
        if isinstance(verdict, Drop):
            pass
        elif request is not None and request.method == "ACK":  # RFC 3261 section 17.1.1.3
            return Drop(verdict.reason, verdict.limit, verdict.value)
        return verdict

    def _keeps_out(self, flow: Flow, standing: Standing, now: float) -> bool:
        """Whether an order or a ban stands against what came; counts it there.

        The operator's order goes first: no ban, a prefix's neither, is for who is exempt. A trunk is taken out of
        the policy instead. Bans of before hold nobody up in shadow mode.
        """
        if self.orders and standing is not Standing.TRUNK:
            order = self.orders.of(flow.peer[0], now)
            if order is not None:
                order.hits += not order.exempt
                return not order.exempt
        if self.settings.mode != "shadow":
            return self.penalties.holds(flow, standing, now)
        most = Standing.REACHABLE if flow.serial else Standing.UNPROVEN
        if standing <= most and self.penalties.covers(flow, now):  # which renews nothing, and tells the kernel nothing
            self.shadow_counts.add(*self._banned)
        return False

    def _blame(self, subject: Subject, reason: Reason, now: float) -> None:
        """Let a refusal count against its source, where it may.

        What comes in a datagram from a proven or listed address may be forged, and counts for nothing. A
        registered connection that has too much against it loses what it has proven, any other its place.
        """
        flow, standing = subject.flow, subject.standing
        if standing is Standing.TRUNK or (standing is not Standing.UNPROVEN and not flow.serial):
            return
        if not self._conduct.blame(flow, reason, now):
            return
        points = self._conduct.settings.points
        if self.settings.mode == "shadow":
            self.shadow_counts.add("conduct", Reason.CONDUCT.code)
            self._write("conduct", Reason.CONDUCT, subject, now, points, None, True, "")
        elif standing is Standing.REGISTERED:
            self._withdraw(flow)
            self._write("conduct", Reason.CONDUCT, subject, now, points, None, False, "no longer registered")
        else:
            verdict = Drop(Reason.CONDUCT, limit=points, ban=self._conduct.settings.ban)
            self._ban("conduct", verdict, subject, now)

    def _withdraw(self, flow: Flow) -> None:
        """Take back what ``flow`` has proven, here alone: one that follows judges conduct by settings of its own."""
        standings = self.standings
        follower, standings.follower = standings.follower, None
        standings.withdraw(flow)
        standings.follower = follower

    def _ban(self, stage: str, verdict: Drop, subject: Subject, now: float) -> None:
        if self.orders.exempts(subject.flow.peer[0], now):
            return
        ban = self.penalties.ban(subject.flow, subject.standing, verdict.reason, verdict.ban, now, verdict.wide)
        if ban is not None:
            self.counts.add(stage, Reason.BAN.code)
            detail = f"{ban.scope.word} {ban.who}, for {verdict.reason.code}"
            self._write(stage, Reason.BAN, subject, now, ban.ttl, None, False, detail, ban.who)

    def _write(
        self,
        stage: str,
        reason: Reason,
        subject: Subject,
        now: float,
        limit: float | None,
        value: float | None,
        shadow: bool,
        detail: str,
        source: str = "",
    ) -> None:
        """``source``: who it is about, where that is more than the subject's flow."""
        call_id = subject.request.call_id if subject.request is not None else ""
        flow = subject.flow
        self._record(
            Decision(
                now, reason, source or str(flow.peer), flow.listener.name, call_id, stage, limit, value, shadow, detail
            )
        )
