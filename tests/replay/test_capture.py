"""Both file formats in all variants, and the errors for broken files."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.captures import COOKED, ETHERNET, T0, block, interface, packet_block, pcap, pcapng, section

from edgesbc.base import limits
from edgesbc.replay.capture import Capture, CapturedFrame, CaptureError

FRAMES = [(0.0, b"one"), (0.25, b"second"), (3600.000001, b"")]


def frames(data: bytes) -> list[CapturedFrame]:
    return list(Capture(io.BytesIO(data)))


def broken(data: bytes) -> tuple[list[bytes], str]:
    """The frames before the fault, and its error."""
    capture = Capture(io.BytesIO(data))
    whole = []
    with pytest.raises(CaptureError) as error:
        whole.extend(packet.data for packet in capture)
    assert error.value.packets == capture.number == len(whole)
    return whole, str(error.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "make", [pcap, pcapng, lambda *arguments: pcap(*arguments, nanoseconds=True)], ids=["pcap", "pcapng", "nanoseconds"]
)
def test_frames_come_with_number_time_and_link_type(make: object, order: str) -> None:
    packets = frames(make(FRAMES, COOKED, order))  # type: ignore[operator]
    assert [(packet.number, packet.data, packet.link) for packet in packets] == [
        (n, data, COOKED) for n, (_, data) in enumerate(FRAMES, 1)
    ]
    begin = T0 * 10**9
    assert [packet.at - begin for packet in packets] == [0, 250_000_000, 3_600_000_001_000]


def test_a_capture_without_packets_is_one() -> None:
    assert frames(pcap([])) == []
    assert frames(pcapng([])) == []


def test_interfaces_of_one_section_differ_in_link_type_and_resolution() -> None:
    nanoseconds = struct.pack("<HHB3x", 9, 1, 9) + struct.pack("<HHq", 14, 8, 10) + bytes(4)
    halves = struct.pack("<HHB3x", 9, 1, 0x80 | 10)  # 1/1024 s
    data = section() + interface() + interface(COOKED, options=nanoseconds) + interface(options=halves)
    data += packet_block(1.5, b"a") + packet_block(1.5, b"b", 1, unit=10**9) + packet_block(1.5, b"c", 2, unit=1024)
    packets = frames(data)
    assert [packet.link for packet in packets] == [ETHERNET, COOKED, ETHERNET]
    assert [(packet.at - T0 * 10**9) / 1e9 for packet in packets] == [1.5, 11.5, 1.5]


def test_sections_follow_each_other_in_any_byte_order() -> None:
    data = pcapng(FRAMES, order="<") + pcapng(FRAMES, COOKED, ">")
    assert [packet.link for packet in frames(data)] == [ETHERNET] * 3 + [COOKED] * 3


def test_unknown_blocks_are_skipped_and_obsolete_ones_are_read() -> None:
    ticks = T0 * 10**6
    old = block(2, struct.pack("<HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, 3, 3) + b"old")
    simple = block(3, struct.pack("<I", 6) + b"simple")
    data = section() + block(10, bytes(70_000)) + interface() + old + block(5, bytes(12)) + simple
    assert [packet.data for packet in frames(data)] == [b"old", b"simple"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", "expected a pcap or pcapng file, found one that begins with 47494638"),
        (b"\x1f\x8b\x08\x00", "begins with 1f8b0800"),
    ],
)
def test_a_file_that_is_no_capture_is_an_error_at_once(data: bytes, message: str) -> None:
    with pytest.raises(CaptureError) as error:
        Capture(io.BytesIO(data))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("data", "whole", "expected"),
    [
        (pcap(FRAMES)[:10], 0, "packet 1: the file ends inside the header of the file"),
        (pcap(FRAMES)[:50], 1, "packet 2: the file ends inside the header of a packet: expected 15 bytes, found 6"),
        (pcap(FRAMES[:2])[:-2], 1, "packet 2: the file ends inside a packet: expected 6 bytes, found 4"),
        (pcap(FRAMES) + b"\xff" * 16, 3, "packet 4: expected at most 262144 bytes, found a length of 4294967295"),
        (pcapng(FRAMES)[:-5], 2, "packet 3: the file ends inside a block"),
        (section() + packet_block(0, b"x"), 0, "packet 1: is said to be of interface 0, and 0 are described"),
        (section() + struct.pack("<II", 6, 4), 0, "packet 1: a block cannot be 4 bytes long"),
        (section() + struct.pack("<II", 6, 1 << 30), 0, "packet 1: expected a block of at most 1048576 bytes"),
        (section() + block(1, b"abcd"), 0, "packet 1: a block ends inside one of its fields"),
        (section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"abcd"), 0, "said to have 9 bytes"),
        (section()[:8] + b"abcd" + section()[12:], 0, "packet 1: expected the byte order of a section"),
        (section() + interface() * 1025, 0, "packet 1: expected at most 1024 interfaces in a section"),
    ],
)
def test_the_error_for_a_broken_capture_has_the_packets_number(data: bytes, whole: int, expected: str) -> None:
    packets, message = broken(data)
    assert len(packets) == whole
    assert expected in message


def test_what_a_header_claims_is_not_taken_from_memory() -> None:
    """Data is skipped and read in pieces: a short file whose header claims gigabytes takes little memory."""
    sizes = []

    class Meter(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.append(size)
            return super().read(size)

    with pytest.raises(CaptureError):
        list(Capture(Meter(section() + struct.pack("<II", 77, 0xFFFFFFFC))))
    assert all(size is not None and 0 <= size <= limits.CAPTURE_PACKET_BYTES for size in sizes)


@given(st.sampled_from([pcap(FRAMES), pcapng(FRAMES), section(">")]), st.binary(max_size=60), st.integers(0, 200))
@example(pcapng(FRAMES), struct.pack("<II", 1, 16), 28)
def test_any_file_gives_frames_or_the_one_documented_error(base: bytes, noise: bytes, at: int) -> None:
    data = base[:at] + noise + base[at + len(noise) :]
    try:
        packets = frames(data)
    except CaptureError:
        return
    assert all(len(packet.data) <= limits.CAPTURE_PACKET_BYTES for packet in packets)
