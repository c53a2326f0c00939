"""The comparison of audio sent and received."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.demo.audio import PAYLOAD_BYTES, Conversation


def test_an_echo_is_verified() -> None:
    talk = Conversation(7, 3)
    for number in (2, 0, 1):  # the network may reorder
        assert not talk.verified
        talk.receive(talk.packet(number))
    assert talk.complete
    assert talk.verified
    assert talk.heard == 3


def test_packets_are_rtp_and_all_differ() -> None:
    talk = Conversation(0xABCDEF01, 25)
    packets = [talk.packet(number) for number in range(25)]
    assert {len(packet) for packet in packets} == {12 + PAYLOAD_BYTES}
    version, payload_type, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", packets[3])
    assert (version, payload_type, sequence, timestamp, ssrc) == (0x80, 0, 3, 480, 0xABCDEF01)
    payloads = {packet[12:] for packet in packets} | {Conversation(2, 1).packet(0)[12:]}
    assert len(payloads) == 26


def test_a_lost_packet_is_missed() -> None:
    talk = Conversation(7, 3)
    talk.receive(talk.packet(0))
    talk.receive(talk.packet(2))
    assert not talk.complete
    assert not talk.verified


def test_a_repeated_packet_is_no_echo() -> None:
    talk = Conversation(7, 1)
    talk.receive(talk.packet(0))
    talk.receive(talk.packet(0))
    assert talk.repeated == 1
    assert not talk.verified


def test_another_calls_audio_is_foreign() -> None:
    talk, other = Conversation(7, 1), Conversation(8, 1)
    talk.receive(talk.packet(0))
    talk.receive(other.packet(0))
    assert talk.foreign == 1
    assert not talk.verified


def test_a_call_without_packets_is_not_verified() -> None:
    assert not Conversation(7, 0).verified


@settings(max_examples=50)
@given(data=st.binary(max_size=200))
def test_foreign_packets_are_counted_and_never_verified(data: bytes) -> None:
    talk = Conversation(7, 2)
    talk.receive(data)
    assert talk.foreign == 1
    assert talk.heard == 0


@settings(max_examples=50)
@given(place=st.integers(0, 12 + PAYLOAD_BYTES - 1), mask=st.integers(1, 255))
def test_one_changed_byte_makes_a_packet_foreign(place: int, mask: int) -> None:
    talk = Conversation(7, 1)
    data = bytearray(talk.packet(0))
    data[place] ^= mask
    talk.receive(bytes(data))
    assert talk.foreign == 1
    assert not talk.complete
