"""LivePipeline: screening and header rules in force, shared by the parts of the core, which a new policy replaces."""

from __future__ import annotations

from edgesbc.base.address import CallHolder, Flow, Zone
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stage import Subject
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling.bodies import BodyRule
from edgesbc.signalling.header_rules import OUTWARD, OUTWARD_TO_TRUNKS, FieldFilter, HeaderRules

__all__ = ["LivePipeline"]


class LivePipeline:
    """``pipeline`` is replaced by :meth:`edgesbc.signalling.screener.Screener.adopt` and by nothing else, ``headers``
    by :meth:`edgesbc.signalling.edge.Edge.adopt`."""

    __slots__ = ("headers", "pipeline")

    def __init__(self, pipeline: Pipeline, headers: HeaderRules) -> None:
        self.pipeline = pipeline
        self.headers = headers

    @property
    def standings(self) -> Standings:
        """What each source has proven."""
        return self.pipeline.standings

    def crossing(self, standing: Standing, receiver: Flow, now: float, to_member: bool = False) -> FieldFilter:
        """The filter for the header fields of a message from a sender of that standing to ``receiver``; ``to_member``:
        that is a destination."""
        if receiver.listener.zone is Zone.CORE:
            return self.headers.inward(standing)
        to_trunk = to_member or self.pipeline.standings.of(receiver, now) is Standing.TRUNK
        return OUTWARD_TO_TRUNKS if to_trunk else OUTWARD

    def holder_of(self, subject: Subject, now: float) -> CallHolder | None:
        """By what the transactions of a registered sender are counted: its account. None for all others."""
        if subject.standing is not Standing.REGISTERED:
            return None
        return self.pipeline.standings.call_holder(subject.flow, subject.with_secret, now)

    def body_rule(self, standing: Standing, receiver: Flow, now: float, to_member: bool = False) -> BodyRule:
        """The rule for the bodies of a message; the arguments are those of :meth:`crossing`."""
        if receiver.listener.zone is not Zone.CORE:
            standing = Standing.TRUNK if to_member else self.pipeline.standings.of(receiver, now)
        return self.headers.bodies.of(standing)

    def is_unproven(self, flow: Flow, now: float) -> bool:
        """Whether the source address of ``flow`` may be forged: nothing has come from it that proves the opposite."""
        return self.pipeline.standings.of(flow, now) is Standing.UNPROVEN
