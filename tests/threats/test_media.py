"""THREATS 2, 3, 6, 9 and 23: attacks on the media plane with real sockets. Each 127.0.0.x is another source."""

import socket

import attrs
import pytest
from support.media import answer, offer
from support.relay import SteppedRelay
from support.running import policy_text, running
from support.signalling import CORE, CORE_TCP6, MEMBERS, PUBLIC, EdgeHarness

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import Acknowledge, Consent, MediaError, MediaReply
from edgesbc.media.latch import build_interfaces
from edgesbc.media.session_table import SessionTable
from edgesbc.routing.table import RoutingTable
from edgesbc.sdp.session import parse_session
from edgesbc.signalling.core_sources import CoreRules

RTP = b"\x80\x00" + bytes(170)
FORGED = b"\x80\x00" + b"\xee" * 170
FORGED_RTCP = b"\x80\xc9\x00\x01" + b"\xee" * 4
ATTACKS = 1_000


def described(host, port, lines=""):
    return f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n{lines}"


class Peer:
    def __init__(self, host, port=0):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.sock.setblocking(False)
        self.host, self.port = self.sock.getsockname()

    def send(self, data, port):
        self.sock.sendto(data, ("127.0.0.1", port))

    def received(self):
        packets = []
        while True:
            try:
                packets.append(self.sock.recv(4096))
            except BlockingIOError:
                return packets


