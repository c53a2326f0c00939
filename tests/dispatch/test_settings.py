"""Settings of sets: the values that they accept, and the errors for others."""

import pytest

from edgesbc.base import limits
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings


@pytest.mark.parametrize("field", [{"weight": 0}, {"weight": 10_001}, {"priority": -1}, {"max_calls": 0}])
def test_bounds_of_a_member(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MemberSettings(uri="sip:10.0.0.11", **field)


@pytest.mark.parametrize(
    "field", [{"interval": float("nan")}, {"interval": float("inf")}, {"timeout": 0}, {"fall": 0}, {"rise": 0}]
)
def test_bounds_of_health(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        HealthSettings(**field)  # type: ignore[arg-type]


def test_bounds_of_a_set() -> None:
    member = MemberSettings(uri="sip:10.0.0.11")
    with pytest.raises(ValueError, match="at most"):
        SetSettings(set="pbx", members=(member,) * (limits.SET_MEMBERS + 1))
    with pytest.raises(ValueError, match="400 to 699"):
        SetSettings(set="pbx", members=(member,), failover_on=(503, 200))
    with pytest.raises(ValueError, match="header:NAME"):
        SetSettings(set="pbx", members=(member,), hash_on="header:")
    with pytest.raises(ValueError, match="expected a name"):
        SetSettings(set="", members=(member,))


def test_the_error_for_an_unknown_algorithm_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError,
        match=r"broadcast, fewest-calls, hash, .*, round-robin, weighted; found 'fast'",
    ):
        SetSettings(set="pbx", members=(MemberSettings(uri="sip:10.0.0.11"),), algorithm="fast")


def test_the_resources_of_a_member_are_bounded() -> None:
    most = {f"r{number}": 1 for number in range(limits.MEMBER_RESOURCES)}
    assert MemberSettings(uri="sip:10.0.0.11", resources=most).resources == most
    with pytest.raises(ValueError, match=f"at most {limits.MEMBER_RESOURCES} resources"):
        MemberSettings(uri="sip:10.0.0.11", resources={**most, "one more": 1})
    for wrong in ({"": 1}, {"pstn": -1}, {"pstn": limits.CALLS_MOST + 1}):
        with pytest.raises(ValueError, match="expected a name and 0 to"):
            MemberSettings(uri="sip:10.0.0.11", resources=wrong)
