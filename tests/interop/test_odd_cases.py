"""Real sipp on both sides of one edge: the cases in ``odd/``, which are legal but rare, or in which something fails."""

from __future__ import annotations

from collections import Counter

import pytest
from interop.odd import dialogs, endings, network, refusals, wording
from support.peers import needs
from support.sipp_calls import NEVER, CallCase, CallResult, run
from support.state_left import StateLeft

# The slowest cases first, since a limited number runs at the same time.
CASES = (*network.CASES, *endings.CASES, *dialogs.CASES, *wording.CASES, *refusals.CASES)

pytestmark = needs("sipp")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, CallResult], tuple[StateLeft, StateLeft]]:
    """The results of all cases by name, and the state left in the edge: after those over IPv4, and those over IPv6."""
    folder = tmp_path_factory.mktemp("odd")
    (results, left), (results_over_ipv6, left_over_ipv6) = (run(folder, CASES, ipv6) for ipv6 in (False, True))
    return results | results_over_ipv6, (left, left_over_ipv6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_calls_go_as_described(results: tuple[dict[str, CallResult], object], case: CallCase) -> None:
    result = results[0][case.name]
    assert result.caller.status == 0, f"{case.proves}: {result.caller.errors}"
    for steps, side in zip(case.called, result.called, strict=True):
        if steps is NEVER:
            assert side.received == [], case.proves
        else:
            assert side.status == 0, f"{case.proves}: {side.errors}"
    case.check(result)


def test_nothing_is_left(results: tuple[object, tuple[StateLeft, StateLeft]]) -> None:
    """When all timers have run, no call, lease, media session or transaction is left, and they have sent nothing."""
    for left in results[1]:
        assert left.calls == ()
        assert left.sent == ()
        assert not any(left.alive.values()), left.alive
    counted: Counter[str] = sum((left.outcomes for left in results[1]), Counter())
    assert counted == sum((Counter(case.outcomes.split() * case.calls) for case in CASES), Counter())


def test_the_names_of_the_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