class Victims:
    """A relay with one session between ``a`` (public) and ``b`` (core), and an attacker at another address, also with
    the ports that ``a`` and ``b`` have at theirs: no rule for ports stops it."""

    def __init__(self):
        interfaces = build_interfaces(dict.fromkeys(Zone, "127.0.0.1"), (21000, 21199))
        self.now = 0.0
        self.relay = SteppedRelay(interfaces, lambda: self.now)
        self.table = SessionTable(self.relay, interfaces)
        self.a, self.b, self.attacker = Peer("127.0.0.5"), Peer("127.0.0.6"), Peer("127.0.0.66")
        self.attackers = [self.attacker, *(Peer("127.0.0.66", port) for port in {self.a.port, self.b.port})]
        self.for_b = self.port(offer("c", "a", described(self.a.host, self.a.port)))
        self.for_a = self.port(answer("c", "a", "b", described(self.b.host, self.b.port)))

    def port(self, command):
        reply = self.table.receive(command, 0.0)
        assert isinstance(reply, MediaReply), reply
        return parse_session(reply.sdp).media[0].port

    def refused(self, command):
        """The SIP status that the command is refused with."""
        reply = self.table.receive(command, 0.0)
        assert isinstance(reply, MediaError), reply
        return reply.status

    def turn(self):
        while self.relay.turn():
            pass

    def attack(self):
        """Valid packets to all four ports, in bursts that fit the sockets' queues, for longer than another port than
        the signalled one has to wait."""
        for _ in range(ATTACKS // 40):
            for port in (self.for_a, self.for_a + 1, self.for_b, self.for_b + 1):
                for number in range(10):
                    attacker = self.attackers[number % len(self.attackers)]
                    attacker.send(FORGED_RTCP if port % 2 else FORGED, port)
            self.turn()
            self.now += limits.MEDIA_SIGNALLED_SECONDS

    def stolen(self):
        """All that the attacker received."""
        return [packet for attacker in self.attackers for packet in attacker.received()]

    def talk(self):
        """Send one packet each way; returns what ``a`` and ``b`` received."""
        self.a.send(RTP, self.for_a)
        self.b.send(RTP, self.for_b)
        self.turn()
        return self.a.received(), self.b.received()

    def close(self):
        self.table.close()
        self.relay.close()
        for peer in (self.a, self.b, *self.attackers):
            peer.sock.close()


@pytest.fixture
def victims():
    session = Victims()
    yield session
    session.close()


def test_2_rtp_bleed(victims):
    """An attacker that sends first, in between and after receives no packet of the session."""
    victims.attack()
    for _ in range(10):
        victims.talk()
        victims.attack()
    assert victims.stolen() == []
    assert victims.talk() == ([RTP], [RTP])


def test_2_another_host_behind_the_address_of_the_victim(victims):
    """Behind a NAT many hosts have one address. The one that sends first, from another port, gets nothing in the time
    in which the victim begins, and keeps nothing when the victim speaks later."""
    neighbour = Peer(victims.a.host)
    for _ in range(20):
        neighbour.send(FORGED, victims.for_a)
    victims.turn()
    victims.b.send(RTP, victims.for_b)
    victims.turn()
    assert (victims.a.received(), neighbour.received(), victims.b.received()) == ([RTP], [], [])
    victims.now += limits.MEDIA_SIGNALLED_SECONDS
    neighbour.send(FORGED, victims.for_a)  # the victim is still silent, as if its NAT had given it this port
    victims.turn()
    assert victims.b.received() == [FORGED]
    assert victims.talk()[1] == [RTP]
    for _ in range(20):
        neighbour.send(FORGED, victims.for_a)
    assert victims.talk() == ([RTP], [RTP])
    neighbour.received()
    assert victims.talk() == ([RTP], [RTP])
    assert neighbour.received() == []
    neighbour.sock.close()


@pytest.mark.parametrize("mode", [LatchMode.ROAMING, LatchMode.SYMMETRIC_OFF])
def test_2_in_each_mode_of_the_latch_another_address_gets_and_injects_nothing(victims, mode):
    first, second = described(victims.a.host, victims.a.port), described(victims.b.host, victims.b.port)
    victims.port(attrs.evolve(offer("c", "a", first, answerer="b"), latch=mode))
    victims.port(attrs.evolve(answer("c", "a", "b", second), latch=mode))
    victims.attack()
    victims.talk()
    victims.talk()
    victims.attack()  # for much longer than a peer has to be silent until it is followed
    assert (victims.stolen(), victims.a.received(), victims.b.received()) == ([], [], [])
    assert victims.talk() == ([RTP], [RTP])
    assert victims.stolen() == []


def test_2_a_neighbour_of_a_peer_that_roams_gets_its_place_after_silence_alone_and_loses_it_again(victims):
    """What this mode risks: the host behind the same NAT that sends first while the peer is silent gets its audio,
    until the peer sends from the signalled port, or describes its media again."""
    first, second = described(victims.a.host, victims.a.port), described(victims.b.host, victims.b.port)
    victims.port(attrs.evolve(offer("c", "a", first, answerer="b"), latch=LatchMode.ROAMING))
    victims.port(answer("c", "a", "b", second))
    neighbour = Peer(victims.a.host)
    with neighbour.sock:
        victims.talk()
        assert victims.talk() == ([RTP], [RTP])
        for _ in range(20):
            victims.now += limits.MEDIA_ROAM_SECONDS / 10
            neighbour.send(FORGED, victims.for_a)
            assert victims.talk() == ([RTP], [RTP])
        assert neighbour.received() == []
        victims.now += limits.MEDIA_ROAM_SECONDS
        neighbour.send(FORGED, victims.for_a)
        victims.b.send(RTP, victims.for_b)
        victims.turn()
        assert (victims.b.received(), victims.a.received()) == ([FORGED], [])
        victims.talk()
        neighbour.received()
        assert victims.talk() == ([RTP], [RTP])
        assert neighbour.received() == []


def test_2_a_repeated_description_gives_a_neighbour_nothing_while_the_peer_sends(victims):
    first, second = described(victims.a.host, victims.a.port), described(victims.b.host, victims.b.port)
    victims.talk()
    neighbour = Peer(victims.a.host)
    with neighbour.sock:
        for _ in range(5):
            victims.port(offer("c", "a", first, answerer="b"))
            victims.port(answer("c", "a", "b", second))
            neighbour.send(FORGED, victims.for_a)
            victims.turn()
            assert victims.talk() == ([RTP], [RTP])
            victims.now += limits.MEDIA_SIGNALLED_SECONDS
            neighbour.send(FORGED, victims.for_a)
            assert victims.talk() == ([RTP], [RTP])
        assert neighbour.received() == []


def test_3_rtp_injection_before_the_lock(victims):
    victims.attack()
    assert victims.relay.drops[("source",)] == ATTACKS
    assert victims.a.received() == victims.b.received() == []
    assert victims.talk() == ([RTP], [RTP])


def test_3_rtp_injection_after_the_lock(victims):
    victims.talk()
    victims.talk()
    victims.attack()
    assert victims.a.received() == victims.b.received() == []
    assert victims.talk() == ([RTP], [RTP])


def test_3_rtp_injection_queued_around_the_lock(victims):
    """Packets that reached the socket before connect() are still in its queue after it."""
    for _ in range(20):
        victims.attacker.send(FORGED, victims.for_a)
    victims.a.send(RTP, victims.for_a)
    for _ in range(100):
        victims.attacker.send(FORGED, victims.for_a)
    victims.turn()
    assert victims.b.received() == [RTP]
    assert victims.relay.drops[("source",)] == 120


def test_3_rtp_injection_after_a_reinvite_unlocked(victims):
    victims.talk()
    moved = Peer("127.0.0.7")
    victims.port(offer("c", "a", described(moved.host, moved.port), answerer="b"))
    victims.port(answer("c", "a", "b", described(victims.b.host, victims.b.port)))
    victims.b.received()
    victims.attack()
    victims.a.send(FORGED, victims.for_a)
    victims.turn()
    assert victims.b.received() == []
    assert victims.stolen() == []
    moved.sock.close()


BROKEN = {
    "empty": b"",
    "one byte": b"\x80",
    "short RTP": RTP[:11],
    "version 0": b"\x00" + RTP[1:],
    "version 3": b"\xc0" + RTP[1:],
    "short RTCP": b"\x80\xc9\x00\x01\x00\x00\x00",
    "RTCP longer than its datagram": b"\x80\xc9\xff\xff" + bytes(4),
    "STUN": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
    "DTLS ClientHello": b"\x16\xfe\xfd" + bytes(60),
    "ZRTP": b"\x10\x00" + bytes(40),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_6_broken_packets_are_dropped_and_lock_nothing(victims, data):
    elsewhere = Peer(victims.a.host)  # the right address, so that only the content is wrong
    for offset in (0, 1):
        elsewhere.send(data, victims.for_a + offset)
    victims.turn()
    assert victims.relay.drops == {("invalid",): 2}
    assert victims.talk() == ([RTP], [RTP])
    for offset in (0, 1):  # and again when the latch is locked
        victims.a.send(data, victims.for_a + offset)
    victims.turn()
    assert victims.talk() == ([RTP], [RTP])
    assert victims.b.received() == elsewhere.received() == []
    assert victims.relay.drops == {("invalid",): 4}
    elsewhere.sock.close()


def test_6_rtp_is_not_relayed_as_rtcp(victims):
    victims.a.send(RTP, victims.for_a + 1)
    victims.turn()
    assert victims.relay.drops == {("invalid",): 1}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.66", "::ffff:127.0.0.1", "::1", "10.0.0.1", "10.0.0.11", "0.0.0.1", "255.255.255.255",
        "224.0.0.1", "localhost", "127.1", "0x7f000001",
    ],
)  # fmt: skip
@pytest.mark.parametrize("position", ["c=", "a=rtcp", "answer"])
def test_9_no_relay_to_private_addresses(host, position):
    """Refused before a port is opened, so nothing can be sent."""
    addresses = {Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}
    interfaces = build_interfaces(addresses, (21000, 21199), denied=["10.0.0.0/8"])
    family = "IP6" if ":" in host else "IP4"
    bad = described(host, 5060).replace(f"c=IN IP4 {host}", f"c=IN {family} {host}")
    if position == "a=rtcp":
        bad = described("198.51.100.7", 4000, f"a=rtcp:5060 IN {family} {host}\r\n")
    ports = TargetRecorder()
    table = SessionTable(ports, interfaces)
    if position == "answer":
        table = ports.anchored(interfaces)
        reply = table.receive(answer("c", "b", "a", bad), 0.0)
    else:
        reply = table.receive(offer("c", "a", bad), 0.0)
    if position == "a=rtcp" and host in ("localhost", "127.1", "0x7f000001"):
        assert isinstance(reply, MediaReply)  # a name is not looked up: RTCP goes where RTP goes
        signalled = {target.signalled.host for pair in ports.targets for target in pair}
        assert signalled == {"198.51.100.7"}
        return
    assert isinstance(reply, MediaError)
    assert reply.status == 488
    assert ports.targets == []


