"""Fragments in any order are reassembled into the packet, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import RAW, UDP, ip, udp_body

from edgesbc.base import limits
from edgesbc.replay.fragments import Fragments
from edgesbc.replay.packets import Fragment, NotReadable, dissect

HOSTS = {4: ("198.51.100.7", "192.0.2.1"), 6: ("2001:db8::7", "2001:db8::1")}


def part(offset: int, more: bool, data: bytes, number: int = 1, version: int = 4, protocol: int = UDP) -> Fragment:
    fragment = dissect(RAW, ip(*HOSTS[version], protocol, data, fragment=(number, offset, more)))
    assert isinstance(fragment, Fragment)
    return fragment


def cut(body: bytes, size: int, number: int = 1, version: int = 4) -> list[Fragment]:
    return [part(at, at + size < len(body), body[at : at + size], number, version) for at in range(0, len(body), size)]


@given(st.integers(1600, 4000), st.sampled_from([16, 512, 1480]), st.sampled_from([4, 6]), st.randoms())
def test_fragments_in_any_order_and_repeated_make_one_packet(size: int, mtu: int, version: int, random: object) -> None:
    payload = bytes(n % 251 for n in range(size))
    parts = cut(udp_body(5060, 5062, payload), mtu, version=version)
    shuffled = [*parts, parts[0]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    fragments = Fragments()
    whole = [packet for packet in map(fragments.add, shuffled) if packet is not None]
    assert [(packet.payload, packet.source.port) for packet in whole] == [(payload, 5060)]
    assert len(fragments) <= 1  # the repeated fragment of a complete packet begins a new one


def test_packets_of_different_numbers_do_not_mix() -> None:
    first, second = cut(udp_body(1, 2, b"a" * 40), 24, number=1), cut(udp_body(1, 2, b"b" * 40), 24, number=2)
    fragments = Fragments()
    assert [fragments.add(fragment) for fragment in (first[0], second[0])] == [None, None]
    done = [fragments.add(fragment) for fragment in (second[1], first[1])]
    assert [packet.payload if packet else None for packet in done] == [b"b" * 40, b"a" * 40]


def test_fragments_that_overlap_make_no_packet() -> None:
    fragments = Fragments()
    fragments.add(part(0, True, b"x" * 24))
    assert fragments.add(part(16, False, b"y" * 16)) is None
    assert (len(fragments), fragments.given_up) == (0, 1)


def test_a_packet_of_another_protocol_is_not_readable() -> None:
    fragments = Fragments()
    fragments.add(part(0, True, b"x" * 8, protocol=1))
    with pytest.raises(NotReadable, match="neither UDP nor TCP"):
        fragments.add(part(8, False, b"y", protocol=1))


def test_memory_is_bounded() -> None:
    fragments = Fragments()
    for number in range(limits.REPLAY_FRAGMENTED + 10):
        fragments.add(part(0, True, b"x" * 8, number=number))
    assert (len(fragments), fragments.given_up) == (limits.REPLAY_FRAGMENTED, 10)
    for offset in range(0, 80_000 // 8 * 8, 8_000):
        fragments.add(part(offset % 65_528, True, b"x" * 8_000, number=5_000))
    assert fragments.given_up > 11  # no packet is larger than the largest
