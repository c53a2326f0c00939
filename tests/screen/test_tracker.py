"""The tracker against a brute-force model, and its memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.screen.tracker import Tracker

KEYS = st.sampled_from("abc")
STEPS = st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0, 1.75, 2.0, 2.25, 5.0])


class Model:
    """A model that stores every admitted request and counts them anew for each check."""

    def __init__(self, density: int, window: float) -> None:
        self.density, self.window = density, window
        self.admitted: dict[str, list[float]] = {}

    def admits(self, key: str, now: float) -> bool:
        times = self.admitted.setdefault(key, [])
        if sum(now - self.window < time for time in times) >= self.density:
            return False
        times.append(now)
        return True


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6), st.lists(st.tuples(KEYS, STEPS), max_size=80))
def test_threshold_is_exact(density: int, traffic: list[tuple[str, float]]) -> None:
    tracker, model = Tracker(density, 2.0, 16, inherit=True), Model(density, 2.0)
    now = 100.0
    for key, step in traffic:
        now += step
        assert (tracker.admit(key, now) is None) == model.admits(key, now)


def test_request_x_plus_1_trips_and_the_window_slides() -> None:
    tracker = Tracker(30, 2.0, 16, inherit=True)
    assert all(tracker.admit("a", 10.0 + n * 0.05) is None for n in range(30))
    assert tracker.admit("a", 11.999) is not None
    assert tracker.admit("b", 11.999) is None
    assert tracker.admit("a", 12.0) is None  # the first of the thirty is out of the window
    assert tracker.admit("a", 12.0) is not None


def test_the_first_trip_is_reported_once_a_window() -> None:
    tracker = Tracker(1, 2.0, 16, inherit=True)
    tracker.admit("a", 1.0)
    entry = tracker.admit("a", 1.5)
    assert entry is not None
    assert tracker.first_trip(entry, 1.5)
    assert not tracker.first_trip(entry, 1.6)
    assert tracker.certain(entry)
    assert tracker.admit("a", 3.2) is None
    entry = tracker.admit("a", 3.6)
    assert entry is not None
    assert tracker.first_trip(entry, 3.6)


def test_memory_is_fixed_and_a_busy_key_is_kept() -> None:
    tracker = Tracker(30, 2.0, 64, inherit=True)
    tripped = 0
    for n in range(20_000):
        now = 10.0 + n * 0.01
        tracker.admit(f"2001:db8::{n:x}", now)
        if n % 5 == 0:  # 20 a second: 40 in a window of 30
            tripped += tracker.admit("busy", now) is not None
        assert len(tracker) <= 64
    assert tripped > 500


def test_a_new_key_in_a_full_table_inherits_stamps_and_is_not_certain() -> None:
    tracker = Tracker(3, 2.0, 16, inherit=True)
    for n in range(16):
        for _ in range(3):
            tracker.admit(n, 10.0)
    entry = tracker.admit("new", 10.5)
    assert entry is not None
    assert not tracker.certain(entry)
    assert len(tracker) == 16
    assert tracker.admit("later", 13.0) is None


def test_without_inheritance_a_new_key_starts_empty() -> None:
    tracker = Tracker(3, 2.0, 16, inherit=False)
    for n in range(16):
        for _ in range(3):
            tracker.admit(n, 10.0)
    assert tracker.admit("new", 10.5) is None
    assert len(tracker) == 16


def test_an_idle_key_is_replaced_before_an_active_one() -> None:
    tracker = Tracker(3, 2.0, 16, inherit=True)
    for n in range(16):
        tracker.admit(n, 10.0 if n == 2 else 13.0)
    tracker.admit("new", 13.5)
    for n in range(16):
        if n != 2:
            assert tracker.admit(n, 13.5) is None
            assert tracker.admit(n, 13.5) is None
            assert tracker.admit(n, 13.5) is not None
