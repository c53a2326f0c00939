from edgesbc.base import limits
from edgesbc.media.batching import BatchingPolicy


def run(batching, start, seconds, rate):
    """One packet a turn at ``rate`` packets a second; the last result."""
    gathers = False
    for n in range(int(seconds * rate)):
        gathers = batching.should_gather(1, start + n / rate)
    return gathers


def test_a_quiet_relay_passes_each_packet_on_at_once():
    assert not run(BatchingPolicy(0.0), 0.0, 2.0, limits.MEDIA_BUSY_RATE * 0.8)


def test_a_busy_relay_gathers_and_becomes_quiet_again():
    batching = BatchingPolicy(0.0)
    assert run(batching, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    assert not run(batching, 0.5, 0.5, limits.MEDIA_BUSY_RATE * 0.5)


def test_packets_do_not_gather_after_an_empty_or_a_full_turn():
    batching = BatchingPolicy(0.0)
    run(batching, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    assert not batching.should_gather(0, 0.5)
    assert not batching.should_gather(limits.MEDIA_TURN_PACKETS, 0.5)
    assert batching.should_gather(1, 0.5)


def test_many_packets_after_a_long_silence_do_not_gather():
    batching = BatchingPolicy(0.0)
    assert not batching.should_gather(limits.MEDIA_TURN_PACKETS - 1, 60.0)


def test_bursts_are_relayed_at_once():
    batching = BatchingPolicy(0.0)
    assert not any(batching.should_gather(limits.MEDIA_TURN_PACKETS - 1, n / 50) for n in range(100))


def test_gathering_goes_on_at_the_rate_that_gathering_leaves():
    batching = BatchingPolicy(0.0)
    assert run(batching, 0.0, 0.5, limits.MEDIA_BUSY_RATE * 2)
    gathered = [batching.should_gather(20, 0.5 + n * limits.MEDIA_GATHER_SECONDS * 1.2) for n in range(500)]
    assert all(gathered)


def test_packets_gather_only_beyond_the_bound_of_turns():
    packets = 2 * limits.MEDIA_BUSY_RATE // limits.MEDIA_BUSY_TURNS
    for share, gathers in ((0.8, False), (1.2, True)):
        batching, turns = BatchingPolicy(0.0), int(limits.MEDIA_BUSY_TURNS * share)
        assert [batching.should_gather(packets, n / turns) for n in range(turns)][-1] is gathers
