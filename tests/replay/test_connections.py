"""The bounds of the tables of connections; ``test_replayer`` tests connections with whole captures."""

from __future__ import annotations

from support.captures import RAW, SYN, Timed, tcp
from support.replaying import EDGE, make_replayer, message, replay_frames

from edgesbc.base import limits
from edgesbc.base.address import Source

TRUNK = '[[trunk]]\nname = "all"\naddresses = ["198.51.100.0/24"]'


def test_connections_are_bounded_and_the_longest_idle_ends() -> None:
    frames: list[Timed] = [
        (n / 1000, tcp(("198.51.100.1", 1024 + n), EDGE, 7, flags=SYN)) for n in range(limits.REPLAY_STREAMS + 5)
    ]
    late = message("OPTIONS", transport="TCP")
    frames.append(
        (10.0, tcp(("198.51.100.1", 1024), EDGE, 8, late))
    )  # a packet of the first connection, which the bound has ended
    one = make_replayer(TRUNK)
    result = replay_frames(frames, one, RAW)
    assert len(one._connections) == limits.REPLAY_STREAMS
    assert (
        result.connections == limits.REPLAY_STREAMS + 6
    )  # the replay joins the first connection again at the start of a message
    assert result.verdicts["pass"] == result.connections + 1


def test_connections_that_were_refused_are_remembered_within_bounds() -> None:
    one = make_replayer('[screen.acl]\ndeny = ["198.51.100.0/24"]')
    frames: list[Timed] = [
        (n / 1000, tcp(("198.51.100.1", 1024 + n), EDGE, 7, flags=SYN)) for n in range(limits.REPLAY_STREAMS + 5)
    ]
    result = replay_frames(frames, one, RAW)
    assert result.connections == 0
    assert len(one._connections._refused) == limits.REPLAY_STREAMS


def test_a_missing_segment_ends_the_connection_and_later_ones_are_left_out() -> None:
    phone = ("198.51.100.1", 1024)
    frames: list[Timed] = [(0.0, tcp(phone, EDGE, 0, flags=SYN))]
    size = 1400
    behind = range(0, limits.REPLAY_STREAM_BYTES + 2 * size, size)
    frames += [(0.1 + n / 1e6, tcp(phone, EDGE, 100 + n, b"x" * size)) for n in behind]
    frames.append((1.0, tcp(phone, EDGE, 1, message())))
    result = replay_frames(frames, make_replayer(TRUNK), RAW)
    assert result.verdicts == {"pass": 1}
    assert result.left_out["on a TCP connection with a hole in it"] >= 1
    assert Source(*phone).host == result.sources[0].address
