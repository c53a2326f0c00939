"""Token buckets against exact arithmetic, and their memory."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.screen.buckets import SECOND, TokenBucket


class Model:
    """Tokens as fractions, refilled by the time that passed."""

    def __init__(self, interval: int, burst: int) -> None:
        self.interval, self.burst = interval, burst
        self.tokens, self.at = Fraction(burst), 0

    def wait(self, now: int) -> Fraction:
        self.tokens = min(Fraction(self.burst), self.tokens + Fraction(now - self.at, self.interval))
        self.at = now
        return max(Fraction(0), (1 - self.tokens) * self.interval)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0.1, 0.3, 1.0, 3.0, 7.0, 10.0, 1000.0]),
    st.integers(1, 6),
    st.lists(st.integers(0, 4 * SECOND) | st.sampled_from([0, 1, SECOND // 3, SECOND // 10]), max_size=60),
)
def test_decisions_and_waiting_times_are_exact(rate: float, burst: int, steps: list[int]) -> None:
    bucket, model = TokenBucket("b", rate, burst, 16), Model(round(SECOND / rate), burst)
    now = 0
    for step in steps:
        now += step
        wait = bucket.wait("k", now)
        assert wait == model.wait(now)
        if wait == 0:
            bucket.take("k", now)
            model.tokens -= 1


def test_burst_then_rate() -> None:
    bucket = TokenBucket("b", 5.0, 10, 16)
    for _ in range(10):
        assert bucket.wait("k", 0) == 0
        bucket.take("k", 0)
    assert bucket.wait("k", 0) == SECOND // 5
    assert bucket.wait("k", SECOND // 5 - 1) == 1
    assert bucket.wait("k", SECOND // 5) == 0
    assert bucket.wait("other", 0) == 0


def test_wait_takes_no_token() -> None:
    bucket = TokenBucket("b", 1.0, 1, 16)
    assert [bucket.wait("k", 0) for _ in range(5)] == [0] * 5
    bucket.take("k", 0)
    assert [bucket.wait("k", SECOND // 2) for _ in range(5)] == [SECOND // 2] * 5
    assert bucket.wait("k", SECOND) == 0


def test_keys_are_bounded_and_a_key_in_use_is_kept() -> None:
    bucket = TokenBucket("b", 0.001, 1, 100)
    bucket.take("abuser", 0)
    for n in range(10_000):
        bucket.take(n, n)
        if n % 50 == 0:
            assert bucket.wait("abuser", n) > 0
        assert len(bucket) <= 200