@pytest.mark.parametrize(
    ("own", "elsewhere", "host"),
    [
        (("203.0.113.10", "10.0.0.1"), "198.51.100.7", "203.0.113.10"),  # the port is none of the relay's: a service
        (("203.0.113.10", "10.0.0.1"), "198.51.100.7", "10.0.0.1"),
        (("203.0.113.10", "10.0.0.5"), "198.51.100.7", MEMBERS[0].host),
        (("203.0.113.10", "10.0.0.5"), "198.51.100.7", CORE.host),
        (("203.0.113.10", "10.0.0.5"), "198.51.100.7", PUBLIC.host),
        (("203.0.113.10", "10.0.0.5"), "198.51.100.7", "172.16.3.4"),
        (("2001:db8:f::10", "fd00::1"), "2001:db8:1::7", "2001:db8:f::10"),
        (("2001:db8:f::10", "fd00::1"), "2001:db8:1::7", "fd00::1"),
        (("2001:db8:f::10", "fd00::1"), "2001:db8:1::7", CORE_TCP6.host),
        (("2001:db8:f::10", "fd00::1"), "2001:db8:1::7", "2001:db8:c::5"),
    ],
)
@pytest.mark.parametrize("position", ["c=", "a=rtcp", "answer"])
def test_9_the_edge_and_the_private_side_are_no_targets(own, elsewhere, host, position):
    """As the signalling core knows them: the destinations, ``[core] allow`` and the listeners. In one family each."""
    edge = EdgeHarness().edge
    edge.adopt(RoutingTable((), ["pbx"]), edge.pipeline, core=CoreRules(["172.16.0.0/16", "2001:db8:c::/48"]))
    interfaces = build_interfaces(dict(zip(Zone, own, strict=True)), (21000, 21199), inside=edge.is_inside)
    assert list(interfaces) == [Zone.PUBLIC, Zone.CORE]
    family = "IP6" if ":" in host else "IP4"
    bad = described(host, 5060)
    if position == "a=rtcp":
        bad = described(elsewhere, 4000, f"a=rtcp:5060 IN {family} {host}\r\n")
    good = described(elsewhere, 4000)
    bad, good = (text.replace(" IN IP4 ", f" IN {family} ") for text in (bad, good))
    for sdp, refused in ((bad, True), (good, False)):
        ports = TargetRecorder()
        table = SessionTable(ports, interfaces)
        command = offer("c", "a", sdp)
        if position == "answer":
            server = good.replace(elsewhere, "fd00::11" if family == "IP6" else "10.0.0.11")
            assert isinstance(table.receive(offer("c", "b", server, Zone.CORE, answerer="a"), 0.0), MediaReply)
            command = answer("c", "b", "a", sdp)
        reply = table.receive(command, 0.0)
        assert getattr(reply, "status", 200) == (488 if refused else 200)
        assert bool(ports.targets) is not refused


