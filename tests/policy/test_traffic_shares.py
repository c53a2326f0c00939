"""Shares of a set's calls by algorithm."""

from __future__ import annotations

import pytest

from edgesbc.dispatch.algorithms import ALGORITHMS
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.policy.traffic_shares import traffic_shares

A, B, C = "sip:10.0.0.1", "sip:10.0.0.2", "sip:10.0.0.3"
MEMBERS = (
    MemberSettings(A, weight=70, max_calls=100),
    MemberSettings(B, weight=30, max_calls=300),
    MemberSettings(C, weight=500, priority=1),
)


@pytest.mark.parametrize(
    ("algorithm", "one", "other"),
    [
        ("weighted", 70.0, 30.0),
        ("hash", 70.0, 30.0),
        ("least-loaded", 25.0, 75.0),
        ("fewest-calls", 50.0, 50.0),
        ("round-robin", 50.0, 50.0),
        ("random", 50.0, 50.0),
        ("priority", 100.0, 0.0),
        ("broadcast", 100.0, 100.0),
    ],
)
def test_the_best_priority_shares_by_its_algorithm(algorithm: str, one: float, other: float) -> None:
    assert traffic_shares(SetSettings("pbx", MEMBERS, algorithm=algorithm)) == {A: one, B: other, C: 0.0}


def test_shares_are_unknown_where_the_policy_does_not_determine_them() -> None:
    assert traffic_shares(SetSettings("pbx")) is None
    for algorithm in ALGORITHMS:
        shares = traffic_shares(SetSettings("pbx", MEMBERS, algorithm=algorithm))
        assert shares is None or set(shares) == {A, B, C}


def test_least_loaded_is_by_weight_if_one_member_has_no_max_calls() -> None:
    members = (MemberSettings(A, weight=3, max_calls=1), MemberSettings(B, weight=1))
    assert traffic_shares(SetSettings("pbx", members, algorithm="least-loaded")) == {A: 75.0, B: 25.0}


def test_a_disabled_member_has_no_share_and_the_next_priority_counts() -> None:
    members = (MemberSettings(A, disabled=True), MemberSettings(B, priority=1))
    assert traffic_shares(SetSettings("pbx", members)) == {A: 0.0, B: 100.0}
    assert traffic_shares(SetSettings("pbx", (MemberSettings(A, disabled=True),))) == {A: 0.0}
