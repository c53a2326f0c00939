from edgesbc.base import limits
from edgesbc.media.batching import BatchingPolicy


def run(pace, start, seconds, rate):
    """One packet a turn at ``rate``; the last answer."""
    answer = False
    for n in range(int(seconds * rate)):
        answer = pace.gather(1, start + n / rate)
    return answer


def test_a_quiet_relay_passes_each_packet_on_at_once():
    assert not run(BatchingPolicy(0.0), 0.0, 2.0, limits.MEDIA_BUSY_RATE * 0.8)


def test_a_busy_relay_gathers_and_becomes_quiet_again():
    pace = BatchingPolicy(0.0)
    assert run(pace, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    assert not run(pace, 0.5, 0.5, limits.MEDIA_BUSY_RATE * 0.5)


def test_neither_an_empty_turn_nor_a_full_one_is_a_reason_to_wait():
    pace = BatchingPolicy(0.0)
    run(pace, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    assert not pace.gather(0, 0.5)
    assert not pace.gather(limits.MEDIA_TURN_PACKETS, 0.5)
    assert pace.gather(1, 0.5)


def test_a_long_silence_is_no_rate():
    pace = BatchingPolicy(0.0)
    assert not pace.gather(limits.MEDIA_TURN_PACKETS - 1, 60.0)


def test_bursts_are_served_at_once():
    pace = BatchingPolicy(0.0)
    assert not any(pace.gather(limits.MEDIA_TURN_PACKETS - 1, n / 50) for n in range(100))


def test_gathering_does_not_end_itself():
    pace = BatchingPolicy(0.0)
    assert run(pace, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    gathered = [pace.gather(20, 0.5 + n * limits.MEDIA_GATHER_SECONDS * 1.2) for n in range(500)]
    assert all(gathered)
