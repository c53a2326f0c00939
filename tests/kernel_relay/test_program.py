"""The program in the kernel, with packets that the kernel runs it on (BPF_PROG_TEST_RUN) and that nobody sends."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bpf import can_attach, run_program
from support.relay_model import LINK, RelayModel, checksums_are_right, rtp, udp_packet

from edgesbc.base.address import Source
from edgesbc.kernel_relay.bpf_calls import ARRAY, HASH, MAPPABLE, create_map, load_program
from edgesbc.kernel_relay.flow_map import FlowMap, RelayMaps
from edgesbc.kernel_relay.flows import COUNTED, COUNTER_BYTES, KEY_BYTES, VALUE_BYTES, FlowCounters, KernelFlow
from edgesbc.kernel_relay.program import ETHERNET_HEADER, NEXT, REDIRECT, relay_program

pytestmark = pytest.mark.skipif(bool(can_attach()), reason=f"no eBPF here: {can_attach()}")

LO = 1
TRAFFIC_CLASS = 0xB8
PEER, OURS, OTHER_OURS, OTHER_PEER = (
    Source("203.0.113.9", 4000),
    Source("203.0.113.1", 30_000),
    Source("10.0.0.1", 30_002),
    Source("10.0.0.9", 5000),
)
PEER6, OURS6, OTHER_OURS6, OTHER_PEER6 = (
    Source("2001:db8:1::9", 4000),
    Source("2001:db8:1::1", 30_000),
    Source("2001:db8:2::1", 30_002),
    Source("2001:db8:2::9", 5000),
)
FLOW = KernelFlow(PEER, OURS, OTHER_OURS, OTHER_PEER, LO, LO, 0)
FLOW6 = KernelFlow(PEER6, OURS6, OTHER_OURS6, OTHER_PEER6, LO, LO, 1)
BACK = KernelFlow(OTHER_PEER, OTHER_OURS, OURS, PEER, LO, LO, 2)
ELSEWHERE = KernelFlow(Source(PEER.host, 4002), OURS, OTHER_OURS, OTHER_PEER, LO + 1, LO, 3)
NO_RTP = KernelFlow(Source(PEER.host, 4004), OURS, OTHER_OURS, OTHER_PEER, LO, LO, 4, largest=100, is_rtp=False)
FLOWS = [FLOW, FLOW6, BACK, ELSEWHERE, NO_RTP]
BOTH = pytest.mark.parametrize("flow", [FLOW, FLOW6], ids=["IPv4", "IPv6"])


class LoadedRelay:
    """The program and its maps, with ``FLOWS`` in them."""

    def __init__(self) -> None:
        flows = create_map(HASH, KEY_BYTES, VALUE_BYTES, 16, "test_flows")
        counters = create_map(ARRAY, 4, COUNTER_BYTES, 16, "test_counts", MAPPABLE)
        self.program = load_program(relay_program(ETHERNET_HEADER, flows, counters, TRAFFIC_CLASS), "test_relay")
        self._descriptors = [flows, counters, self.program]
        self.map = FlowMap(RelayMaps(flows, counters, 16, (LO,)))
        for flow in FLOWS:
            self.map.put(flow)

    def run(self, packet: bytes) -> tuple[int, bytes]:
        return run_program(self.program, packet)

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.fixture
def relay() -> Iterator[LoadedRelay]:
    loaded = LoadedRelay()
    yield loaded
    loaded.close()


def passes(relay: LoadedRelay, packet: bytes) -> bool:
    """Whether the program lets a packet go on to the stack, unchanged and not counted."""
    before = [relay.map.counters(flow.slot) for flow in FLOWS]
    result, after = relay.run(packet)
    if result == REDIRECT:
        return False
    assert (result, after) == (NEXT, packet)
    assert [relay.map.counters(flow.slot) for flow in FLOWS] == before
    return True


@BOTH
def test_a_packet_of_a_flow_gets_new_addresses_ports_and_right_checksums(relay: LoadedRelay, flow: KernelFlow) -> None:
    packet = udp_packet(flow.source, flow.destination, rtp(), ttl=64, traffic_class=0x01)
    result, after = relay.run(packet)
    assert result == REDIRECT
    expected = udp_packet(flow.new_source, flow.new_destination, rtp(), ttl=63, traffic_class=TRAFFIC_CLASS | 0x01)
    assert after == expected
    assert checksums_are_right(after)


@BOTH
def test_counters_are_those_of_the_flow(relay: LoadedRelay, flow: KernelFlow) -> None:
    for sequence in (65_534, 65_535, 0, 3, 2):  # 1 is lost, 2 comes late
        relay.run(udp_packet(flow.source, flow.destination, rtp(sequence)))
    counted = relay.map.counters(flow.slot)
    assert (counted.packets, counted.octets, counted.expected) == (5, 5 * 172, 6)
    assert counted.latest == 0x11223344 << 32 | COUNTED | 3
    assert counted.last_arrival > 0
    assert [relay.map.counters(each.slot).packets for each in FLOWS if each is not flow] == [0] * 4
    relay.run(udp_packet(flow.source, flow.destination, rtp(40_000)))  # a jump
    relay.run(udp_packet(flow.source, flow.destination, rtp(7, ssrc=0)))  # another stream
    relay.run(udp_packet(flow.source, flow.destination, rtp(8, ssrc=0)))
    counted = relay.map.counters(flow.slot)
    assert (counted.packets, counted.expected, counted.latest) == (8, 9, COUNTED | 8)


def test_a_slot_goes_on_with_its_numbers(relay: LoadedRelay) -> None:
    assert relay.map.counters(5) == FlowCounters(0, 0, 0, 0, 0)
    assert relay.map.remove(PEER, OURS)
    assert not relay.map.remove(PEER, OURS)
    assert passes(relay, udp_packet(PEER, OURS, rtp()))
    relay.map.put(FLOW)
    relay.run(udp_packet(PEER, OURS, rtp()))
    relay.map.put(attrs.evolve(FLOW, largest=1400))
    relay.run(udp_packet(PEER, OURS, rtp(2)))
    assert relay.map.counters(FLOW.slot).packets == 2


def test_a_udp_checksum_of_zero_stays_over_ipv4_and_is_left_to_the_stack_over_ipv6(relay: LoadedRelay) -> None:
    result, after = relay.run(udp_packet(PEER, OURS, rtp(), with_checksum=False))
    assert result == REDIRECT
    assert after[LINK + 26 : LINK + 28] == b"\0\0"
    assert checksums_are_right(after)
    assert passes(relay, udp_packet(PEER6, OURS6, rtp(), with_checksum=False))


@BOTH
@pytest.mark.parametrize("place", ["IP", "UDP"])
def test_a_wrong_checksum_stays_wrong(relay: LoadedRelay, flow: KernelFlow, place: str) -> None:
    packet = bytearray(udp_packet(flow.source, flow.destination, rtp()))
    packet[LINK + 4 if place == "IP" and flow is FLOW else -1] ^= 0x10
    result, after = relay.run(bytes(packet))
    assert result == REDIRECT
    assert not checksums_are_right(after)


@BOTH
def test_a_computed_checksum_of_zero_is_written_as_ones(relay: LoadedRelay, flow: KernelFlow) -> None:
    """RFC 768: 0 would say that there is none."""
    with_zeros = udp_packet(flow.new_source, flow.new_destination, rtp() + bytes(2))
    payload = rtp() + with_zeros[-len(rtp()) - 4 : -len(rtp()) - 2]  # what is missing to a sum of ones
    result, after = relay.run(udp_packet(flow.source, flow.destination, payload))
    assert result == REDIRECT
    assert after[-len(payload) - 2 : -len(payload)] == b"\xff\xff"
    assert checksums_are_right(after)


@BOTH
def test_any_other_source_or_destination_goes_to_the_stack(relay: LoadedRelay, flow: KernelFlow) -> None:
    source, destination = flow.source, flow.destination
    other_host = Source(source.host[:-1] + "8", source.port)
    for one, two in (
        (other_host, destination),
        (Source(source.host, source.port + 1), destination),
        (source, Source(destination.host, destination.port + 1)),
        (source, other_host),
        (destination, source),
    ):
        assert passes(relay, udp_packet(one, two, rtp()))


def test_a_packet_by_another_device_goes_to_the_stack(relay: LoadedRelay) -> None:
    """As one from outside that has the source of a peer inside."""
    assert passes(relay, udp_packet(ELSEWHERE.source, ELSEWHERE.destination, rtp()))


def test_an_ipv6_packet_does_not_match_an_ipv4_flow(relay: LoadedRelay) -> None:
    mapped = [Source(f"::ffff:{source.host}", source.port) for source in (PEER, OURS)]
    assert passes(relay, udp_packet(mapped[0], mapped[1], rtp()))


@BOTH
@pytest.mark.parametrize(
    "payload",
    [
        b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(20),  # STUN
        b"\x14\xfe\xfd" + bytes(30),  # DTLS
        b"\x7f" + bytes(30),
        b"\xc0" + bytes(30),
        rtp(first=b"\x80\xc8"),  # a sender report
        rtp(first=b"\x81\xc9"),
        rtp(first=b"\x80\xc0"),
        rtp(first=b"\xbf\xdf"),
        rtp()[:11],
        b"",
    ],
)
def test_what_is_no_rtp_goes_to_the_stack(relay: LoadedRelay, flow: KernelFlow, payload: bytes) -> None:
    assert passes(relay, udp_packet(flow.source, flow.destination, payload))


@BOTH
@pytest.mark.parametrize("first", [b"\x80\xbf", b"\x80\xe0", b"\xbf\x00", b"\x90\x80"])
def test_what_is_rtp_is_relayed(relay: LoadedRelay, flow: KernelFlow, first: bytes) -> None:
    assert not passes(relay, udp_packet(flow.source, flow.destination, rtp(first=first)))


def test_a_flow_of_anything_is_not_looked_into_and_keeps_to_the_size_of_the_next_link(relay: LoadedRelay) -> None:
    for first in (b"\x00", b"\x80\xc8", b"\xff"):
        packet = udp_packet(NO_RTP.source, NO_RTP.destination, first + bytes(72 - len(first)))
        result, after = relay.run(packet)
        assert (result, checksums_are_right(after)) == (REDIRECT, True)
    assert relay.map.counters(NO_RTP.slot)[:2] == (3, 3 * 72)
    assert relay.map.counters(NO_RTP.slot).expected == 0
    assert passes(relay, udp_packet(NO_RTP.source, NO_RTP.destination, bytes(73)))


@BOTH
@pytest.mark.parametrize("ttl", [0, 1])
def test_a_hop_limit_that_is_used_up_is_left_to_the_stack(relay: LoadedRelay, flow: KernelFlow, ttl: int) -> None:
    assert passes(relay, udp_packet(flow.source, flow.destination, rtp(), ttl=ttl))
    assert not passes(relay, udp_packet(flow.source, flow.destination, rtp(), ttl=2))


def test_fragments_and_options_go_to_the_stack(relay: LoadedRelay) -> None:
    for fragment in (0x2000, 0x0001, 0x1FFF, 0x2001):
        assert passes(relay, udp_packet(PEER, OURS, rtp(), fragment=fragment))
    assert not passes(relay, udp_packet(PEER, OURS, rtp(), fragment=0x4000))  # must not be fragmented: it is whole
    assert passes(relay, udp_packet(PEER, OURS, rtp(), options=b"\x94\x04\0\0"))
    for kind in (0, 43, 44, 60):  # hop by hop, routing, fragment, destination
        assert passes(relay, udp_packet(PEER6, OURS6, rtp(), options=b"\x11" + bytes(7), protocol=kind))
    assert passes(relay, udp_packet(PEER, OURS, rtp(), protocol=6))


@BOTH
def test_tagged_and_foreign_frames_go_to_the_stack(relay: LoadedRelay, flow: KernelFlow) -> None:
    packet = udp_packet(flow.source, flow.destination, rtp())
    assert passes(relay, packet[:12] + b"\x81\x00\x00\x05" + packet[12:])  # IEEE 802.1Q
    assert passes(relay, packet[:12] + b"\x88\xa8\x00\x05\x81\x00\x00\x06" + packet[12:])
    assert passes(relay, packet[:12] + b"\x08\x06" + packet[14:])
    swapped = b"\x86\xdd" if flow is FLOW else b"\x08\x00"
    assert passes(relay, packet[:12] + swapped + packet[14:])
    for destination in (b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01", b"\x02\x00\x00\x00\x00\x07"):
        assert passes(relay, destination + packet[6:])


@BOTH
def test_lengths_that_do_not_agree_go_to_the_stack(relay: LoadedRelay, flow: KernelFlow) -> None:
    packet = udp_packet(flow.source, flow.destination, rtp())
    length_at, udp_at = (LINK + 2, LINK + 24) if flow is FLOW else (LINK + 4, LINK + 44)
    for at in (length_at, udp_at):
        length = int.from_bytes(packet[at : at + 2])
        for wrong in (0, 7, 27, length - 1, length + 1, 65_535):
            assert passes(relay, packet[:at] + wrong.to_bytes(2) + packet[at + 2 :])
    for cut in range(LINK + (20 if flow is FLOW else 40), len(packet), 7):
        assert passes(relay, packet[:cut])


@BOTH
def test_padding_of_ethernet_is_cut_off(relay: LoadedRelay, flow: KernelFlow) -> None:
    payload = rtp(size=13)
    packet = udp_packet(flow.source, flow.destination, payload)
    result, after = relay.run(packet + bytes(9))
    assert result == REDIRECT
    assert after == udp_packet(flow.new_source, flow.new_destination, payload, ttl=63, traffic_class=TRAFFIC_CLASS)


# --- any packet ----------------------------------------------------------------------------------------------

HOSTS = st.sampled_from([PEER.host, OURS.host, OTHER_PEER.host, OTHER_OURS.host])
HOSTS6 = st.sampled_from([PEER6.host, OURS6.host, "::ffff:203.0.113.9"])
PORTS = st.sampled_from([4000, 4002, 4004, 5000, 30_000, 30_002])
PAIRS = st.one_of(
    st.sampled_from([(flow.source, flow.destination) for flow in FLOWS]),
    st.tuples(st.builds(Source, HOSTS, PORTS), st.builds(Source, HOSTS, PORTS)),
    st.tuples(st.builds(Source, HOSTS6, PORTS), st.builds(Source, HOSTS6, PORTS)),
)
PAYLOADS = st.one_of(
    st.builds(rtp, st.integers(0, 65_535), st.sampled_from([0, 1, 0xFFFFFFFF]), st.integers(12, 172)),
    st.binary(max_size=40),
)
MOSTLY = st.sampled_from


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    source, destination = draw(PAIRS)
    packet = bytearray(
        udp_packet(
            source,
            destination,
            draw(PAYLOADS),
            ttl=draw(MOSTLY([64, 64, 64, 255, 2, 1, 0])),
            traffic_class=draw(st.integers(0, 255)),
            with_checksum=draw(MOSTLY([True, True, True, False])),
            fragment=draw(MOSTLY([0, 0, 0, 0x4000, 0x2000, 0x0001])) if ":" not in source.host else 0,
            options=draw(MOSTLY([b"", b"", b"", b"\x01" * 4, b"\x11" + bytes(7)])),
            protocol=draw(MOSTLY([17, 17, 17, 17, 6, 44])),
        )
    )
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(packet) - 1), st.integers(0, 255)), max_size=2)):
        packet[at] = value
    cut = draw(MOSTLY([0, 0, 0, 1, 8, 30]))
    least = LINK + (40 if packet[12:14] == b"\x86\xdd" else 20)  # the test run takes no packet without an IP header
    return bytes(packet[: max(len(packet) - cut, least)]).ljust(least, b"\0") + bytes(draw(MOSTLY([0, 0, 0, 1, 18])))


@pytest.fixture(scope="module")
def shared_relay() -> Iterator[LoadedRelay]:
    loaded = LoadedRelay()
    yield loaded
    loaded.close()


@given(st.lists(packets(), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_the_program_does_what_the_model_does(shared_relay: LoadedRelay, sent: list[bytes]) -> None:
    relay = shared_relay
    model = RelayModel(FLOWS, LO, TRAFFIC_CLASS)
    for flow in FLOWS:  # counters go on: the model begins where they are
        counted = relay.map.counters(flow.slot)
        latest = (counted.latest >> 32, counted.latest & 0xFFFF) if counted.latest else None
        counters = model.counters[flow.slot]
        counters.packets, counters.octets, counters.expected, counters.latest = (*counted[:2], counted.expected, latest)
    for packet in sent:
        assert relay.run(packet) == model.relay(packet)
    for flow in FLOWS:
        counted, counters = relay.map.counters(flow.slot), model.counters[flow.slot]
        assert counted[:2] == (counters.packets, counters.octets)
        assert counted.expected == counters.expected
        if counters.latest is not None:
            assert counted.latest == counters.latest[0] << 32 | COUNTED | counters.latest[1]
