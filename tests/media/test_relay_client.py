import socket

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.media.latch import MediaTarget
from edgesbc.media.relay_client import RelayClient
from edgesbc.relay.counters import RelayCounters
from edgesbc.relay.link import ProcessLink
from edgesbc.relay.messages import read_commands

PEER = Source("192.0.2.7", 4000)
HERE = Source("127.0.0.1", 30000)
TARGET = MediaTarget(PEER, PEER, frozenset({PEER.host}))


class RelayEnd:
    """The other end of a client's link, which notes the commands that come."""

    def __init__(self, client):
        end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.link = ProcessLink(other)
        self.commands = []
        self.sockets = {}
        client.attach(end)

    def __getattr__(self, name):
        return lambda *arguments: self.commands.append((name, *arguments))

    def open_channel(self, number, is_rtcp, ipv6, restored):
        self.sockets[number] = self.link.take_socket(ipv6)
        self.commands.append(("open_channel", number, is_rtcp, ipv6, restored))

    def receive(self):
        """The commands since the last time."""
        self.commands = []
        while data := self.link.receive():
            read_commands(data, self)
        return self.commands

    def close(self):
        for sock in self.sockets.values():
            sock.close()
        self.link.close()


@pytest.fixture
def client():
    counters = RelayCounters(memoryview(bytearray(RelayCounters.size(4))), 4)
    faults = []
    client = RelayClient(counters, faults.append)
    yield client
    client.close_all()
    assert not faults


@pytest.fixture
def end(client):
    end = RelayEnd(client)
    yield end
    end.close()


def bound():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind(("127.0.0.1", 0))
    return sock


def test_commands_go_together_when_they_are_flushed(client, end):
    one, two = client.open(bound(), False, HERE), client.open(bound(), True, HERE)
    client.join(one, two)
    client.set_target(one, TARGET)
    client.set_target(one, TARGET)
    assert end.receive() == []
    client.flush()
    assert end.receive() == [
        ("open_channel", 0, False, False, False),
        ("open_channel", 1, True, False, False),
        ("join", 0, 1),
        ("set_target", 0, 1, TARGET),
    ]
    assert end.sockets[0].getsockname() == one.sock.getsockname()


def test_a_peer_of_a_former_target_is_not_taken_for_that_of_the_present_one(client, end):
    channel = client.open(bound(), False, HERE)
    client.set_target(channel, TARGET)
    former = channel.generation
    client.set_target(channel, MediaTarget(PEER, None, frozenset({"192.0.2.8"})))
    client.latched(channel.number, former, PEER, True)
    assert channel.peer is None
    client.latched(channel.number, channel.generation, PEER, True)
    assert (channel.peer, channel.firm) == (PEER, True)
    client.latched(3, channel.generation, PEER, True)  # closed meanwhile


def test_counters_of_a_channel_begin_at_zero_although_its_number_was_used_before(client, end):
    client.counters.packets[:] = memoryview(b"".join(n.to_bytes(8, "little") for n in (5, 6, 7, 8))).cast("B").cast("Q")
    channels = [client.open(bound(), False, HERE) for _ in range(4)]
    client.close(channels[2])
    again = client.open(bound(), False, HERE)
    assert again.number == 2
    client.counters.packets[2] += 4
    assert (again.packets, channels[0].packets) == (4, 0)


def test_a_full_link_holds_nothing_up_and_loses_nothing(client, end):
    blocked = []
    client.on_blocked = lambda: blocked.append(True)
    sent = 0
    while not blocked:
        client.ping(sent)
        client.flush()
        sent += 1
    late = client.open(bound(), False, HERE)
    sock = late.sock
    client.flush()
    client.close(late)  # before its socket was sent
    client.flush()
    assert sock.fileno() >= 0
    got = end.receive()
    client.flush()
    got += end.receive()
    assert [arguments[0] for name, *arguments in got if name == "ping"] == list(range(sent))
    assert got[-2:] == [("open_channel", 0, False, False, False), ("close_channel", 0)]
    assert sock.fileno() < 0
    assert not client.waits


def test_a_relay_that_does_not_read_is_given_up_at_a_bound(client, end):
    assert client.receive()
    for number in range(100_000):
        client.ping(number)
        client.flush()
        if not client.receive():
            break
    else:
        pytest.fail("the relay was not given up")
    assert number > limits.RELAY_QUEUE
    client.detach()
    assert not client.waits


def test_the_next_relay_gets_all_channels_with_targets_and_peers(client, end):
    one, two, closed = (client.open(bound(), False, HERE) for _ in range(3))
    client.join(one, two)
    client.set_target(one, TARGET)
    client.close(closed)
    client.flush()
    client.latched(0, one.generation, PEER, True)
    end.receive()
    client.detach()
    meanwhile = client.open(bound(), True, HERE)
    client.set_target(meanwhile, TARGET)
    client.flush()
    second = RelayEnd(client)
    assert second.receive() == [
        ("open_channel", 0, False, False, True),
        ("open_channel", 1, False, False, True),
        ("open_channel", 3, True, False, True),
        ("set_target", 0, 1, TARGET),
        ("restore_peer", 0, 1, PEER, True),
        ("set_target", 1, 0, two.target),
        ("set_target", 3, 2, TARGET),
        ("join", 0, 1),
    ]
    assert second.sockets[0].getsockname() == one.sock.getsockname()
    second.close()
