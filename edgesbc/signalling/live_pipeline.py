"""LivePipeline: the screening in force, shared by the parts of the core, so that a new policy replaces it for all."""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.standing import Standing, Standings

__all__ = ["LivePipeline"]


class LivePipeline:
    """``pipeline`` is replaced by :meth:`edgesbc.signalling.screener.Screener.adopt` and by nothing else."""

    __slots__ = ("pipeline",)

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @property
    def standings(self) -> Standings:
        """What each source has proven."""
        return self.pipeline.standings

    def is_unproven(self, flow: Flow, now: float) -> bool:
        """Whether the source address of ``flow`` may be forged: nothing has come from it that proves the opposite."""
        return self.pipeline.standings.of(flow, now) is Standing.UNPROVEN
