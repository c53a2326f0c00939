"""Stage ``overload``: when there is too much to do, new dialogs of the weakest standing are refused first.

It measures nothing: the shell says how late it is, and calls that are alive are never asked.
"""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.expect import between
from edgesbc.screen.retry import put_off
from edgesbc.screen.stage import PASS, Phase, Subject, UnderWay, Verdict
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Overload", "OverloadSettings"]

_BEGIN_DIALOGS = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
_CALM = 0.75
"""A level ends when what set it is below this share of its bound: at the bound itself it would come and go."""
_RETRY_SECONDS = 5


@attrs.frozen
class OverloadSettings:
    """``[screen.overload]``: from ``lag`` or ``transactions`` on, unproven sources begin no new dialogs.

    At twice, three and four times ``lag``, reachable ones, registered ones and trunks do not either; and so at
    each further quarter of what is left of the tables above ``transactions``.
    """

    lag: float = attrs.field(default=0.25, validator=between(0.01, 1.0))
    """How late the edge may be, in seconds."""
    transactions: int = attrs.field(default=70_000, validator=between(1, 2 * limits.TRANSACTIONS))
    """Transactions that may be alive, servers and clients together."""


class Overload:
    name = "overload"
    phases = frozenset({Phase.CALL})

    def __init__(self, settings: OverloadSettings, standings: Standings) -> None:
        count = len(Standing)
        step = (2 * limits.TRANSACTIONS - settings.transactions) / count
        self._bounds = tuple((settings.lag * (n + 1), settings.transactions + n * step) for n in range(count))
        self._level = 0
        """How many standings, from the weakest up, are refused now."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, under_way = subject.request, subject.under_way
        assert request is not None  # noqa: S101 - the phase comes with one
        self._level = max(self._reached(under_way, 1.0), min(self._level, self._reached(under_way, _CALM)))
        if subject.standing >= self._level or request.method not in _BEGIN_DIALOGS:
            return PASS
        lag, transactions = self._bounds[subject.standing]
        if under_way.lag >= _CALM * lag:
            return put_off(subject, Reason.OVERLOAD, _RETRY_SECONDS, lag, round(under_way.lag, 3), "lag")
        return put_off(subject, Reason.OVERLOAD, _RETRY_SECONDS, transactions, under_way.transactions, "transactions")

    def _reached(self, under_way: UnderWay, share: float) -> int:
        """The level whose bounds, or ``share`` of them, are reached."""
        level = 0
        for lag, transactions in self._bounds:
            if under_way.lag < share * lag and under_way.transactions < share * transactions:
                break
            level += 1
        return level
