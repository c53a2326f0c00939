"""Segments in any order, repeated and overlapping, give the stream that was sent, up to a missing segment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.replay.streams import MissingSegment, TcpStream

SENT = bytes(range(256)) * 4


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 300)), max_size=30),
    st.randoms(),
)
def test_the_output_is_what_was_sent_in_order(start: int, cuts: list[tuple[int, int]], random: object) -> None:
    pieces = [(at, SENT[at : at + size]) for at, size in cuts]
    whole = [(at, SENT[at : at + 100]) for at in range(0, len(SENT), 100)]
    random.shuffle(whole)  # type: ignore[attr-defined]
    stream = TcpStream(start)
    out = b""
    for at, data in pieces + whole:
        out += stream.add(start + at, data)
        assert SENT.startswith(out)
    assert out == SENT
    assert stream.waiting == 0
    assert stream.next == (start + len(SENT)) % 2**32


def test_nothing_is_returned_after_a_missing_segment() -> None:
    stream = TcpStream(100)
    assert stream.add(100, b"abc") == b"abc"
    assert stream.add(104, b"e") == b""
    assert stream.waiting == 1
    assert stream.add(103, b"d") == b"de"


def test_a_fin_counts_when_all_data_before_it_has_arrived() -> None:
    stream = TcpStream(2**32 - 2)
    stream.finish(2**32 - 2 + 4)
    assert stream.add(2**32, b"cd") == b""
    assert not stream.ended
    assert stream.add(2**32 - 2, b"ab") == b"abcd"
    assert stream.ended


@pytest.mark.parametrize("size", [1, 1000])
def test_waiting_segments_are_bounded(size: int) -> None:
    stream = TcpStream(0)
    held = 0
    with pytest.raises(MissingSegment):
        for n in range(limits.REPLAY_STREAM_BYTES):
            stream.add(10 + n * size, b"x" * size)
            held += size
    assert held <= limits.REPLAY_STREAM_BYTES
    assert stream.waiting <= limits.REPLAY_STREAM_SEGMENTS + 1


def test_a_longer_segment_replaces_one_with_the_same_start() -> None:
    stream = TcpStream(0)
    for data in (b"b", b"bcd", b"bc"):
        assert stream.add(1, data) == b""
    assert stream.add(0, b"a") == b"abcd"
