"""The screen as the signalling core meets it: asked, answered for, and watched. Judges and routes nothing itself."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.base.counts import Counts
from edgesbc.base.reasons import Reason
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.bans import Ban, BanScope
from edgesbc.screen.pipeline import BANNED, Pipeline
from edgesbc.screen.shadow_policy import ShadowPolicy, VerdictCallback, VerdictObserver
from edgesbc.screen.stage import PASS, Reject, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling.effects import Close, Penalise
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.sip.message import Request

__all__ = ["Screener"]

_RETRY_SECONDS = 30


class Screener:
    """Asks the pipeline in force, answers what it refuses, and tells the witness, if there is one, of both."""

    __slots__ = ("_board", "_witness", "previous_standings", "shadow_differences")

    def __init__(self, board: Switchboard) -> None:
        self._board = board
        self._witness: VerdictObserver | None = None
        self.previous_standings: Standings | None = None
        """The trunks of the policy before a change that settles: that one of them is refused now counts as well."""
        self.shadow_differences = Counts()  # (live, other) of all policies that were judged beside the live one

    # --- asking, phase by phase --------------------------------------------------------------------------

    def accept(self, listener: Listener, peer: Source, now: float) -> bool:
        """Phase ACCEPT: whether a connection may go on to its handshakes."""
        verdict = self._board.pipeline.accept(listener, peer, now)
        if self._witness is not None:
            self._witness.accept(listener, peer, verdict, now)
        if verdict is PASS:
            return True
        self.missed(Flow(listener, peer, serial=-1), now)
        return False

    def packet(self, flow: Flow, size: int, now: float) -> bool:
        """Phase PACKET: whether a message is looked at."""
        verdict = self._board.pipeline.packet(flow, size, now)
        if self._witness is not None:
            self._witness.begin(flow, size, verdict, now)
        if verdict is PASS:
            return True
        if verdict is BANNED and flow.serial:
            self._board.emit(Close(flow))  # it may come again, as often as connections may
        return False

    def request(self, subject: Subject, request: Request, now: float) -> bool:
        """Phase REQUEST: whether it goes on; where it does not, it is answered as the verdict says."""
        verdict = self._board.pipeline.request(subject, now)
        if self._witness is not None:
            self._witness.request(subject, verdict, now)
        return verdict is PASS or self._answer(verdict, subject.flow, request, now)

    def call(self, subject: Subject, request: Request, now: float) -> bool:
        """Phase CALL: the same, of what would begin something."""
        verdict = self._board.pipeline.call(subject, now)
        if self._witness is not None:
            self._witness.call(verdict, now)
        return verdict is PASS or self._answer(verdict, subject.flow, request, now)

    def missed(self, flow: Flow, now: float) -> None:
        """Screening has kept out what may have been a call of ``flow``: of a trunk or a user, that call has failed.

        A stranger's has not: to keep strangers out is what screening is for.
        """
        board, before = self._board, self.previous_standings
        known = board.standings.of(flow, now) >= Standing.REGISTERED
        if known or (before is not None and before.trunk(flow) is not None):
            board.attempts.refused(now)

    def _answer(self, verdict: Verdict, flow: Flow, request: Request, now: float) -> bool:
        if request.method == "INVITE":
            self.missed(flow, now)
        if isinstance(verdict, Reject):
            extra = [] if verdict.retry_after is None else [("Retry-After", str(verdict.retry_after))]
            if verdict.reason is Reason.METHOD:
                extra.append(self.allow(flow))
            elif verdict.reason is Reason.EXTENSION:
                lacks = self._board.pipeline.settings.sanity.unsupported(request)
                extra.append(("Unsupported", ", ".join(lacks)))
            self._board.refuse(flow, request, verdict.status, extra)
        return False

    def allow(self, flow: Flow) -> tuple[str, str]:
        """The Allow header field for a peer of ``flow``."""
        return "Allow", ", ".join(self._board.pipeline.settings.method.allowed(flow.listener.zone))

    # --- what the signalling core itself decides -------------------------------------------------------------------

    def refuse(
        self,
        flow: Flow,
        request: Request,
        reason: Reason,
        now: float,
        status: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        """Answer with the status of ``reason``, or with another, without state, and record it."""
        status = status or reason.status
        self.tell(reason)
        if (reason is Reason.NO_ROUTE or reason is Reason.BLOCKED) and request.method == "INVITE":
            self._board.attempts.refused(now)
        self._board.record(now, reason, flow, request.call_id, request.method, answer=status)
        if retry_after is None:
            retry_after = _RETRY_SECONDS if status == 503 else 0
        extra = [("Retry-After", str(retry_after))] if retry_after else []
        self._board.refuse(flow, request, status, extra)

    def tell(self, reason: Reason) -> None:
        """The signalling core refuses the message, whatever the policy."""
        if self._witness is not None:
            self._witness.refused(reason)

    def route(self, to: str | None, now: float) -> None:
        """The routes name the set ``to``, or none."""
        if self._witness is not None:
            self._witness.route(to, now)

    # --- when a message has been dealt with --------------------------------------------------------------

    def done(self, now: float) -> None:
        """Tell the shell of new bans: whom the kernel is to drop, and which connections end."""
        penalties = self._board.pipeline.penalties
        if penalties.has_changes:
            self._tell_kernel()
            if closing := penalties.take_stream_bans():
                self._end(closing, now)
        if self._witness is not None:
            self._witness.end(now)

    def _tell_kernel(self) -> None:
        for listener, source, ttl in self._board.pipeline.penalties.take_datagram_bans():
            self._board.emit(Penalise(listener, source, ttl))

    def expel(self, now: float) -> None:
        """Close the connections of everybody who is banned."""
        self._close(self._board.flows, now)

    def _end(self, bans: list[Ban], now: float) -> None:
        """Close the connections that new bans cover: but for a prefix's, without a look at all the others."""
        flows = self._board.flows
        if any(ban.scope >= BanScope.PREFIX for ban in bans):
            self._close(flows, now)
        else:
            for host in {ban.key[1] for ban in bans}:
                self._close(flows.at(host), now)

    def _close(self, flows: Iterable[Flow], now: float) -> None:
        board = self._board
        for flow in flows:
            if flow.listener.zone is Zone.PUBLIC and board.pipeline.is_banned(flow, now):
                board.emit(Close(flow))

    def lift(self, who: str) -> int:
        """End the edge's own bans of an address, an address and port, or a prefix; how many there were."""
        lifted = self._board.pipeline.penalties.lift(who)
        self._tell_kernel()
        return lifted

    # --- policies ----------------------------------------------------------------------------------------

    def adopt(self, pipeline: Pipeline) -> None:
        """Judge by another pipeline from the next message on; it takes over what was proven, banned and counted."""
        pipeline.take_over(self._board.pipeline)
        if isinstance(self._witness, ShadowPolicy):
            self._witness.attach(pipeline)
        self._board.pipeline = pipeline

    def watch(self, witness: VerdictObserver | None) -> None:
        """Let ``witness`` hear what becomes of each message from the next one on; None: nobody."""
        live = self._board.pipeline
        live.observer = live.standings.shadow = None
        self._witness = witness
        if isinstance(witness, ShadowPolicy):
            witness.attach(live)

    def shadow(self, pipeline: Pipeline, routing: RoutingTable, told: VerdictCallback | None = None) -> ShadowPolicy:
        """Judge by a second policy beside the live one from the next message on, without effect.

        It takes the place of one that was there; :meth:`watch` with None ends it. ``told`` hears each verdict.
        """

        def choose(flow: Flow, request: Request, now: float) -> str | None:
            route = routing.choose(flow, request, pipeline.standings.trunk(flow), self._board.wall(now))
            return None if route is None else route.where

        beside = ShadowPolicy(pipeline, choose, self.shadow_differences, told)
        self.watch(beside)
        return beside

    @property
    def beside(self) -> ShadowPolicy | None:
        """The policy that is judged beside the live one, if there is one."""
        return self._witness if isinstance(self._witness, ShadowPolicy) else None
