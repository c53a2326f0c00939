"""The counter of attempts: exact in the window, bounded, and attempts with a mark can be taken back."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.screen.attempt_counter import AttemptCounter


def test_a_window_slides() -> None:
    tries = AttemptCounter(3, 10.0, 8)
    for now in (0.0, 4.0, 8.0):
        assert not tries.over("a", now)
        tries.add("a", 1, now)
    assert tries.over("a", 8.0)
    assert tries.over("a", 9.9)
    assert not tries.over("a", 10.0)
    assert tries.count("a", 10.0) == 2
    assert tries.count("a", 17.9) == 1
    assert tries.count("a", 18.0) == 0
    assert len(tries) == 0, "keys without attempts in the window are dropped"


def test_attempts_beyond_the_limit_are_not_stored() -> None:
    tries = AttemptCounter(3, 10.0, 8)
    for n in range(1000):
        tries.add("a", 1, n * 0.001)
    assert tries.count("a", 1.0) == 3
    assert len(tries._table["a"].times) == len(tries._table["a"].marks) == 3


def test_a_success_takes_back_the_attempts_with_its_mark_only() -> None:
    tries = AttemptCounter(5, 10.0, 8)
    for mark in (1, 2, 1, 2, 2):
        tries.add("a", mark, 1.0)
    assert tries.over("a", 1.0)
    tries.take_back("a", 1)
    assert tries.count("a", 1.0) == 3
    tries.take_back("a", 2)
    assert len(tries) == 0
    tries.take_back("b", 2)


def test_a_key_over_its_number_is_reported_once() -> None:
    tries = AttemptCounter(1, 10.0, 8)
    tries.add("a", 1, 0.0)
    assert tries.over("a", 1.0)
    assert [tries.first_report("a"), tries.first_report("a")] == [True, False]
    assert not tries.over("a", 10.0)
    tries.add("a", 1, 11.0)
    assert tries.first_report("a"), "another window"


def test_memory_is_bounded_and_an_active_key_is_kept() -> None:
    tries = AttemptCounter(10, 60.0, 16)
    for n in range(1000):
        tries.add(f"once-{n}", 1, n * 0.01)
        if n % 10 == 0:
            tries.add("again", 1, n * 0.01)
    assert len(tries) == 16
    assert tries.over("again", 10.0)
    assert limits.GUESS_KEYS < 100_000