@pytest.mark.parametrize("host", ["10.0.0.1", "10.0.0.11", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
@pytest.mark.parametrize("position", ["c=", "m=", "a=rtcp"])
def test_9_behind_a_nat_addresses_of_the_private_side_are_refused_as_well(host, position):
    """In the c= of the session, in that of a section, and for RTCP alone."""
    addresses = {Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}
    interfaces = build_interfaces(addresses, (21000, 21199), denied=["10.0.0.0/8"])
    ports = TargetRecorder()
    bad = described(host, 4000)
    if position == "m=":
        bad = described("192.168.1.5", 4000, f"c=IN IP4 {host}\r\n")
    elif position == "a=rtcp":
        bad = described("192.168.1.5", 4000, f"a=rtcp:4001 IN IP4 {host}\r\n")
    reply = SessionTable(ports, interfaces).receive(offer("c", "a", bad, received_from="198.51.100.7"), 0.0)
    assert isinstance(reply, MediaError)
    assert reply.status == 488
    assert ports.targets == []


@pytest.mark.parametrize("host", ["172.16.0.1", "192.168.1.5"])
@pytest.mark.parametrize("position", ["c=", "a=rtcp"])
def test_9_a_phone_behind_a_nat_may_have_any_other_private_address_and_nothing_is_sent_there(host, position):
    """The port learns from the source of signalling."""
    addresses = {Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}
    interfaces = build_interfaces(addresses, (21000, 21199), denied=["10.0.0.0/8"])
    ports = TargetRecorder()
    named = described(host, 4000)
    if position == "a=rtcp":
        named = described("198.51.100.7", 4000, f"a=rtcp:4001 IN IP4 {host}\r\n")
    reply = SessionTable(ports, interfaces).receive(offer("c", "a", named, received_from="198.51.100.7"), 0.0)
    assert isinstance(reply, MediaReply)
    ((rtp, rtcp),) = ports.targets
    assert {target.send_to.host for target in (rtp, rtcp) if target.send_to} <= {"198.51.100.7"}
    assert rtp.learn_from == rtcp.learn_from == {"198.51.100.7"}
    assert rtcp.send_to is None


class TargetRecorder:
    """A source of ports that records every target of a port of the public zone."""

    def __init__(self):
        self.targets = []

    def anchored(self, interfaces):
        """A table with a session that the core offered."""
        table = SessionTable(self, interfaces)
        from_core = offer("c", "b", described("10.0.0.11", 4000), Zone.CORE, answerer="a")
        assert isinstance(table.receive(from_core, 0.0), MediaReply)
        return table

    def open(self, interfaces, ports=(0, 0)):
        return tuple(RecordedPair(self.targets if one.zone is Zone.PUBLIC else []) for one in interfaces)

    def holds(self, address):
        return False


class RecordedPair:
    port = 30000
    sockets = 2

    def __init__(self, targets):
        self.targets = targets

    def set_targets(self, rtp, rtcp):
        self.targets.append((rtp, rtcp))

    def reopen(self):
        pass

    def set_direct(self, direct):
        pass

    def watch_reports(self, receiver):
        pass

    def share_rtcp(self, shared):
        assert not shared

    def join(self, other):
        pass


async def test_9_a_running_edge_judges_by_the_destinations_that_it_has(tmp_path):
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:5060"])) as app:
        assert app.media._table._interfaces[Zone.PUBLIC][0].inside == app.edge.is_inside
        assert app.media._table._interfaces[Zone.CORE][0].inside is None
        assert app.edge.is_inside("127.0.0.11")


def test_9_the_unspecified_address_is_hold_and_never_a_target(victims):
    service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    service.bind(("0.0.0.0", 0))
    service.setblocking(False)
    port = service.getsockname()[1]
    victims.port(offer("c", "a", described("0.0.0.0", port), answerer="b"))
    victims.talk()
    victims.talk()
    with service, pytest.raises(BlockingIOError):
        service.recv(100)
    assert victims.a.received() == []


def test_9_the_relay_does_not_send_to_itself(victims):
    before = victims.relay.ports_in_use
    for port in (victims.for_a, victims.for_a + 1, victims.for_b):
        looped = described("127.0.0.1", port)
        assert victims.refused(offer("d", "a", looped)) == 488
    by_rtcp = described("127.0.0.5", 4000, f"a=rtcp:{victims.for_b} IN IP4 127.0.0.1\r\n")
    assert victims.refused(offer("d", "a", by_rtcp)) == 488
    assert victims.relay.ports_in_use == before


def described_by(victims, consent, received_from=""):
    """A second session of the caller, in which a description from ``consent`` names ``a``: its ports."""
    named = described(victims.a.host, victims.a.port)
    for_b = victims.port(offer("d", "x", named, received_from=received_from, consent=consent))
    one_port = f"a=rtcp:{victims.b.port}\r\n"
    return victims.port(answer("d", "x", "y", described(victims.b.host, victims.b.port, one_port))), for_b


@pytest.mark.parametrize(
    ("consent", "received_from"),
    [
        (Consent.NONE, "127.0.0.5"),  # the source of the message is forged: it is that of the victim
        (Consent.NONE, "127.0.0.66"),
        (Consent.SOURCE, "127.0.0.66"),  # a peer that has proven another address than the one that it names
    ],
)
def test_23_no_address_gets_more_media_than_it_sent_on_an_unproven_word(victims, consent, received_from):
    for_a, for_b = described_by(victims, consent, received_from)
    for _ in range(50):
        victims.b.send(RTP, for_b)
        victims.b.send(FORGED_RTCP, for_b + 1)
    victims.turn()
    assert victims.a.received() == []
    for _ in range(3):
        victims.a.send(RTP, for_a)
    victims.turn()
    for _ in range(50):
        victims.b.send(RTP, for_b)
    victims.turn()
    assert victims.a.received() == [RTP] * 3
    assert len(victims.b.received()) == 3
    assert victims.relay.drops["limited",] == 100 + 47


@pytest.mark.parametrize("locked", [False, True])
def test_23_after_an_acknowledgement_media_flows_without_a_limit(victims, locked):
    for_a, for_b = described_by(victims, Consent.NONE, victims.a.host)
    if locked:
        victims.a.send(RTP, for_a)
        victims.turn()
    assert victims.table.receive(Acknowledge("d", "x"), 0.0) is None
    for _ in range(2):
        for _ in range(20):
            victims.b.send(RTP, for_b)
        victims.turn()
        assert victims.a.received() == [RTP] * 20
        victims.a.send(RTP, for_a)
        victims.turn()


def test_23_an_acknowledgement_of_another_tag_lifts_nothing(victims):
    _, for_b = described_by(victims, Consent.NONE, victims.a.host)
    for command in (Acknowledge("d", "y"), Acknowledge("d", "z"), Acknowledge("e", "x")):
        victims.table.receive(command, 0.0)
    victims.b.send(RTP, for_b)
    victims.turn()
    assert victims.a.received() == []


@pytest.mark.parametrize("consent", [Consent.ANY, Consent.SOURCE])
def test_23_a_proven_peer_gets_early_media(victims, consent):
    _, for_b = described_by(victims, consent, victims.a.host)
    victims.b.send(RTP, for_b)
    victims.turn()
    assert victims.a.received() == [RTP]


def test_23_another_description_does_not_inherit_what_may_be_sent(victims):
    for_a, for_b = described_by(victims, Consent.NONE, victims.a.host)
    for _ in range(5):
        victims.a.send(RTP, for_a)
    victims.turn()
    other = Peer("127.0.0.9")
    moved = described(other.host, other.port)
    assert victims.port(offer("d", "x", moved, answerer="y", consent=Consent.NONE)) == for_b
    victims.port(answer("d", "x", "y", described(victims.b.host, victims.b.port)))
    victims.b.send(RTP, for_b)
    victims.turn()
    assert victims.a.received() == other.received() == []
    other.send(RTP, for_a)
    victims.turn()
    for _ in range(5):
        victims.b.send(RTP, for_b)
    victims.turn()
    assert victims.a.received() == []
    assert other.received() == [RTP], "what the former address sent gives this one nothing"
    other.sock.close()
