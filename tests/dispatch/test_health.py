"""The table of states, row by row."""

import pytest

from edgesbc.dispatch.health import Health, State
from edgesbc.dispatch.sets import HealthSettings


def after(evidence: str, fall: int = 2, rise: int = 2) -> State:
    """The state after + (good) and - (bad) signs and r (tried again), from the beginning."""
    health = Health(HealthSettings(fall=fall, rise=rise))
    for sign in evidence:
        {"+": health.good, "-": health.bad, "r": health.try_again}[sign]()
    return health.state


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        ("", State.ACTIVE),
        ("+", State.ACTIVE),
        ("-", State.TRYING),
        ("-+", State.ACTIVE),
        ("-+-", State.TRYING),
        ("--", State.INACTIVE),
        ("--+", State.INACTIVE),
        ("--+-+", State.INACTIVE),
        ("--++", State.ACTIVE),
        ("--++-", State.TRYING),
        ("--r", State.TRYING),
        ("--r-", State.INACTIVE),
        ("--r+", State.ACTIVE),
        ("r", State.ACTIVE),
    ],
)
def test_states(evidence: str, state: State) -> None:
    assert after(evidence) is state


def test_fall_and_rise_are_exact() -> None:
    assert after("---", fall=4) is State.TRYING
    assert after("----", fall=4) is State.INACTIVE
    assert after("-" + "++", fall=1, rise=3) is State.INACTIVE
    assert after("-" + "+++", fall=1, rise=3) is State.ACTIVE
    assert after("-", fall=1) is State.INACTIVE
