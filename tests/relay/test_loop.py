import socket
from collections import deque

import pytest

from bench.ports import free_port
from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media.latch import MediaTarget
from edgesbc.relay.counters import RelayCounters
from edgesbc.relay.link import ProcessLink, ThreadLink
from edgesbc.relay.loop import RelayLoop
from edgesbc.relay.messages import CommandWriter, read_events

RTP = b"\x80\x00" + bytes(170)
CAPACITY = 400


class LoopHarness:
    """A loop, and the other end of its link. ``sends_descriptors``: sockets go by SCM_RIGHTS."""

    def __init__(self, sends_descriptors):
        self.now = 0.0
        self.numbered = False
        """Whether new sockets are bound to a number: one that the kernel chose is lost with a connection."""
        self.counters = RelayCounters(memoryview(bytearray(RelayCounters.size(CAPACITY))), CAPACITY)
        self.end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.handed_over = None if sends_descriptors else deque()
        link = ProcessLink(other) if sends_descriptors else ThreadLink(other, self.handed_over)
        self.loop = RelayLoop(link, self.counters, lambda: self.now)
        self.writer = CommandWriter()
        self.ports = []
        self.peers = []
        self.events = []

    def socket(self, host="127.0.0.1"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((host, free_port(host) if self.numbered else 0))
        return sock

    def open(self, number):
        """Write the command that opens a channel with a new socket; its address."""
        sock = self.socket()
        self.writer.open_channel(number, False, False)
        self.ports.append(sock)
        return sock.getsockname()

    def target(self, number, peer, generation=1):
        source = Source(*peer.getsockname())
        self.writer.set_target(number, generation, MediaTarget(source, source, frozenset({source.host})))

    def peer(self, host="127.0.0.5"):
        self.peers.append(self.socket(host))
        return self.peers[-1]

    def send(self):
        at = 0
        for batch in self.writer.take():
            sockets = self.ports[at : at + batch.opens]
            at += batch.opens
            if self.handed_over is None:
                socket.send_fds(self.end, [batch.data], [sock.fileno() for sock in sockets])
                for sock in sockets:
                    sock.close()
            else:
                self.handed_over += sockets
                self.end.send(batch.data)
        self.ports.clear()

    def call(self, one=0, two=1):
        """Two channels, joined, with a peer each; the peers and the addresses that they send to."""
        a, b = self.peer("127.0.0.5"), self.peer("127.0.0.6")
        for_a, for_b = self.open(one), self.open(two)
        self.target(one, a)
        self.target(two, b)
        self.writer.join(one, two)
        self.send()
        self.loop.turn(0)
        return a, b, for_a, for_b

    def latched(self, *event):
        self.events.append(event)

    def fault(self, text):
        self.events.append(text)

    def reports(self, *event):
        self.events.append(event)

    def told(self):
        """The events of the link since the last time."""
        self.events = []
        while True:
            try:
                read_events(self.end.recv(100_000), self)
            except BlockingIOError:
                return self.events

    def close(self):
        self.end.close()
        self.loop.run()
        for sock in (*self.peers, *self.ports):
            sock.close()


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def harness(request):
    harness = LoopHarness(request.param)
    yield harness
    harness.close()


def received(sock):
    packets = []
    while True:
        try:
            packets.append(sock.recv(4096))
        except BlockingIOError:
            return packets


def test_commands_make_a_relay_that_counts_in_shared_memory(harness):
    a, b, for_a, for_b = harness.call(3, 7)
    for _ in range(3):
        a.sendto(RTP, for_a)
        harness.loop.turn(0)
    b.sendto(RTP, for_b)
    harness.loop.turn(0)
    assert (received(a), received(b)) == ([RTP], [RTP] * 3)
    counters = harness.counters
    assert (counters.packets[3], counters.packets[7]) == (3, 1)
    assert (counters.octets[3], counters.rtcp_packets[3]) == (3 * len(RTP), 0)


def test_the_learned_peers_of_many_calls_are_told_together_after_a_moment(harness):
    a, b, for_a, for_b = harness.call()
    a.sendto(RTP, for_a)
    b.sendto(RTP, for_b)
    harness.loop.turn(0)
    harness.loop.turn(0)
    assert harness.told() == []
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert sorted(harness.told()) == [
        (0, 1, Source(*a.getsockname()), True),
        (1, 1, Source(*b.getsockname()), True),
    ]
    harness.now += 10 * limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert harness.told() == []


def test_events_that_the_link_has_no_room_for_are_told_later(harness):
    full = 0
    other = harness.loop._link._end
    while True:
        try:
            other.send(b"")
            other.send(bytes([65, 0, 0, 0, 0]))
            full += 1
        except BlockingIOError:
            break
    a, _, for_a, _ = harness.call()
    a.sendto(RTP, for_a)
    harness.loop.turn(0)
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert harness.told() == [""] * full
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert harness.told() == [(0, 1, Source(*a.getsockname()), True)]


def test_what_cannot_be_read_costs_no_channel(harness):
    a, b, for_a, _ = harness.call()
    harness.end.send(b"\xffjunk")
    a.sendto(RTP, for_a)
    harness.loop.turn(0)
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert "an unknown command 255" in harness.told()[0]
    assert received(b) == [RTP]


def test_commands_do_not_wait_for_a_flood(harness):
    """More ports are flooded than one turn serves."""
    flooder = harness.peer()
    addresses = [harness.open(number) for number in range(limits.MEDIA_POLL_EVENTS + 20)]
    harness.send()
    for _ in range(4):
        harness.loop.turn(0)
    for address in addresses:
        for _ in range(10):
            flooder.sendto(RTP, address)
    harness.loop.turn(0)
    harness.writer.ping(77)
    harness.send()
    harness.loop.turn(0)
    assert harness.counters.ping == 77


def test_a_closed_channel_is_free_for_others_at_once(harness):
    a, b, for_a, for_b = harness.call()
    a.sendto(RTP, for_a)
    harness.loop.turn(0)
    harness.writer.close_channel(0)
    harness.writer.close_channel(5)  # there is none
    harness.send()
    b.sendto(RTP, for_b)
    harness.loop.turn(0)
    harness.loop.turn(0)
    assert harness.counters.drops_by_reason()[2] == ("no-destination", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again, pytest.raises(OSError, match="in use"):
        again.bind(for_b)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(for_a)
    assert received(b) == [RTP]


def test_the_end_of_the_link_closes_every_port(harness):
    _, _, for_a, for_b = harness.call()
    sockets = [channel.sock for channel in harness.loop._by_number.values()]
    harness.end.close()
    harness.loop.run()
    assert harness.loop.ended
    assert all(sock.fileno() < 0 for sock in sockets)
    for address in (for_a, for_b):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)


def test_a_channel_whose_descriptor_did_not_come_is_reported():
    harness = LoopHarness(True)
    harness.writer.open_channel(0, False, False)
    (batch,) = harness.writer.take()
    harness.end.send(batch.data)
    harness.loop.turn(0)
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert "Too many open files" in harness.told()[0]
    harness.close()


def test_another_relay_goes_on_with_the_same_socket_and_peer():
    """It counts on, and takes no packets of another source while it does not know the peer."""
    first, second = LoopHarness(True), LoopHarness(True)
    first.numbered = True
    second.counters = first.counters
    second.loop._counters = first.counters
    kept = []
    send = first.send

    def send_and_keep():
        kept.extend(sock.dup() for sock in first.ports)
        send()

    first.send = send_and_keep
    a, b, for_a, _ = first.call()
    a.sendto(RTP, for_a)
    first.loop.turn(0)
    assert received(b) == [RTP]
    first.end.close()
    first.loop.run()
    stranger = first.peer("127.0.0.9")
    stranger.sendto(RTP, for_a)
    second.ports += kept
    for number, peer in enumerate((a, b)):
        second.writer.open_channel(number, False, False, True)
        second.target(number, peer)
    second.writer.restore_peer(0, 1, Source(*a.getsockname()), True)
    second.writer.join(0, 1)
    second.send()
    second.loop.turn(0)
    stranger.sendto(RTP, for_a)
    a.sendto(RTP, for_a)
    for _ in range(3):
        second.loop.turn(0)
    assert received(b) == [RTP]
    assert second.counters.packets[0] == 2
    second.close()
    first.close()


def rtcp(number):
    return b"\x80\xc9\x00\x01" + number.to_bytes(4)


def test_rtcp_that_was_relayed_is_copied_to_media_control_one_packet_of_a_channel_at_a_time(harness):
    a, b, for_a, for_b = harness.call()
    for sock, address in ((a, for_a), (b, for_b)):
        sock.sendto(RTP, address)
        harness.loop.turn(0)
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    harness.told()
    for number in (1, 2):
        a.sendto(rtcp(number), for_a)
        harness.loop.turn(0)
    b.sendto(rtcp(3), for_b)
    harness.loop.turn(0)
    assert received(b)[-2:] == [rtcp(1), rtcp(2)]
    assert harness.told() == [], "not at once"
    noted = harness.now
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert harness.told() == [(0, noted, rtcp(1)), (1, noted, rtcp(3))]


def test_copies_of_rtcp_have_a_bound(harness):
    a, _, for_a, _ = harness.call()
    for _ in range(2):  # the first one is not from a known peer yet
        a.sendto(rtcp(1), for_a)
        harness.loop.turn(0)
    (channel,) = [channel for channel in harness.loop._by_number.values() if channel.packets]
    for number in range(2, limits.RELAY_REPORTS + 2):  # as if there were so many of them
        channel.slot = number
        harness.loop._note_reports(channel, memoryview(rtcp(1)))
    channel.slot = 0
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.loop.turn(0)
    assert len([event for event in harness.told() if len(event) == 3]) == limits.RELAY_REPORTS
