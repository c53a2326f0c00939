"""EdgeCounters: the counters of the signalling core, for metrics and reports."""

from __future__ import annotations

from typing import Final

from edgesbc.base.counts import Counts, Histogram

__all__ = ["EdgeCounters"]


class EdgeCounters:
    """They go on when the policy changes. The labels of each stand behind it."""

    __slots__ = (
        "malformed", "outcomes", "requests", "responses", "screened", "screened_shadow", "set_up",
        "shadow_differences",
    )  # fmt: skip

    def __init__(
        self,
        responses: Counts,
        outcomes: Counts,
        set_up: Histogram,
        screened: Counts,
        screened_shadow: Counts,
        shadow_differences: Counts,
    ) -> None:
        self.requests: Final = Counts()  # listener, method; without retransmissions
        self.responses: Final = responses  # zone, class
        self.malformed: Final = Counts()  # messages that could not be parsed
        self.outcomes: Final = outcomes  # of calls: outcome
        self.set_up: Final = set_up  # seconds from INVITE to 200
        self.screened: Final = screened  # stage, reason
        self.screened_shadow: Final = screened_shadow  # stage, reason; of verdicts that were not carried out
        self.shadow_differences: Final = shadow_differences  # live verdict, the shadow policy's
