"""A datagram is found in frames of every link type; a frame without one has a reason."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captures import (
    COOKED,
    COOKED_2,
    ETHERNET,
    FIN,
    LOOP,
    NULL,
    RAW,
    RST,
    SYN,
    TCP,
    UDP,
    frame,
    ip,
    tcp,
    udp,
    udp_body,
)

from edgesbc.replay.packets import Fragment, NotReadable, Packet, dissect

V4 = (("198.51.100.7", 5060), ("192.0.2.1", 5062))
V6 = (("2001:db8::7", 5060), ("2001:db8:0:0:1::1", 5062))
LINKS = [ETHERNET, RAW, NULL, LOOP, COOKED, COOKED_2]


def packet(link: int, data: bytes) -> Packet:
    dissected = dissect(link, data)
    assert isinstance(dissected, Packet)
    return dissected


def why(link: int, data: bytes) -> str:
    with pytest.raises(NotReadable) as error:
        dissect(link, data)
    return str(error.value)


@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("link", LINKS)
def test_a_datagram_in_every_link_type(link: int, ends: tuple[tuple[str, int], tuple[str, int]]) -> None:
    udp_packet = packet(link, frame(udp(*ends, b"hello"), link))
    assert (udp_packet.source, udp_packet.destination, udp_packet.payload, udp_packet.stream) == (
        *ends_of(ends),
        b"hello",
        False,
    )


def ends_of(ends: tuple[tuple[str, int], tuple[str, int]]) -> tuple[tuple[str, int], tuple[str, int]]:
    """The addresses in the kernel's notation."""
    return tuple(("2001:db8::1:0:0:1" if "::1" in host else host, port) for host, port in ends)  # type: ignore[return-value]


@pytest.mark.parametrize("vlans", [1, 2])
def test_vlan_tags_are_skipped(vlans: int) -> None:
    assert packet(ETHERNET, frame(udp(*V4, b"hello"), vlans=vlans)).payload == b"hello"


def test_padding_of_short_frames_is_no_payload() -> None:
    assert packet(ETHERNET, frame(udp(*V4, b""))).payload == b""


def test_a_length_of_0_for_the_network_card_to_fill_in_means_the_whole_frame() -> None:
    data = bytearray(frame(tcp(*V4, 1, b"x" * 60)))
    data[16:18] = bytes(2)
    assert packet(ETHERNET, bytes(data)).payload == b"x" * 60


@pytest.mark.parametrize(("flags", "names"), [(SYN, "syn"), (FIN, "fin"), (RST, "reset"), (SYN | FIN, "syn fin")])
def test_a_segment_with_its_number_and_flags(flags: int, names: str) -> None:
    segment = packet(RAW, tcp(*V6, 2**32 - 1, b"data", flags))
    assert (segment.stream, segment.sequence, segment.payload) == (True, 2**32 - 1, b"data")
    assert {name for name in ("syn", "fin", "reset") if getattr(segment, name)} == set(names.split())


@pytest.mark.parametrize("link", [COOKED, COOKED_2])
def test_cooked_captures_have_the_direction(link: int) -> None:
    assert packet(link, frame(udp(*V4, b""), link, sent=True)).outgoing is True
    assert packet(link, frame(udp(*V4, b""), link)).outgoing is False
    assert packet(ETHERNET, frame(udp(*V4, b""))).outgoing is None


def test_extension_headers_of_ipv6_are_skipped() -> None:
    inner = udp_body(5060, 5062, b"hello")
    plain = ip(V6[0][0], V6[1][0], 0, bytes([60, 0, *bytes(6)]) + bytes([UDP, 1, *bytes(14)]) + inner)
    assert packet(RAW, plain).payload == b"hello"
    alone = ip(V6[0][0], V6[1][0], UDP, inner, fragment=(7, 0, False))  # RFC 6946
    assert packet(RAW, alone).payload == b"hello"


@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
def test_an_ip_fragment_is_returned_as_a_fragment(ends: tuple[tuple[str, int], tuple[str, int]]) -> None:
    fragment = dissect(RAW, ip(ends[0][0], ends[1][0], UDP, b"x" * 16, fragment=(9, 1480, True)))
    assert isinstance(fragment, Fragment)
    assert (fragment.offset, fragment.more, fragment.data, fragment.key[2:]) == (1480, True, b"x" * 16, (9, UDP))


@pytest.mark.parametrize(
    ("link", "data", "reason"),
    [
        (ETHERNET, bytes(12) + b"\x08\x06" + bytes(28), "not IP"),
        (RAW, b"\x55" + bytes(40), "not IP"),
        (RAW, b"\x41" + bytes(40), "not IP"),
        (195, bytes(64), "of a link type that is not read"),
        (ETHERNET, frame(udp(*V4, b"hello" * 20))[:30], "cut off before its addresses and ports"),
        (ETHERNET, frame(udp(*V6, b"hello" * 20))[:50], "cut off before its addresses and ports"),
        (RAW, b"\x45\0\0\0" + bytes(12), "cut off before its addresses and ports"),
        (RAW, b"\x60" + bytes(36), "cut off before its addresses and ports"),
        (RAW, b"", "cut off before its addresses and ports"),
        (ETHERNET, frame(udp(*V4, b"hello" * 20))[:80], "cut by the capture's snap length"),
        (RAW, udp(*V6, b"hello" * 20)[:80], "cut by the capture's snap length"),
        (RAW, ip("192.0.2.1", "192.0.2.2", 1, bytes(8)), "neither UDP nor TCP"),
        (RAW, ip("192.0.2.1", "192.0.2.2", TCP, bytes(4)), "cut off before its addresses and ports"),
        (RAW, ip("192.0.2.1", "192.0.2.2", UDP, struct.pack(">HHHH", 1, 2, 99, 0)), "cut by the capture's snap length"),
    ],
)
def test_frames_that_are_not_readable_have_a_reason(link: int, data: bytes, reason: str) -> None:
    assert why(link, data) == reason


@given(st.sampled_from(LINKS), st.sampled_from([udp(*V4, b"x" * 30), tcp(*V6, 5, b"y" * 30)]), st.data())
def test_any_frame_gives_a_packet_or_the_one_documented_error(link: int, inner: bytes, data: st.DataObject) -> None:
    whole = bytearray(frame(inner, link))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    with suppress(NotReadable):
        dissect(link, bytes(whole[: data.draw(st.integers(0, len(whole)))]))
