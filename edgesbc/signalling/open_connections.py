"""OpenConnections: judges the connections that are open again, after rules for who may have one have changed."""

from __future__ import annotations

from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.signalling.calls_of_connections import CallsOfConnections
from edgesbc.signalling.core_sources import CoreSources
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.effects import Close
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.live_pipeline import LivePipeline

__all__ = ["OpenConnections"]


class OpenConnections:
    """Closes what the policy in force would not accept: sources that core listeners do not take any more, denied and
    banned addresses (an exemption, or shadow mode, may have ended), and what came in as a trunk's and is none now.

    A connection to a destination that was removed, and that of a removed trunk, stay while a call lives on them.
    """

    __slots__ = ("_calls", "_core", "_effects", "_flows", "_live", "_trunks")

    def __init__(
        self, live: LivePipeline, effects: EffectQueue, flows: Flows, core: CoreSources, calls: CallsOfConnections
    ) -> None:
        self._live = live
        self._effects = effects
        self._flows = flows
        self._core = core
        self._calls = calls
        self._trunks: set[int] = set()  # serials of connections that were a trunk's before the change

    def note_trunks(self) -> None:
        """The trunks are about to change: remember which connections are theirs."""
        standings = self._live.standings
        if standings.trunks:
            self._trunks.update(flow.serial for flow in self._flows if standings.trunk(flow) is not None)

    def judge(self, now: float) -> None:
        """Close what is not accepted any more."""
        for flow in self._flows:
            if not self._may_stay(flow, now):
                self._effects.emit(Close(flow))
        self._trunks.clear()

    def _may_stay(self, flow: Flow, now: float) -> bool:
        pipeline = self._live.pipeline
        if flow.listener.zone is Zone.CORE:
            if self._core.admits(flow.listener, flow.peer.host):
                return True
            if self._flows.is_outbound(flow) and self._calls.has_call(flow.serial):
                return True
            pipeline.core_refused(flow, now)
            return False
        if pipeline.is_banned(flow, now) or not pipeline.admits_address(flow, now):
            return False
        was_trunk = flow.serial in self._trunks and pipeline.standings.of(flow, now) is not Standing.TRUNK
        if not was_trunk or self._calls.has_call(flow.serial):
            return True
        self._effects.record(now, Reason.FLOW_GONE, flow, detail="the policy does not list it as a trunk any more")
        return False
