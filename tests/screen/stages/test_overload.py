"""Stage overload: the lowest standing is refused first."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, LoadSnapshot, Phase, Reject
from edgesbc.screen.stages.overload import Overload, OverloadSettings
from edgesbc.screen.standing import Standing, Standings

ALL = set(Standing)


@pytest.fixture
def served(flow, subject, request_of):
    """``served(stage, lag=…)``: the standings that may begin a call."""

    def judge(stage: Overload, method: str = "INVITE", **load) -> set[Standing]:
        passed = set()
        for standing in Standing:
            asking = subject(request_of(method), standing, of=flow("tls"))
            asking.load = LoadSnapshot(**load)
            if stage.judge(asking, Phase.CALL, 1.0) is PASS:
                passed.add(standing)
        return passed

    return judge


def stage(**settings) -> Overload:
    return Overload(OverloadSettings(**settings), Standings())


@pytest.mark.parametrize(
    ("lag", "weakest"),
    [(0.0, 0), (0.24, 0), (0.25, 1), (0.49, 1), (0.5, 2), (0.75, 3), (0.99, 3), (1.0, 4), (100.0, 4)],
)
def test_the_weakest_are_refused_first_and_trunks_last(served, lag: float, weakest: int) -> None:
    assert served(stage(), lag=lag) == {standing for standing in Standing if standing >= weakest}


@pytest.mark.parametrize(
    ("transactions", "weakest"),
    [(0, 0), (69_999, 0), (70_000, 1), (77_499, 1), (77_500, 2), (85_000, 3), (92_500, 4), (100_000, 4)],
)
def test_the_weakest_are_refused_first_by_transactions(served, transactions: int, weakest: int) -> None:
    """The last quarter of the tables is for requests of calls that are alive."""
    assert 2 * limits.TRANSACTIONS == 100_000
    standings = served(stage(), transactions=transactions)
    assert standings == {standing for standing in Standing if standing >= weakest}


def test_the_level_does_not_oscillate_at_its_bound(served) -> None:
    one = stage()
    assert served(one, lag=0.5) == {Standing.REGISTERED, Standing.TRUNK}
    assert served(one, lag=0.4) == {Standing.REGISTERED, Standing.TRUNK}
    assert served(one, lag=0.37) == ALL - {Standing.UNPROVEN}
    assert served(one, lag=0.2) == ALL - {Standing.UNPROVEN}
    assert served(one, lag=0.18) == ALL
    assert served(one, lag=0.24) == ALL


def test_the_level_ends_when_lag_and_transactions_are_both_low(served) -> None:
    one = stage()
    assert served(one, lag=1.0, transactions=77_500) == set()
    assert served(one, lag=0.0, transactions=81_500) == {Standing.TRUNK}
    assert served(one, lag=0.8, transactions=70_000) == {Standing.TRUNK}
    assert served(one, lag=0.0, transactions=70_000) == ALL - {Standing.UNPROVEN}
    assert served(one, lag=0.0, transactions=67_000) == ALL - {Standing.UNPROVEN}
    assert served(one, lag=0.0, transactions=0) == ALL


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "MESSAGE"])
def test_methods_that_start_no_dialog_pass_under_load(served, method: str) -> None:
    assert served(stage(), method, lag=10.0) == ALL


@pytest.mark.parametrize("method", ["INVITE", "SUBSCRIBE", "REFER"])
def test_methods_that_start_a_dialog_are_refused_under_load(served, method: str) -> None:
    assert served(stage(), method, lag=10.0) == set()


def test_the_refusal_has_its_limit_value_and_retry_after(flow, subject, request_of) -> None:
    one, delays = stage(), set()
    for number in range(50):
        asking = subject(request_of(call_id=f"call-{number}"), Standing.TRUNK, "carrier", of=flow("tls"))
        asking.load = LoadSnapshot(lag=1.2345)
        verdict = one.judge(asking, Phase.CALL, 1.0)
        assert isinstance(verdict, Reject)
        assert (verdict.status, verdict.reason, verdict.limit, verdict.value) == (503, Reason.OVERLOAD, 1.0, 1.234)
        assert verdict.detail == "lag"
        delays.add(verdict.retry_after)
    assert len(delays) > 5
    asking = subject(request_of())
    asking.load = LoadSnapshot(transactions=70_001)
    silent = stage().judge(asking, Phase.CALL, 1.0)
    assert isinstance(silent, Drop)
    assert (silent.limit, silent.value, silent.detail) == (70_000, 70_001, "transactions")
