"""The pipeline of stages: runs them in order and turns their verdicts into bans, counts and recorded decisions."""

from __future__ import annotations

from collections.abc import Callable

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
    Stage,
    Subject,
    Verdict,
    judges_trunks,
    wants_responses,
)
from edgesbc.screen.stages import STAGES
from edgesbc.screen.stages.acl import Acl
from edgesbc.screen.stages.guess import BruteForceGuard
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.work import WorkMeter
from edgesbc.sip.message import Request, Response

__all__ = ["BANNED", "Pipeline", "ScreenSettings"]

BANNED = Drop(Reason.BANNED, quiet=True)


class Pipeline:
    """Screening of one signalling plane.

    ``record`` takes decisions for the ledger; ``failed`` is called once for each kind of exception in a
    stage, with (stage, exception). ``counts`` holds verdicts by (stage, reason code),
    ``shadow_counts`` those that were not carried out; a ban is counted under the stage that asked for it when
    it is set, and under ``penalties`` when it drops something.
    ``extra`` stages judge after those of the settings.

    All methods take ``now`` in seconds of the plane's monotonic clock, and raise nothing.
    """

    __slots__ = (
        "_banned", "_by_phase", "_failed", "_failures", "_for_trunks", "_misbehaviour", "_record",
        "_response_listeners", "_shadowed", "_subject", "_work", "counts", "observer", "operator_bans", "penalties",
        "same_answer", "settings", "shadow_counts", "standings",
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
        self.operator_bans = OperatorBans(settings.exempt)
        self._misbehaviour = MisbehaviourScore(settings.conduct)
        self._work = WorkMeter(settings.work)
        self.observer: Observer | None = None
        """The shadow policy, which gets the same calls of :meth:`malformed` and :meth:`answered`."""
        self.counts = Counts()
        self.shadow_counts = Counts()
        self._record = record
        self._failed = failed
        self._failures: set[tuple[str, type[Exception]]] = set()
        stages = [STAGES[name](getattr(settings, name), standings) for name in settings.stages]
        stages.extend(extra)
        all_shadowed = settings.mode == "shadow"
        self._shadowed = frozenset(s.name for s in stages if all_shadowed or s.name in settings.shadow)
        self._by_phase = {phase: tuple(s for s in stages if phase in s.phases) for phase in Phase}
        self._for_trunks = {phase: tuple(filter(judges_trunks, stages)) for phase, stages in self._by_phase.items()}
        self._response_listeners = [stage for stage in stages if wants_responses(stage)]
        self.same_answer = settings.guess.same_answer and "guess" in {s.name for s in stages} - self._shadowed
        """Whether responses to REGISTER must not show which users exist."""
        self._banned = ("penalties", Reason.BANNED.code)
        self._subject = Subject(
            Flow(Listener(-1, "", Zone.CORE, Transport.UDP, "", 0), Source("", 0)), Standing.UNPROVEN
        )

    def stage(self, name: str) -> Stage | None:
        """The stage with that name; None if it is off."""
        return next((stage for stages in self._by_phase.values() for stage in stages if stage.name == name), None)

    def accept(self, listener: Listener, source: Source, now: float) -> Verdict:
        """Judge a connection that was just accepted, before TLS."""
        if listener.zone is Zone.CORE:
            return PASS
        flow = Flow(listener, source, serial=-1)
        standing = self.standings.of(flow, now)
        if self._blocks(flow, standing, now):
            self.counts.add(*self._banned)
            return BANNED
        return self._judge(Subject(flow, standing), Phase.ACCEPT, now)

    def admits_address(self, flow: Flow, now: float) -> bool:
        """Whether stage ``acl`` accepts an open connection by its address, as it does when one is accepted."""
        acl = self.stage(Acl.name)
        if acl is None or Phase.ACCEPT not in acl.phases:
            return True
        subject = Subject(flow, self.standings.of(flow, now))
        return self._refused(acl.name, acl.judge(subject, Phase.ACCEPT, now), subject, now) is PASS

    def core_refused(self, flow: Flow, now: float) -> None:
        """A core listener takes nothing from this source, whatever the policy's stages are: count and record it."""
        self.counts.add("core", Reason.CORE_SOURCE.code)
        self._write("core", Reason.CORE_SOURCE, Subject(flow, Standing.UNPROVEN), now, None, None, False, "")

    def packet(self, flow: Flow, size: int, now: float, data: bytes = b"") -> Verdict:
        """Judge a datagram or a framed message of ``size`` bytes by its source alone; ``data`` for whether it carries a
        secret of its flow, which is looked at only where it would be refused."""
        if flow.listener.zone is Zone.CORE:
            return PASS
        standing = self.standings.of(flow, now)
        if self._blocks(flow, standing, now):
            counts, banned = self.counts, self._banned
            counts[banned] = counts.get(banned, 0) + 1
            return BANNED
        subject = self._subject
        subject.flow = flow
        subject.standing = standing
        subject.size = size
        subject.data = data
        return self._judge(subject, Phase.PACKET, now)

    def subject(self, flow: Flow, request: Request, now: float) -> Subject:
        """The subject of a parsed request, with the standing of its source. It is made once for all later phases."""
        standing = self.standings.of(flow, now)
        trunk = self.standings.trunk(flow) if standing is Standing.TRUNK else None
        subject = Subject(flow, standing, trunk, request)
        if standing is Standing.REGISTERED and not flow.serial:
            subject.with_secret = self.standings.has_nonce(flow, request)
        return subject

    def request(self, subject: Subject, now: float) -> Verdict:
        """Judge a parsed request. An ACK, which has no response, is dropped instead of rejected."""
        return self._judge(subject, Phase.REQUEST, now)

    def call(self, subject: Subject, now: float) -> Verdict:
        """Judge a request outside a dialog that matched no transaction."""
        return self._judge(subject, Phase.CALL, now)

    def malformed(self, flow: Flow, now: float) -> None:
        """Score a message of ``flow`` that could not be parsed. The caller has recorded it."""
        if self.observer is not None:
            self.observer.malformed(flow, now)
        if not self.is_banned(flow, now):  # a connection that is being closed under a ban may end within a message
            self._score(Subject(flow, self.standings.of(flow, now)), Reason.MALFORMED, now)

    def token_misused(self, subject: Subject, now: float) -> None:
        """The sender of a request has used a token that was not made for it, and was refused: stage ``guess`` counts
        that as an attempt, and may ask for a ban."""
        if self.observer is not None:
            self.observer.token_misused(subject, now)
        guard = self.stage(BruteForceGuard.name)
        if isinstance(guard, BruteForceGuard) and (verdict := guard.token_misused(subject, now)) is not PASS:
            self._refused(guard.name, verdict, subject, now)

    def work(self, flow: Flow, units: int, kind: str, now: float) -> bool:
        """Meter work of a connection that completed no message: ``units`` of :class:`WorkSettings`, most of them of
        ``kind``. False if it is too much, and the connection is to be closed.

        It is also banned, unless its address is exempt. A registered one first loses its registered standing.
        """
        if flow.listener.zone is Zone.CORE:
            return True
        standing = self.standings.of(flow, now)
        if standing is Standing.TRUNK or not self._work.add(flow, standing, units, now):
            return True
        subject, settings = Subject(flow, standing), self._work.settings
        shadow = self.settings.mode == "shadow"
        (self.shadow_counts if shadow else self.counts).add("work", Reason.WORK.code)
        self._write("work", Reason.WORK, subject, now, settings.burst, None, shadow, kind)
        if shadow:
            return True
        if standing is Standing.REGISTERED:
            self._withdraw(flow)
            return True
        self._ban("work", Drop(Reason.WORK, ban=settings.ban), subject, now)
        return False

    def is_banned(self, flow: Flow, now: float) -> bool:
        """Whether an open connection is under a ban, the edge's or the operator's."""
        standing = self.standings.of(flow, now)
        if standing is Standing.TRUNK:
            return False
        ban = self.operator_bans.of(flow.peer[0], now)
        if ban is not None:
            return not ban.exempt
        if standing >= Standing.REGISTERED or self.settings.mode == "shadow":
            return False
        return self.penalties.covers(flow, now)

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """Pass the private side's final response to a request of the public side to the stages that use it."""
        if self.observer is not None:
            self.observer.answered(flow, request, response, now)
        self.standings.note_answer(flow, request, response)
        if response.status < 300:
            self._misbehaviour.clear(flow)
        if not self._response_listeners:
            return
        subject = self.subject(flow, request, now)
        for stage in self._response_listeners:
            try:
                stage.answered(subject, response, now)
            except WireError:
                pass  # a malformed part of the message, which is parsed on first use
            except Exception as error:  # noqa: BLE001 - the response is forwarded all the same
                self._internal(stage.name, error)

    def take_over(self, previous: Pipeline) -> None:
        """Take over counts, proofs and bans from the pipeline of the previous policy, which must not be used
        afterwards. Trackers and buckets start empty, because their thresholds may differ."""
        self.counts = previous.counts
        self.shadow_counts = previous.shadow_counts
        self._failures = previous._failures
        self.standings.take_over(previous.standings)
        self.operator_bans.take_over(previous.operator_bans)
        self.penalties.take_over(previous.penalties)

    def _judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        stages = self._for_trunks if subject.standing is Standing.TRUNK else self._by_phase
        for stage in stages[phase]:
            try:
                verdict = stage.judge(subject, phase, now)
            except WireError as malformed:  # a malformed part of the message, which is parsed on first use
                verdict = Reject(malformed.status_hint, Reason.MALFORMED, detail=malformed.reason)
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
        """Count and record a refusal, and set the ban that it asks for. In shadow mode the result is a pass."""
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
            self._score(subject, verdict.reason, now)
        if isinstance(verdict, Drop):
            pass
        elif request is not None and request.method == "ACK":  # RFC 3261 section 17.1.1.3
            return Drop(verdict.reason, verdict.limit, verdict.value)
        return verdict

    def _blocks(self, flow: Flow, standing: Standing, now: float) -> bool:
        """Whether a message or connection is dropped under a ban, the operator's or the edge's; counts it there.

        The operator's bans and exemptions go first: no other ban applies to an exempt source. They do not apply to
        trunks, which are removed in the policy instead. In shadow mode the edge's own bans drop nothing.
        """
        if self.operator_bans and standing is not Standing.TRUNK:
            ban = self.operator_bans.of(flow.peer[0], now)
            if ban is not None:
                ban.hits += not ban.exempt
                return not ban.exempt
        if self.settings.mode != "shadow":
            return self.penalties.blocks(flow, standing, now)
        most = Standing.REACHABLE if flow.serial else Standing.UNPROVEN
        if standing <= most and self.penalties.covers(flow, now):  # unlike `blocks`, it renews no ban
            self.shadow_counts.add(*self._banned)
        return False

    def _score(self, subject: Subject, reason: Reason, now: float) -> None:
        """Add the points of a refusal to the misbehaviour score of its source.

        Datagrams with a proven or listed address are not scored, because they may be forged. A registered connection
        with too high a score loses its registered standing; any other source is banned.
        """
        flow, standing = subject.flow, subject.standing
        if standing is Standing.TRUNK or (standing is not Standing.UNPROVEN and not flow.serial):
            return
        if not self._misbehaviour.add(flow, reason, now):
            return
        points = self._misbehaviour.settings.points
        if self.settings.mode == "shadow":
            self.shadow_counts.add("conduct", Reason.CONDUCT.code)
            self._write("conduct", Reason.CONDUCT, subject, now, points, None, True, "")
        elif standing is Standing.REGISTERED:
            self._withdraw(flow)
            self._write("conduct", Reason.CONDUCT, subject, now, points, None, False, "no longer registered")
        else:
            verdict = Drop(Reason.CONDUCT, limit=points, ban=self._misbehaviour.settings.ban)
            self._ban("conduct", verdict, subject, now)

    def _withdraw(self, flow: Flow) -> None:
        """Withdraw the proofs of ``flow`` here only: the shadow policy has a score and settings of its own."""
        standings = self.standings
        shadow, standings.shadow = standings.shadow, None
        standings.withdraw(flow)
        standings.shadow = shadow

    def _ban(self, stage: str, verdict: Drop, subject: Subject, now: float) -> None:
        if self.operator_bans.exempts(subject.flow.peer[0], now):
            return
        ban = self.penalties.ban(subject.flow, subject.standing, verdict.reason, verdict.ban, now, verdict.wide)
        if ban is not None:
            self.counts.add(stage, Reason.BAN.code)
            detail = f"{ban.scope.word} {ban.target}, for {verdict.reason.code}"
            self._write(stage, Reason.BAN, subject, now, ban.ttl, None, False, detail, ban.target)

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
        """Record a decision. ``source`` replaces the subject's address where the decision covers more, such as a
        prefix."""
        call_id = subject.request.call_id if subject.request is not None else ""
        flow = subject.flow
        self._record(
            Decision(
                now, reason, source or str(flow.peer), flow.listener.name, call_id, stage, limit, value, shadow, detail
            )
        )
