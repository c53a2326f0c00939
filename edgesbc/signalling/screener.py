"""Screener: asks the pipeline in force, phase by phase, and answers what it refuses."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.base.counts import Counts
from edgesbc.base.reasons import Reason
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.bans import Ban, BanScope
from edgesbc.screen.pipeline import BANNED, Pipeline
from edgesbc.screen.shadow_policy import ShadowPolicy, VerdictCallback, VerdictObserver
from edgesbc.screen.stage import PASS, Reject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling.core_sources import CoreSources
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.effects import Close, Penalise
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.responder import Responder
from edgesbc.signalling.statistics import CallAttempts
from edgesbc.signalling.wall_clock import WallClock
from edgesbc.sip.message import Request

__all__ = ["Screener"]

_RETRY_SECONDS = 30
_REFUSED_BY_ROUTING = (Reason.NO_ROUTE, Reason.DOMAIN, Reason.BLOCKED)


class Screener:
    """Screens messages and answers those that are refused. The observer, a shadow policy or a replay, gets each
    verdict."""

    __slots__ = (
        "_attempts", "_clock", "_core", "_effects", "_flows", "_live", "_observer", "_responder",
        "previous_standings", "shadow_differences",
    )  # fmt: skip

    def __init__(
        self,
        live: LivePipeline,
        responder: Responder,
        effects: EffectQueue,
        flows: Flows,
        attempts: CallAttempts,
        clock: WallClock,
        core: CoreSources,
    ) -> None:
        self._live = live
        self._responder = responder
        self._effects = effects
        self._flows = flows
        self._attempts = attempts
        self._clock = clock
        self._core = core
        self._observer: VerdictObserver | None = None
        self.previous_standings: Standings | None = None
        """The trunks of the policy before a change on probation: refused calls of these count as failed as well."""
        self.shadow_differences = Counts()  # (live, other) of all shadow policies so far

    # --- phase by phase ----------------------------------------------------------------------------------

    def is_of_core(self, flow: Flow, now: float) -> bool:
        """Whether a message on a core listener is of the private side; it is asked before anything is parsed.

        Datagrams are judged by address. A connection was when it was accepted, or the edge has opened it.
        """
        if flow.serial or self._core.admits(flow.listener, flow.peer[0]) or self._core.is_own(flow.peer):
            return True
        self._live.pipeline.core_refused(flow, now)
        return False

    def accept(self, listener: Listener, peer: Source, now: float) -> bool:
        """Phase ACCEPT: whether a connection may go on to its handshakes."""
        if listener.zone is Zone.CORE and not self._core.admits(listener, peer.host):
            self._live.pipeline.core_refused(Flow(listener, peer, serial=-1), now)
            return False
        verdict = self._live.pipeline.accept(listener, peer, now)
        if self._observer is not None:
            self._observer.accept(listener, peer, verdict, now)
        if verdict is PASS:
            return True
        self.count_refused_call(Flow(listener, peer, serial=-1), now)
        return False

    def packet(self, flow: Flow, data: bytes, now: float) -> bool:
        """Phase PACKET: whether a message is parsed."""
        verdict = self._live.pipeline.packet(flow, len(data), now, data)
        if self._observer is not None:
            self._observer.begin(flow, len(data), verdict, now, data)
        if verdict is PASS:
            return True
        if verdict is BANNED and flow.serial:
            self._effects.emit(Close(flow))  # the peer may connect again, within the limits on connections
        return False

    def request(self, incoming: Incoming, now: float) -> bool:
        """Phase REQUEST: whether the request goes on; where it does not, it is answered as the verdict says."""
        verdict = self._live.pipeline.request(incoming.subject, now)
        if self._observer is not None:
            self._observer.request(incoming.subject, verdict, now)
        return verdict is PASS or self._answer(verdict, incoming, now)

    def call(self, incoming: Incoming, now: float) -> bool:
        """Phase CALL: the same, for a request outside a dialog."""
        verdict = self._live.pipeline.call(incoming.subject, now)
        if self._observer is not None:
            self._observer.call(verdict, now)
        return verdict is PASS or self._answer(verdict, incoming, now)

    def work(self, flow: Flow, units: int, kind: str, now: float) -> None:
        """Meter work of a connection that completed no message, and close it if that is too much. The observer does not
        get it: no message is judged."""
        if not self._live.pipeline.work(flow, units, kind, now):
            self._effects.emit(Close(flow))
            self._report_bans(now)

    def count_refused_call(self, flow: Flow, now: float) -> None:
        """Screening has refused what may have been a call from ``flow``: it counts as failed for a trunk or a
        registered user.

        Other sources do not count, because refusing them is the purpose of screening.
        """
        before = self.previous_standings
        known = self._live.standings.of(flow, now) >= Standing.REGISTERED
        if known or (before is not None and before.trunk(flow) is not None):
            self._attempts.count_refused(now)

    def _answer(self, verdict: Verdict, incoming: Incoming, now: float) -> bool:
        request, flow = incoming.message, incoming.flow
        if request.method == "INVITE":
            self.count_refused_call(flow, now)
        if isinstance(verdict, Reject):
            extra = [] if verdict.retry_after is None else [("Retry-After", str(verdict.retry_after))]
            if verdict.reason is Reason.METHOD:
                extra.append(self.allow(flow))
            elif verdict.reason is Reason.EXTENSION:
                missing = self._live.pipeline.settings.sanity.unsupported(request)
                extra.append(("Unsupported", ", ".join(missing)))
            self._responder.answer_stateless(incoming, verdict.status, now, extra)
        return False

    def allow(self, flow: Flow) -> tuple[str, str]:
        """The Allow header field for a peer of ``flow``."""
        return "Allow", ", ".join(self._live.pipeline.settings.method.allowed(flow.listener.zone))

    # --- what the core itself refuses and routes ---------------------------------------------------------

    def refuse(
        self,
        incoming: Incoming,
        reason: Reason,
        now: float,
        status: int | None = None,
        retry_after: int | None = None,
        detail: str = "",
    ) -> None:
        """Answer with the status of ``reason``, or with another, without state, and record it. ``detail`` follows the
        method. An ACK has no answer (RFC 3261 section 17.1.1.3)."""
        request, flow = incoming.message, incoming.flow
        status = status or reason.status
        self.on_refusal(reason)
        if reason in _REFUSED_BY_ROUTING and request.method == "INVITE":
            self._attempts.count_refused(now)
        detail = f"{request.method}: {detail}" if detail else request.method
        if request.method == "ACK":
            self._effects.record(now, reason, flow, request.call_id, detail)
            return
        self._effects.record(now, reason, flow, request.call_id, detail, answer=status)
        if retry_after is None:
            retry_after = _RETRY_SECONDS if status == 503 else 0
        extra = [("Retry-After", str(retry_after))] if retry_after else []
        self._responder.answer_stateless(incoming, status, now, extra)

    def refuse_token(self, incoming: Incoming, misuse: str, now: float, status: int | None = None) -> None:
        """Refuse a request whose token was made for another peer or dialog, and count that as stage ``guess`` does;
        ``misuse`` says which."""
        self.refuse(incoming, Reason.TOKEN, now, status, detail=misuse)
        self._live.pipeline.token_misused(incoming.subject, now)

    def on_refusal(self, reason: Reason) -> None:
        """The core refuses the message under any policy."""
        if self._observer is not None:
            self._observer.refused(reason)

    def on_route(self, set_name: str | None, now: float) -> None:
        """The routes lead to that destination set, or none."""
        if self._observer is not None:
            self._observer.route(set_name, now)

    # --- after each message ------------------------------------------------------------------------------

    def after_message(self, now: float) -> None:
        """Report new bans to the shell: what the kernel is to drop, and which connections are to be closed."""
        self._report_bans(now)
        if self._observer is not None:
            self._observer.end(now)

    def _report_bans(self, now: float) -> None:
        penalties = self._live.pipeline.penalties
        if penalties.has_changes:
            self._emit_penalties()
            if closing := penalties.take_stream_bans():
                self._close_covered(closing, now)

    def _emit_penalties(self) -> None:
        for listener, source, ttl in self._live.pipeline.penalties.take_datagram_bans():
            self._effects.emit(Penalise(listener, source, ttl))

    def close_banned(self, now: float) -> None:
        """Close all connections that are under a ban."""
        self._close(self._flows, now)

    def _close_covered(self, bans: list[Ban], now: float) -> None:
        """Close the connections that new bans cover. Only a ban on a prefix needs a search of all connections."""
        if any(ban.scope >= BanScope.PREFIX for ban in bans):
            self._close(self._flows, now)
        else:
            for host in {ban.key[1] for ban in bans}:
                self._close(self._flows.at(host), now)

    def _close(self, flows: Iterable[Flow], now: float) -> None:
        for flow in flows:
            if flow.listener.zone is Zone.PUBLIC and self._live.pipeline.is_banned(flow, now):
                self._effects.emit(Close(flow))

    def lift_bans(self, subject: str) -> int:
        """End the edge's own bans of an address, an address and port, or a prefix; the number of these bans."""
        lifted = self._live.pipeline.penalties.lift(subject)
        self._emit_penalties()
        return lifted

    # --- policies ----------------------------------------------------------------------------------------

    def adopt(self, pipeline: Pipeline) -> None:
        """Judge by another pipeline from the next message on; it takes over what was proven, banned and counted."""
        pipeline.take_over(self._live.pipeline)
        if isinstance(self._observer, ShadowPolicy):
            self._observer.attach(pipeline)
        self._live.pipeline = pipeline

    def observe(self, observer: VerdictObserver | None) -> None:
        """Report verdicts to ``observer`` from the next message on; None: to nothing."""
        live = self._live.pipeline
        live.observer = live.standings.shadow = None
        self._observer = observer
        if isinstance(observer, ShadowPolicy):
            observer.attach(live)

    def start_shadow(
        self, pipeline: Pipeline, routing: RoutingTable, on_verdict: VerdictCallback | None = None
    ) -> ShadowPolicy:
        """Judge by a second policy beside the live one from the next message on, without effect.

        It takes the place of the observer; :meth:`observe` with None ends it. ``on_verdict`` gets each verdict.
        """

        def choose(flow: Flow, request: Request, now: float) -> str | None:
            uri = request.uri
            if routing.has_domains and self._flows.is_foreign(flow, uri) and not routing.serves(uri.host):
                return None
            route = routing.choose(flow, request, pipeline.standings.trunk(flow), self._clock.at(now))
            return None if route is None else route.where

        shadow = ShadowPolicy(pipeline, choose, self.shadow_differences, on_verdict)
        self.observe(shadow)
        return shadow

    @property
    def shadow_policy(self) -> ShadowPolicy | None:
        """The policy that is judged beside the live one, if there is one."""
        return self._observer if isinstance(self._observer, ShadowPolicy) else None
