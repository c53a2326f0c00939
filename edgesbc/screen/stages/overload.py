"""Stage ``overload``: refuses new dialogs under load, those of sources with the weakest standing first.

The transport measures the lag; requests inside dialogs are never refused here.
"""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between
from edgesbc.screen.rejection import reject_with_retry_after
from edgesbc.screen.stage import PASS, LoadSnapshot, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Overload", "OverloadSettings"]

_BEGIN_DIALOGS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_RETRY_SECONDS = 5


@attrs.frozen
class OverloadSettings:
    """``[screen.overload]``: from ``lag`` or ``transactions`` on, new dialogs of unproven sources are refused.

    At two, three and four times ``lag``, those of reachable sources, registered sources and trunks are refused too;
    the same happens at each further quarter of the space above ``transactions`` in the tables.
    """

    lag: float = attrs.field(default=0.25, validator=between(0.01, 1.0))
    """How late the event loop may be, in seconds."""
    transactions: int = attrs.field(default=70_000, validator=between(1, 2 * limits.TRANSACTIONS))
    """Transactions alive at once, server and client transactions together."""


class Overload:
    name = "overload"
    phases = frozenset({Phase.CALL})

    def __init__(self, settings: OverloadSettings, standings: Standings) -> None:
        count = len(Standing)
        step = (2 * limits.TRANSACTIONS - settings.transactions) / count
        self._begins = tuple((settings.lag * (n + 1), settings.transactions + n * step) for n in range(count))
        # A level ends some way below its bound, so that it does not change back and forth at the bound.
        self._ends = tuple((0.75 * lag, transactions - step / 2) for lag, transactions in self._begins)
        self._level = 0
        """The number of standings, from the weakest up, that are refused now."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, load = subject.request, subject.load
        assert request is not None  # noqa: S101 - the phase comes with one
        lag, transactions = self._begins[0]
        if not self._level and load.lag < lag and load.transactions < transactions:
            return PASS  # the usual case
        self._level = max(_reached(self._begins, load), min(self._level, _reached(self._ends, load)))
        if subject.standing >= self._level or request.method not in _BEGIN_DIALOGS:
            return PASS
        lag, transactions = self._begins[subject.standing]
        if load.lag >= self._ends[subject.standing][0]:
            return reject_with_retry_after(subject, Reason.OVERLOAD, _RETRY_SECONDS, lag, round(load.lag, 3), "lag")
        return reject_with_retry_after(
            subject, Reason.OVERLOAD, _RETRY_SECONDS, transactions, load.transactions, "transactions"
        )


def _reached(bounds: tuple[tuple[float, float], ...], load: LoadSnapshot) -> int:
    """The number of bounds on lag or transactions, in rising order, that are reached."""
    level = 0
    for lag, transactions in bounds:
        if load.lag < lag and load.transactions < transactions:
            break
        level += 1
    return level
