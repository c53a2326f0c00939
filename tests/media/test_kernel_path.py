"""Which packets the kernel relays, and when: calls between real hosts. What the kernel relays arrives although the loop
of the relay does not run."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from functools import partial

import attrs
import pytest
import trio
from support.bpf import can_attach
from support.containment import unfailing
from support.media import answer, offer, sdp
from support.namespaces import inside, ip, needs_namespaces
from support.relay import SteppedRelay
from support.relay_model import rtp
from support.three_hosts import A6, B6, A, B, Hosts, three_hosts

from edgesbc.base.address import Source, Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.kernel_relay.flow_map import FlowMap, RelayMaps
from edgesbc.kernel_relay.flows import KernelFlow
from edgesbc.kernel_relay.routes import RouteReader
from edgesbc.media.commands import Acknowledge, Consent, Delete, Establish, MediaCommand, MediaReply, Rollback
from edgesbc.media.kernel_path import KernelPath
from edgesbc.media.latch import build_interfaces
from edgesbc.media.plane import MediaPlane
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.session import parse_session

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(bool(can_attach()), reason=f"no eBPF here: {can_attach()}"),
]

ADDRESSES = {Zone.PUBLIC: ["203.0.113.1", "2001:db8:1::1"], Zone.CORE: ["10.0.0.1", "2001:db8:2::1"]}
PORTS = (30_000, 30_099)
HELD = "a=sendonly\r\n"
RTCP = rtp(first=b"\x80\xc8", size=28)
RTCP = RTCP[:2] + b"\x00\x06" + RTCP[4:]


class KernelCall:
    """The media plane of the edge, stepped by the test, and one call between A and B."""

    def __init__(self, hosts: Hosts, devices: tuple[int, ...] = (), capacity: int = 8, six: bool = False) -> None:
        self.hosts = hosts
        self.now = 0.0
        self.attached = hosts.attach(*devices)
        maps = self.attached.maps
        self.map = FlowMap(RelayMaps(maps.flows, maps.counters, capacity, maps.devices))
        interfaces = build_interfaces(ADDRESSES, PORTS)
        self.kernel = KernelPath(self.map, maps.devices, inside(hosts.edge, RouteReader))
        self.relay = SteppedRelay(interfaces, lambda: self.now, kernel=self.kernel)
        self.table = SessionTable(self.relay, interfaces)
        self.at = (A6, B6) if six else (A, B)
        self.peers = [hosts.udp(hosts.a, self.at[0]), hosts.udp(hosts.b, self.at[1])]
        self.ports = [Source("", 0), Source("", 0)]
        """Where each peer sends to."""

    def carry_out(self, command: MediaCommand) -> None:
        reply = inside(self.hosts.edge, partial(self.table.receive, command, self.now))
        assert reply is None or isinstance(reply, MediaReply), reply
        self.turn()
        if isinstance(reply, MediaReply):
            description = parse_session(reply.sdp)
            media = description.media[0]
            connection = description.connection_of(media)
            assert connection is not None
            if not connection.unspecified:
                receiver = 1 if connection.address in ADDRESSES[Zone.CORE] else 0
                self.ports[receiver] = Source(connection.address, media.port)

    def offer(self, audio: str = "", at: Source | None = None, **options: object) -> None:
        at = at or self.at[0]
        self.carry_out(offer("c", "a", sdp(at.host, at.port, audio=audio), **options))

    def answer(self, audio: str = "", at: Source | None = None, **options: object) -> None:
        at = at or self.at[1]
        self.carry_out(answer("c", "a", "b", sdp(at.host, at.port, audio=audio), **options))

    def set_up(self) -> None:
        """Offer and answer, and a packet from each peer, which the relay learns them by."""
        self.offer()
        self.answer()
        self.carry_out(Establish("c", "a"))
        self.learn()

    def learn(self) -> None:
        for number in (0, 1):
            self.peers[number].sendto(rtp(1), self.ports[number])
            self.turn()
            assert self.peers[1 - number].recv(2048) == rtp(1)
        self.turn()

    def turn(self) -> int:
        """Have the relay do all that there is to do; returns how many packets it took."""
        taken = 0
        for _ in range(4):
            self.now += 1.0  # events of the relay are due
            taken += self.relay.turn()
        return taken

    def by_kernel(self, number: int, sequence: int = 100) -> bool:
        """Whether the kernel relays a packet of a peer: it arrives while the loop does not run. Otherwise the loop
        relays it."""
        receiver = self.peers[1 - number]
        before = self.kernel.packets
        self.peers[number].sendto(rtp(sequence), self.ports[number])
        if self.kernel.packets == before:
            assert self.turn() == 1
        assert receiver.recv(2048) == rtp(sequence)
        return self.kernel.packets == before + 1

    def paths(self) -> tuple[bool, bool]:
        """Whether the kernel relays what comes from A, and from B."""
        return self.by_kernel(0), self.by_kernel(1)

    def close(self) -> None:
        self.table.close()
        self.relay.close()
        self.kernel.close()
        assert self.kernel.flows == 0
        self.attached.close()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with three_hosts() as found:
        yield found


@pytest.fixture
def start(hosts: Hosts) -> Iterator[Callable[..., KernelCall]]:
    calls: list[KernelCall] = []

    def started(**options: object) -> KernelCall:
        calls.append(KernelCall(hosts, **options))
        return calls[-1]

    yield started
    for call in calls:
        call.close()


@pytest.fixture
def call(start: Callable[..., KernelCall]) -> KernelCall:
    return start()


@pytest.mark.parametrize("six", [False, True], ids=["IPv4", "IPv6"])
def test_a_call_is_in_the_kernel_once_both_peers_are_known_and_is_counted_as_one(
    start: Callable[..., KernelCall], six: bool
) -> None:
    call = start(six=six)
    call.offer()
    call.answer()
    assert call.paths() == (False, False)
    call.turn()
    assert call.kernel.flows == 2
    for number in range(10):
        assert call.by_kernel(0, number)
    for number in range(5):
        assert call.by_kernel(1, number)
    assert dict(call.relay.paths) == {("kernel",): 15, ("user",): 2}
    assert call.relay.packets == 17
    (session,) = call.table.sessions()
    session.look(call.now)
    assert [activity.packets for activity in session.activity] == [11, 6]
    assert [activity.rtp for activity in session.activity] == [11, 6]
    assert sum(pair.octets for stream in session.streams for pair in stream.pairs) == 17 * 172
    assert session.active == call.now  # so that it does not end although the relay sees no packets


def test_rtcp_still_comes_to_the_relay(call: KernelCall) -> None:
    call.set_up()
    call.peers[0].sendto(RTCP, call.ports[0])
    assert call.turn() == 1
    assert call.peers[1].recv(2048) == RTCP
    assert call.paths() == (True, True)
    (session,) = call.table.sessions()
    session.look(call.now)
    assert [activity.packets for activity in session.activity] == [3, 2]
    assert [activity.rtp for activity in session.activity] == [2, 2]


@pytest.mark.parametrize("end", ["answer", "rollback"])
def test_an_offer_takes_it_out_until_it_is_answered_or_void(call: KernelCall, end: str) -> None:
    call.set_up()
    assert call.paths() == (True, True)
    call.offer()
    assert call.kernel.flows == 0
    assert call.paths() == (False, False)
    packets = 4
    if end == "answer":
        call.answer()
        assert call.kernel.flows == 0
        call.learn()  # each peer again, because it has described its media again
        packets += 1
    else:
        call.carry_out(Rollback("c", "a"))
    assert call.paths() == (True, True)
    (session,) = call.table.sessions()
    session.look(call.now)
    assert [activity.packets for activity in session.activity] == [packets] * 2


def test_after_a_repeated_description_a_peer_at_another_port_is_learned_and_the_kernel_relays_its_packets(
    call: KernelCall,
) -> None:
    call.set_up()
    assert call.paths() == (True, True)
    call.offer()
    call.answer()
    assert call.kernel.flows == 0
    former, call.peers[0] = call.peers[0], call.hosts.udp(call.hosts.a, Source(A.host, 4100))
    for _ in range(2):  # the signalled port has to be silent for a moment
        call.peers[0].sendto(rtp(), call.ports[0])
        call.turn()
    assert discard(call.peers[1]) == 1
    call.learn()
    assert call.paths() == (True, True)
    assert discard(former) == 0


@pytest.mark.parametrize("mode", [LatchMode.ROAMING, LatchMode.SYMMETRIC_OFF])
def test_only_a_peer_at_the_signalled_port_has_its_packets_relayed_by_the_kernel_in_other_modes(
    call: KernelCall, mode: LatchMode
) -> None:
    """A flow sends to where its peer sends from, and user space does not see when the peer was heard."""
    call.carry_out(attrs.evolve(offer("c", "a", sdp(A.host, A.port)), latch=mode))
    call.answer()
    call.learn()
    expected = mode is LatchMode.SYMMETRIC_OFF
    assert call.paths() == (expected, expected)
    call.offer()
    call.answer()
    call.learn()
    assert call.paths() == (True, True)


def test_with_symmetric_off_a_peer_at_another_port_is_sent_to_as_signalled_by_user_space(call: KernelCall) -> None:
    call.carry_out(attrs.evolve(offer("c", "a", sdp(A.host, A.port)), latch=LatchMode.SYMMETRIC_OFF))
    call.answer()
    call.peers[1].sendto(rtp(), call.ports[1])
    other = call.hosts.udp(call.hosts.a, Source(A.host, 4444))
    for _ in range(2):
        other.sendto(rtp(), call.ports[0])
        call.turn()
    assert (discard(call.peers[0]), discard(call.peers[1])) == (1, 1)
    call.turn()
    assert call.kernel.flows == 0
    call.peers[1].sendto(rtp(9), call.ports[1])
    call.turn()
    assert call.peers[0].recv(2048) == rtp(9)
    assert discard(other) == 0


def test_another_address_is_learned_before_the_kernel_relays_again(call: KernelCall) -> None:
    call.set_up()
    moved = Source(A.host, 4100)
    call.offer(at=moved)
    call.answer()
    assert call.kernel.flows == 0
    former, call.peers[0] = call.peers[0], call.hosts.udp(call.hosts.a, moved)
    former.sendto(rtp(7), call.ports[0])
    call.turn()
    assert discard(call.peers[1]) == 0
    call.learn()
    assert call.paths() == (True, True)
    packets = call.kernel.packets
    former.sendto(rtp(8), call.ports[0])
    call.turn()
    assert call.kernel.packets == packets


@pytest.mark.parametrize("holder", ["a", "b"])
def test_a_call_on_hold_is_not_in_the_kernel(call: KernelCall, holder: str) -> None:
    call.set_up()
    call.offer(audio=HELD if holder == "a" else "")
    call.answer(audio=HELD if holder == "b" else "")
    assert call.kernel.flows == 0
    assert call.paths() == (False, False)
    call.offer()
    call.answer()
    call.learn()
    assert call.paths() == (True, True)
    call.carry_out(offer("c", "a", sdp("0.0.0.0", A.port)))
    call.answer()
    assert call.kernel.flows == 0


def test_a_call_that_ends_leaves_nothing_in_the_kernel(call: KernelCall) -> None:
    call.set_up()
    assert call.kernel.flows == 2
    call.carry_out(Delete("c", "a"))
    assert call.kernel.flows == 0
    packets = call.relay.packets
    call.peers[0].sendto(rtp(), call.ports[0])
    assert call.turn() == 0
    assert call.relay.packets == packets


def test_a_session_that_times_out_leaves_nothing_in_the_kernel(call: KernelCall) -> None:
    call.set_up()
    assert call.paths() == (True, True)
    call.now += 50.0
    assert call.table.expire(call.now) == []
    assert call.paths() == (True, True)
    call.now += 55.0  # the packets of the kernel count: it is not the end
    assert call.table.expire(call.now) == []
    assert call.kernel.flows == 2
    call.now += 61.0
    (ended,) = call.table.expire(call.now)
    assert ended.session_id == "c"
    assert call.kernel.flows == 0


def test_a_peer_that_is_limited_is_not_in_the_kernel(call: KernelCall) -> None:
    call.offer(received_from=A.host, consent=Consent.NONE)
    call.answer()
    call.learn()  # it gets as many bytes as came from it
    assert call.kernel.flows == 0
    assert call.paths() == (False, False)
    call.carry_out(Acknowledge("c", "a"))
    assert call.paths() == (True, True)


def discard(sock: socket.socket) -> int:
    """Take what has come; returns how many packets."""
    sock.setblocking(False)
    taken = 0
    try:
        while sock.recv(2048):
            taken += 1
    except BlockingIOError:
        pass
    sock.settimeout(20)
    return taken


def test_a_peer_at_another_port_than_signalled_gives_way_to_the_signalled_one(call: KernelCall) -> None:
    """Packets of the signalled port are of no flow, so that the relay sees them and the latch moves."""
    call.offer()
    call.answer()
    signalled, other = call.peers[0], call.hosts.udp(call.hosts.a, Source(A.host, 4444))
    call.peers[1].sendto(rtp(), call.ports[1])
    for _ in range(3):
        other.sendto(rtp(), call.ports[0])
        call.turn()
    assert signalled.recv(2048) == rtp()
    assert discard(call.peers[1]) >= 1
    call.peers[0] = other
    assert call.paths() == (True, True)
    call.peers[0] = signalled
    assert not call.by_kernel(0)
    call.turn()
    assert call.paths() == (True, True)
    packets = call.kernel.packets
    other.sendto(rtp(), call.ports[0])
    call.turn()
    assert call.kernel.packets == packets
    assert discard(call.peers[1]) == 0


def test_two_address_families_are_bridged_by_the_relay(call: KernelCall) -> None:
    call.peers[0] = call.hosts.udp(call.hosts.a, A6)
    call.offer(at=A6, answerer_family="IP4")
    call.answer()
    call.learn()
    assert call.kernel.flows == 0
    assert call.paths() == (False, False)


def test_a_fax_is_relayed_by_the_kernel_whatever_its_packets_begin_with(call: KernelCall) -> None:
    """UDPTL begins with a sequence number (ITU-T T.38 section 9.1)."""
    for command in (offer("c", "a", fax(*call.at[0])), answer("c", "a", "b", fax(*call.at[1]))):
        call.carry_out(command)
    call.learn()
    for number in (0x0001, 0x80C8, 0xFFFF):
        packet = number.to_bytes(2) + bytes(30)
        before = call.kernel.packets
        call.peers[0].sendto(packet, call.ports[0])
        assert call.peers[1].recv(2048) == packet
        assert call.kernel.packets == before + 1


def fax(host: str, port: int) -> str:
    return sdp(host).split("m=")[0] + f"m=image {port} udptl t38\r\na=T38FaxVersion:0\r\n"


def test_what_comes_by_a_device_without_the_program_is_relayed_by_user_space(
    hosts: Hosts, start: Callable[..., KernelCall]
) -> None:
    call = start(devices=(hosts.public,))
    call.set_up()
    assert call.kernel.flows == 1
    assert call.paths() == (True, False)


def test_a_full_kernel_costs_no_packet(start: Callable[..., KernelCall]) -> None:
    call = start(capacity=1)
    call.set_up()
    assert call.kernel.flows == 1
    assert sorted(call.paths()) == [False, True]


def test_flows_follow_the_routes(call: KernelCall) -> None:
    call.set_up()
    edge = call.hosts.edge
    (session,) = call.table.sessions()
    channels = [pair.rtp for pair in session.streams[0].pairs]
    assert [channel.share.flow.largest for channel in channels] == [1500, 1500]
    ip("-n", edge, "route", "add", "10.0.0.9/32", "dev", "int0", "mtu", "1280")
    for _ in call.kernel.routes_changed():
        pass
    assert [channel.share.flow.largest for channel in channels] == [1280, 1500]
    assert call.paths() == (True, True)
    ip("-n", edge, "route", "replace", "prohibit", "10.0.0.9/32")
    for _ in call.kernel.routes_changed():
        pass
    assert call.kernel.flows == 0
    ip("-n", edge, "route", "delete", "prohibit", "10.0.0.9/32")


def test_flows_of_a_process_that_has_died_are_removed(call: KernelCall) -> None:
    call.set_up()
    (session,) = call.table.sessions()
    flows = [pair.rtp.share.flow for pair in session.streams[0].pairs]
    KernelPath(call.map, (), inside(call.hosts.edge, RouteReader)).close()
    for flow in flows:
        assert isinstance(flow, KernelFlow)
        assert not call.map.remove(flow.source, flow.destination)


def test_a_running_plane_relays_by_the_kernel_and_follows_the_routes(hosts: Hosts) -> None:
    attached = hosts.attach()
    a, b = hosts.udp(hosts.a, A), hosts.udp(hosts.b, B)

    async def run() -> None:
        plane = MediaPlane(
            ADDRESSES, PORTS, containment=unfailing(), kernel=attached.maps, random=random.Random(7).random
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(plane.run)
            ports = []
            for command in (offer("c", "a", sdp(A.host, A.port)), answer("c", "a", "b", sdp(B.host, B.port))):
                reply = plane.carry_out(command)
                assert isinstance(reply, MediaReply)
                ports.append(parse_session(reply.sdp).media[0].port)
            with trio.fail_after(20):
                while plane.paths["kernel",] < 20:
                    a.sendto(rtp(), ("203.0.113.1", ports[1]))
                    b.sendto(rtp(), ("10.0.0.1", ports[0]))
                    for sock in (a, b):
                        await trio.lowlevel.wait_readable(sock)
                        sock.recv(2048)
                ip("-n", hosts.edge, "route", "add", "prohibit", "10.0.0.9/32")
                assert plane._kernel is not None
                while plane._kernel.flows:  # noqa: ASYNC110 - there is no event of it
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert plane._kernel.flows == 0

    try:
        inside(hosts.edge, lambda: trio.run(run))
    finally:
        attached.close()
