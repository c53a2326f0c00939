import errno
import os
import socket

import attrs
import pytest
from support.icmp import icmp
from support.media import answer, offer
from support.relay import SteppedRelay
from support.rtcp import receiver_report, sender_report

from bench.ports import free_range
from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import Consent, Delete, MediaReply, Rollback
from edgesbc.media.latch import build_interfaces
from edgesbc.media.rtcp import ReceptionReport
from edgesbc.media.session import NoPorts
from edgesbc.media.session_table import SessionTable
from edgesbc.sdp.session import parse_session

RTP = b"\x80\x00" + bytes(range(170))
RTCP = b"\x80\xc9\x00\x01" + bytes(4)
NEXT = b"\x80\x00" + bytes(170)


class Peer:
    """A media endpoint on a loopback address of its own."""

    def __init__(self, host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.host, self.port = self.sock.getsockname()[:2]

    def send(self, data, port, host="127.0.0.1"):
        self.sock.sendto(data, (host, port))

    def received(self):
        """Every packet that has arrived; loopback delivers before sendto() returns."""
        packets = []
        while True:
            try:
                packets.append(self.sock.recv(4096))
            except BlockingIOError:
                return packets
            except ConnectionRefusedError:
                continue

    def sdp(self, port=None, lines=""):
        family = "IP6" if ":" in self.host else "IP4"
        return (
            f"v=0\r\no=- 1 1 IN {family} {self.host}\r\ns=-\r\nc=IN {family} {self.host}\r\nt=0 0\r\n"
            f"m=audio {port or self.port} RTP/AVP 0\r\n{lines}"
        )


class RelayHarness:
    def __init__(self, address="127.0.0.1", ports=(20000, 20199), opaque_profiles=(), **options):
        self.now = 0.0
        interfaces = build_interfaces(dict.fromkeys(Zone, address), ports)
        self.relay = SteppedRelay(interfaces, lambda: self.now, **options)
        self.table = SessionTable(self.relay, interfaces, opaque_profiles=opaque_profiles)
        self.interfaces = interfaces[Zone.PUBLIC][0], interfaces[Zone.CORE][0]
        self.peers = []

    def peer(self, host):
        self.peers.append(Peer(host))
        return self.peers[-1]

    def port(self, command):
        """Carry the command out; the RTP port in the description that the other side gets."""
        reply = self.table.receive(command, self.now)
        assert isinstance(reply, MediaReply), reply
        return parse_session(reply.sdp).media[0].port

    def call(self, a, b, session_id="c"):
        """Set a call up; the ports that ``a`` and ``b`` send to."""
        for_b = self.port(offer(session_id, "a", a.sdp()))
        return self.port(answer(session_id, "a", "b", b.sdp())), for_b

    def turn(self):
        while self.relay.turn():
            pass

    def close(self):
        self.table.close()
        assert self.relay.ports_in_use == 0
        self.relay.close()
        for peer in self.peers:
            peer.sock.close()


@pytest.fixture
def harness():
    harness = RelayHarness()
    yield harness
    harness.close()


def test_rtp_goes_both_ways_and_is_counted(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, for_b = harness.call(a, b)
    assert for_a % 2 == for_b % 2 == 0
    a.send(RTP, for_a)
    harness.turn()
    assert b.received() == [RTP]  # to the address in the description, before any packet came from b
    b.send(NEXT, for_b)
    a.send(NEXT, for_a)
    harness.turn()
    assert a.received() == [NEXT]
    assert b.received() == [NEXT]
    assert harness.relay.packets == 3
    (session,) = harness.table.sessions()
    session.look(0.0)
    assert sum(activity.packets for activity in session.activity) == 3
    harness.table.receive(Delete("c", "a"), 0.0)
    assert harness.relay.packets == 3
    assert not harness.relay.drops


def test_the_quality_that_a_side_reports_is_recorded(harness):
    """RTCP on the port of RTP and on its own: the caller's sender report, and what the callee answers to it."""
    a, b, b_rtcp = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.6")
    for_b = harness.port(offer("c", "a", a.sdp()))
    for_a = harness.port(answer("c", "a", "b", b.sdp(lines=f"a=rtcp:{b_rtcp.port}\r\n")))
    a.send(RTP, for_a)
    harness.turn()
    a.send(sender_report(1, 7 << 16, 1, []), for_a)
    harness.turn()
    harness.now = 1.0
    b_rtcp.send(receiver_report(2, [ReceptionReport(1, 0.5, 1, 800, 7, 0.75)]), for_b + 1)
    harness.turn()
    harness.now = 2.0
    harness.turn()
    harness.table.receive(Delete("c", "a"), harness.now)
    quality = harness.table.quality
    assert (quality.loss["core",].total, quality.jitter["core",].total) == (0.5, 0.1)
    assert quality.round_trip["core",].total == 0.25


def test_rtcp_goes_from_odd_port_to_odd_port(harness):
    a, b, b_rtcp = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.6")
    for_b = harness.port(offer("c", "a", a.sdp(lines=f"a=rtcp:{a.port}\r\n")))
    for_a = harness.port(answer("c", "a", "b", b.sdp(lines=f"a=rtcp:{b_rtcp.port}\r\n")))
    a.send(RTCP, for_a + 1)
    harness.turn()
    assert b_rtcp.received() == [RTCP]
    b_rtcp.send(RTCP, for_b + 1)
    harness.turn()
    assert a.received() == [RTCP]  # to where a's RTCP is, not to its RTP port plus one


def test_rtcp_on_the_rtp_port_passes(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, _ = harness.call(a, b)
    a.send(RTP, for_a)
    harness.turn()
    a.send(RTCP, for_a)
    harness.turn()
    assert b.received() == [RTP, RTCP]


def test_media_goes_back_to_where_it_came_from(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    translated = harness.peer("127.0.0.5")  # the same address, another port: a NAT in front of it
    for_a, for_b = harness.call(a, b)
    for _ in range(2):
        translated.send(RTP, for_a)
        harness.turn()
        harness.now += limits.MEDIA_SIGNALLED_SECONDS
    for _ in range(3):
        translated.send(NEXT, for_a)
        b.send(RTP, for_b)
        harness.turn()
    assert translated.received() == [RTP] * 3
    assert a.received() == []
    assert b.received() == [RTP, *[NEXT] * 3]


def test_the_signalled_port_takes_back_what_another_port_of_its_address_was_given(harness):
    a, b, other = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.5")
    for_a, for_b = harness.call(a, b)
    for _ in range(2):
        other.send(NEXT, for_a)
        harness.turn()
        harness.now += limits.MEDIA_SIGNALLED_SECONDS
    b.send(RTP, for_b)
    harness.turn()
    assert (other.received(), b.received()) == ([RTP], [NEXT])
    other.send(NEXT, for_a)
    a.send(RTP, for_a)
    for _ in range(3):
        other.send(NEXT, for_a)
    harness.turn()
    assert b.received() == [NEXT, RTP]
    b.send(RTP, for_b)
    harness.turn()
    other.send(NEXT, for_a)
    harness.turn()
    assert (a.received(), other.received(), b.received()) == ([RTP], [], [])


def test_behind_a_nat_nothing_is_sent_before_a_packet_came_from_the_peer(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    private = a.sdp().replace("127.0.0.5", "192.168.7.7")
    for_b = harness.port(offer("c", "a", private, received_from="127.0.0.5"))
    for_a = harness.port(answer("c", "a", "b", b.sdp()))
    b.send(RTP, for_b)
    harness.turn()
    assert a.received() == []
    assert harness.relay.drops == {("no-destination",): 1}
    a.send(RTP, for_a)
    harness.turn()
    b.send(NEXT, for_b)
    harness.turn()
    assert a.received() == [NEXT]


def test_a_reinvite_moves_a_locked_peer_and_keeps_the_port(harness):
    a, b, moved = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.7")
    for_a, for_b = harness.call(a, b)
    a.send(RTP, for_a)
    b.send(RTP, for_b)
    harness.turn()
    assert len(a.received()) == len(b.received()) == 1
    a.send(NEXT, for_a)  # stays in the queue while signalling sets another target
    assert harness.port(offer("c", "a", moved.sdp(), answerer="b")) == for_b
    assert harness.port(answer("c", "a", "b", b.sdp())) == for_a
    a.send(NEXT, for_a)
    harness.turn()
    assert b.received() == []
    b.send(RTP, for_b)
    moved.send(RTP, for_a)
    harness.turn()
    b.send(RTP, for_b)
    harness.turn()
    assert b.received() == [RTP]
    assert moved.received() == [RTP, RTP]
    assert a.received() == []


def test_the_same_description_again_keeps_the_lock(harness):
    a, b, late = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.5")
    for_a, _ = harness.call(a, b)
    a.send(RTP, for_a)
    harness.turn()
    assert harness.call(a, b) == (for_a, _)
    late.send(NEXT, for_a)
    harness.turn()
    assert b.received() == [RTP]


def test_a_peer_that_is_gone_does_not_disturb_other_sessions(harness):
    a, b, c, d = (harness.peer(f"127.0.0.{n}") for n in range(5, 9))
    for_a, for_b = harness.call(a, b)
    for_c, _ = harness.call(c, d, "other")
    for peer, port in ((a, for_a), (b, for_b), (c, for_c)):
        peer.send(RTP, port)
    harness.turn()
    b.sock.close()
    for _ in range(4):
        a.send(RTP, for_a)
        harness.turn()
        c.send(RTP, for_c)
        harness.turn()
    assert len(d.received()) == 5
    assert harness.relay.drops[("refused",)] >= 1


@pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
def test_forged_icmp_errors_cost_no_packet(harness):
    """The kernel reports an error in place of sending the next packet, whoever has sent it."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, for_b = harness.call(a, b)
    a.send(RTP, for_a)
    b.send(NEXT, for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([NEXT], [RTP])
    for _ in range(20):
        a.send(RTP, for_a)
        icmp("127.0.0.200", Source("127.0.0.1", for_b), Source(b.host, b.port), b"")
        harness.turn()
        assert b.received() == [RTP]
        b.send(NEXT, for_b)
        icmp("127.0.0.200", Source("127.0.0.1", for_a), Source(a.host, a.port), b"")
        harness.turn()
        assert a.received() == [NEXT]


def test_a_large_packet_is_dropped_and_not_truncated(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, _ = harness.call(a, b)
    whole = RTP.ljust(limits.MEDIA_PACKET_BYTES, b"\0")
    for data in (whole, whole + b"\0", whole):  # the second comes after the lock, but is still checked
        a.send(data, for_a)
    harness.turn()
    a.send(whole + b"\0", for_a)
    harness.turn()
    assert b.received() == [whole, whole]
    assert harness.relay.drops == {("invalid",): 2}


def test_a_turn_is_bounded(harness):
    pairs = [(harness.peer("127.0.0.5"), harness.peer("127.0.0.6")) for _ in range(4)]
    ports = [harness.call(a, b, f"c{n}")[0] for n, (a, b) in enumerate(pairs)]
    for (a, _), port in zip(pairs, ports, strict=True):
        a.send(RTP, port)
    harness.turn()
    sent = 0
    for _ in range(90):
        for (a, _), port in zip(pairs, ports, strict=True):
            a.send(RTP, port)
            sent += 1
    assert harness.relay.turn() == len(pairs) < sent  # one of each port
    harness.turn()
    assert harness.relay.packets == sent + len(pairs)


def test_ipv6_and_ipv4_peers_of_one_relay_each_have_their_family():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
    harness = RelayHarness("::1")
    a, b = harness.peer("::1"), harness.peer("::1")
    for_a, for_b = harness.call(a, b)
    a.send(RTP, for_a, "::1")
    harness.turn()
    b.send(NEXT, for_b, "::1")
    harness.turn()
    assert b.received() == [RTP]
    assert a.received() == [NEXT]
    harness.close()


def test_exhaustion_is_an_error_until_a_port_is_closed():
    first = free_range("127.0.0.1", 4)
    harness = RelayHarness(ports=(first, first + 3))
    harness.port(offer("c", "a", harness.peer("127.0.0.5").sdp()))
    with pytest.raises(NoPorts):
        harness.relay.open(harness.interfaces)
    harness.table.receive(Delete("c", "a"), harness.now)
    harness.relay.turn()
    for pair in harness.relay.open(harness.interfaces):
        pair.close()
        pair.close()
    assert harness.relay.ports_in_use == 0
    harness.close()


@pytest.mark.parametrize("held", [0, 1], ids=["of RTP", "of RTCP"])
def test_a_port_that_another_program_holds_is_skipped(held):
    first = free_range("127.0.0.1", 6)
    harness = RelayHarness(ports=(first, first + 5))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", first + held))
        assert {pair.port for pair in harness.relay.open(harness.interfaces)} == {first + 2, first + 4}
        with pytest.raises(NoPorts):
            harness.relay.open(harness.interfaces)
    assert harness.relay.ports_in_use == 4
    harness.relay.close()


def test_a_turn_is_bounded_however_many_ports_that_know_no_peer_are_flooded(harness):
    """A poll may report 128 of them, of which each may have 64 packets taken in one go."""
    flooder = harness.peer("127.0.0.66")
    for number in range(40):
        port = harness.port(offer(f"c{number}", "a", harness.peer("127.0.0.5").sdp()))
        for _ in range(2 * limits.MEDIA_LEARN_PACKETS // 3):
            flooder.send(RTP, port)
    assert limits.MEDIA_TURN_PACKETS <= harness.relay.turn() <= limits.MEDIA_TURN_PACKETS + limits.MEDIA_POLL_EVENTS
    harness.turn()
    assert harness.relay.drops["source",] == 40 * (2 * limits.MEDIA_LEARN_PACKETS // 3)


def test_a_turn_relays_from_more_ports_than_one_poll_reports():
    harness = RelayHarness(ports=(20000, 20999))
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    ports = [harness.call(a, b, f"c{n}")[0] for n in range(limits.MEDIA_POLL_EVENTS + 1)]
    harness.turn()
    for port in ports:
        a.send(RTP, port)
    for _ in range(2):
        harness.relay.turn()
    assert b.received() == [RTP] * len(ports)
    harness.close()


def test_after_a_bound_of_ports_in_use_elsewhere_a_pair_is_refused(monkeypatch):
    tried = []

    class SocketInUse(socket.socket):
        def bind(self, address):
            tried.append(address[1])
            raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(socket, "socket", SocketInUse)
    harness = RelayHarness()
    with pytest.raises(NoPorts, match="other programs"):
        harness.relay.open(harness.interfaces)
    assert len(set(tried)) == len(tried) == limits.MEDIA_PORT_TRIES
    harness.close()


def test_one_port_that_learns_takes_a_bounded_part_of_a_turn(harness):
    a, b, intruder = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.66")
    for_a, _ = harness.call(a, b)
    for _ in range(limits.MEDIA_LEARN_PACKETS + 1):
        intruder.send(RTP, for_a)
    assert harness.relay.turn() == limits.MEDIA_LEARN_PACKETS
    assert harness.relay.turn() == 1
    assert harness.relay.drops == {("source",): limits.MEDIA_LEARN_PACKETS + 1}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM], ids=errno.errorcode.get)
@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_a_port_that_the_kernel_will_not_watch_is_reported_and_tried_again(number, good):
    """``good``: ports that it takes before, of the four of a call."""
    faults = []
    harness = RelayHarness(failed=lambda error: faults.append(str(error)))
    loop = harness.relay.loop
    real = loop._epoll

    class FullEpoll:
        poll = real.poll

        def register(self, descriptor, events):
            nonlocal good
            if not good:
                raise OSError(number, os.strerror(number))
            good -= 1
            real.register(descriptor, events)

    loop._epoll = FullEpoll()
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.11")
    for_a, for_b = harness.call(a, b)
    a.send(RTP, for_a)
    b.send(RTP, for_b)
    harness.turn()
    harness.now += limits.RELAY_EVENT_SECONDS
    harness.turn()
    assert len(faults) == 1
    assert os.strerror(number) in faults[0]
    loop._epoll = real
    harness.now += limits.RELAY_EVENT_SECONDS
    for _ in range(2):
        harness.turn()
    assert (a.received(), b.received()) == ([RTP], [RTP])
    harness.close()


# --- T.38 -----------------------------------------------------------------------------------------------

FAX = [
    bytes.fromhex("0000 01 06 00 00"),  # t30-indicator no-signal, without redundancy
    bytes.fromhex("0001 01 02 01 01 06 00"),  # CNG, and the packet before it
    bytes.fromhex("c8c8 05 c0 01 80 00 ff 00"),  # a sequence number that looks like the type of RTCP
]
"""UDPTL packets (ITU-T T.38 9.1): sequence number, primary packet, and packets that repeat earlier ones."""


def fax_sdp(peer, port=None, protocol="udptl"):
    return (
        f"v=0\r\no=- 1 2 IN IP4 {peer.host}\r\ns=-\r\nc=IN IP4 {peer.host}\r\nt=0 0\r\n"
        f"m=image {port or peer.port} {protocol} t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\n"
        "a=T38FaxRateManagement:transferredTCF\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
    )


@pytest.mark.parametrize("protocol", ["udptl", "UDPTL"])
def test_audio_becomes_fax_and_audio_again(harness, protocol):
    """A gateway that hears a fax takes the section over (ITU-T T.38 annex D.2.2.4); the ports stay."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, for_b = harness.call(a, b)
    a.send(RTP, for_a)
    b.send(RTP, for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([RTP], [RTP])
    assert harness.port(offer("c", "b", fax_sdp(b, protocol=protocol), Zone.CORE, answerer="a")) == for_a
    b.send(NEXT, for_b)
    harness.turn()
    assert a.received() == [NEXT], "audio goes on until the answer"
    assert harness.port(answer("c", "b", "a", fax_sdp(a, protocol=protocol))) == for_b
    harness.turn()
    for packet in FAX:
        a.send(packet, for_a)
        b.send(packet, for_b)
        harness.turn()
    assert (a.received(), b.received()) == (FAX, FAX)
    (session,) = harness.table.sessions()
    session.look(0.0)
    assert [activity.rtp for activity in session.activity] == [0 + 4, 0 + 5], "none of them counts as RTCP"
    harness.port(offer("c", "a", a.sdp(), answerer="b"))
    harness.port(answer("c", "a", "b", b.sdp()))
    harness.turn()
    a.send(FAX[0], for_a)
    a.send(RTP, for_a)
    harness.turn()
    assert b.received() == [RTP]
    assert harness.relay.drops["invalid",] == 1


def test_a_fax_that_is_refused_leaves_audio_as_it_was(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_a, for_b = harness.call(a, b)
    harness.port(offer("c", "b", fax_sdp(b), Zone.CORE, answerer="a"))
    harness.table.receive(Rollback("c", "b"), harness.now)
    a.send(RTP, for_a)
    b.send(RTP, for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([RTP], [RTP])


def test_fax_in_a_section_of_its_own_beside_audio_that_ends(harness):
    """Some gateways reject the audio section and offer another one."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    harness.call(a, b)
    image = "m=image {} udptl t38\r\n"
    reply = harness.table.receive(
        offer("c", "a", a.sdp(lines=image.format(a.port)).replace(f"audio {a.port}", "audio 0"), answerer="b"), 0.0
    )
    for_b = parse_session(reply.sdp).media[1].port
    reply = harness.table.receive(
        answer("c", "a", "b", b.sdp(lines=image.format(b.port)).replace(f"audio {b.port}", "audio 0")), 0.0
    )
    audio, fax = parse_session(reply.sdp).media
    assert audio.port == 0
    assert str(fax.protocol) == "udptl"
    harness.turn()
    a.send(FAX[1], fax.port)
    b.send(FAX[1], for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([FAX[1]], [FAX[1]])


def test_a_datagram_that_is_too_short_for_udptl_is_not_relayed(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    harness.port(offer("c", "a", fax_sdp(a)))
    for_a = harness.port(answer("c", "a", "b", fax_sdp(b)))
    harness.turn()
    for packet in (b"", b"\0", FAX[0][:4]):
        a.send(packet, for_a)
        harness.turn()
    assert b.received() == []
    assert harness.relay.drops["invalid",] == 3


MUX = "a=rtcp-mux\r\n"


def offered_and_answered(harness, a, b, offered=MUX, answered=MUX, final=True):
    """The RTP ports for ``a`` and ``b`` of a call whose descriptions have these lines."""
    for_b = harness.port(offer("c", "a", a.sdp(lines=offered)))
    for_a = harness.port(answer("c", "a", "b", b.sdp(lines=answered), final=final))
    harness.turn()  # the relay closes what the answer closes
    return for_a, for_b


@pytest.mark.parametrize(
    ("offered", "answered", "ports"), [(MUX, MUX, 2), (MUX, "", 4), ("", "", 4)], ids=["both", "offer", "neither"]
)
def test_a_call_has_two_sockets_where_rtcp_shares_the_rtp_port(harness, offered, answered, ports):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    for_b = harness.port(offer("c", "a", a.sdp(lines=offered)))
    assert harness.relay.ports_in_use == 4  # the answer may have RTCP at a port of its own
    for_a = harness.port(answer("c", "a", "b", b.sdp(lines=answered)))
    assert harness.relay.ports_in_use == ports
    harness.turn()
    for port in (for_a, for_b):
        assert harness.relay.holds(Source("127.0.0.1", port))
        assert harness.relay.holds(Source("127.0.0.1", port + 1)) == (ports == 4)
    for data in (RTP, RTCP):
        a.send(data, for_a)
        b.send(data, for_b)
        harness.turn()
    assert (a.received(), b.received()) == ([RTP, RTCP], [RTP, RTCP])


def test_rtcp_has_its_port_again_where_a_later_answer_does_not_share(harness):
    a, b, b_rtcp = harness.peer("127.0.0.5"), harness.peer("127.0.0.6"), harness.peer("127.0.0.6")
    ports = offered_and_answered(harness, a, b)
    assert harness.relay.ports_in_use == 2
    again = offered_and_answered(harness, a, b, MUX, f"a=rtcp:{b_rtcp.port}\r\n")
    assert again == ports
    assert harness.relay.ports_in_use == 4
    harness.turn()
    b_rtcp.send(RTCP, ports[1] + 1)
    a_rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a_rtcp.bind((a.host, a.port + 1))
    harness.turn()
    assert a_rtcp.recv(100) == RTCP
    a_rtcp.close()
    (session,) = harness.table.sessions()
    assert sum(pair.packets for stream in session.streams for pair in stream.pairs) == 1
    assert offered_and_answered(harness, a, b) == ports
    assert harness.relay.ports_in_use == 2
    assert sum(pair.packets for stream in session.streams for pair in stream.pairs) == 1
    harness.table.receive(Delete("c", "a"), 0.0)
    assert harness.relay.ports_in_use == 0


def test_an_offer_that_does_not_share_has_a_port_for_rtcp_before_its_answer(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    offered_and_answered(harness, a, b)
    harness.port(offer("c", "a", a.sdp(), answerer="b"))
    assert harness.relay.ports_in_use == 4
    harness.table.receive(Rollback("c", "a"), 0.0)
    assert harness.relay.ports_in_use == 2


def test_a_provisional_answer_closes_no_port(harness):
    """Another answer may not share."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    offered_and_answered(harness, a, b, final=False)
    assert harness.relay.ports_in_use == 4
    harness.port(answer("c", "a", "b", b.sdp(lines=MUX)))
    assert harness.relay.ports_in_use == 2


def test_an_rtcp_port_that_another_program_has_taken_meanwhile(harness):
    """An offer that needs it is refused, and changes nothing; an answer that needs it is carried out without RTCP."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    ports = offered_and_answered(harness, a, b)
    harness.turn()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", ports[0] + 1))
        reply = harness.table.receive(offer("c", "a", a.sdp(), answerer="b"), 0.0)
        assert (reply.status, harness.relay.ports_in_use) == (503, 2)
        assert offered_and_answered(harness, a, b, MUX, "") == ports
        a.send(RTP, ports[0])
        b.send(RTP, ports[1])
        harness.turn()
        assert (a.received(), b.received()) == ([RTP], [RTP])
    offered_and_answered(harness, a, b, "", "")
    assert harness.relay.ports_in_use == 4


# --- peers that get another port -------------------------------------------------------------------------


def talk(harness, a, b, for_a, for_b):
    """A packet each way, which lock the latches."""
    a.send(RTP, for_a)
    b.send(RTP, for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([RTP], [RTP])


def refresh(harness, a, b):
    """A re-INVITE or UPDATE with the same descriptions."""
    harness.port(offer("c", "a", a.sdp(), answerer="b"))
    harness.port(answer("c", "a", "b", b.sdp()))
    harness.turn()


@pytest.mark.parametrize("offerer", ["a", "b"])
def test_after_a_repeated_description_a_peer_is_found_at_another_port(harness, offerer):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    moved = harness.peer("127.0.0.5")
    for_a, for_b = harness.call(a, b)
    talk(harness, a, b, for_a, for_b)
    moved.send(NEXT, for_a)
    harness.turn()
    assert b.received() == [], "the socket is connected to the peer"
    if offerer == "a":
        refresh(harness, a, b)
    else:
        harness.port(offer("c", "b", b.sdp(), Zone.CORE, answerer="a"))
        harness.port(answer("c", "b", "a", a.sdp()))
        harness.turn()
    b.send(RTP, for_b)
    harness.turn()
    assert a.received() == [RTP], "what is sent goes on to the known port"
    moved.send(NEXT, for_a)
    harness.turn()
    harness.now += limits.MEDIA_SIGNALLED_SECONDS
    moved.send(NEXT, for_a)
    harness.turn()
    assert b.received() == [NEXT]
    b.send(RTP, for_b)
    harness.turn()
    assert (moved.received(), a.received()) == ([RTP], [])


def test_after_a_repeated_description_peers_that_send_go_on_and_are_connected_again(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    other = harness.peer("127.0.0.5")
    for_a, for_b = harness.call(a, b)
    talk(harness, a, b, for_a, for_b)
    for _ in range(3):
        refresh(harness, a, b)
        other.send(NEXT, for_a)
        harness.turn()
        talk(harness, a, b, for_a, for_b)
        harness.now += 10.0
        dropped = harness.relay.drops["source",]
        other.send(NEXT, for_a)
        harness.turn()
        assert harness.relay.drops["source",] == dropped, "the kernel drops it again"
    assert b.received() == []


def test_an_offer_that_is_taken_back_and_an_answer_that_is_repeated_learn_nothing_again(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    other = harness.peer("127.0.0.5")
    for_a, for_b = harness.call(a, b)
    talk(harness, a, b, for_a, for_b)
    harness.port(answer("c", "a", "b", b.sdp()))
    harness.port(offer("c", "a", a.sdp(), answerer="b"))
    harness.table.receive(Rollback("c", "a"), harness.now)
    harness.turn()
    for _ in range(2):
        other.send(NEXT, for_a)
        harness.turn()
        harness.now += 10.0
    assert b.received() == []
    assert not harness.relay.drops


def call_with(harness, a, b, latch):
    """A call whose first peer has that mode."""
    for_b = harness.port(attrs.evolve(offer("c", "a", a.sdp()), latch=latch))
    return harness.port(answer("c", "a", "b", b.sdp())), for_b


def test_a_peer_that_roams_is_followed_after_silence(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    moved, elsewhere = harness.peer("127.0.0.5"), harness.peer("127.0.0.7")
    for_a, for_b = call_with(harness, a, b, LatchMode.ROAMING)
    talk(harness, a, b, for_a, for_b)
    moved.send(NEXT, for_a)
    harness.turn()
    assert b.received() == []
    harness.now += limits.MEDIA_ROAM_SECONDS
    elsewhere.send(NEXT, for_a)
    harness.turn()
    assert b.received() == []
    moved.send(NEXT, for_a)
    harness.turn()
    assert b.received() == [NEXT]
    b.send(RTP, for_b)
    harness.turn()
    assert (moved.received(), a.received()) == ([RTP], [])
    assert harness.relay.drops == {("source",): 2}
    harness.now += 1.0  # the event is due
    harness.turn()
    assert harness.relay.moves == 1


def test_rtcp_is_rare_and_its_port_follows_later(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    moved = harness.peer("127.0.0.5")
    for_a, _ = call_with(harness, a, b, LatchMode.ROAMING)
    harness.turn()
    (channel,) = [one for one in harness.relay.loop._by_number.values() if one.sock.getsockname()[1] == for_a + 1]
    channel.latch.restore(Source(a.host, a.port), False, 0.0)
    harness.now = limits.MEDIA_ROAM_RTCP_SECONDS - 1.0
    moved.send(RTCP, for_a + 1)
    harness.turn()
    assert channel.latch.peer.port == a.port
    harness.now += 1.0
    moved.send(RTCP, for_a + 1)
    harness.turn()
    assert channel.latch.peer.port == moved.port


def test_with_symmetric_off_the_signalled_port_gets_what_is_sent(harness):
    """RFC 3264 section 5.1: a peer may send from another port than the one at which it receives."""
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    sends = harness.peer("127.0.0.5")
    for_a, for_b = call_with(harness, a, b, LatchMode.SYMMETRIC_OFF)
    for _ in range(3):
        sends.send(NEXT, for_a)
        b.send(RTP, for_b)
        harness.turn()
        harness.now += limits.MEDIA_SIGNALLED_SECONDS
    assert (a.received(), sends.received(), b.received()) == ([RTP] * 3, [], [NEXT] * 2)
    a.send(RTP, for_a)
    harness.turn()
    b.send(RTP, for_b)
    harness.turn()
    assert (a.received(), b.received()) == ([RTP], [RTP])


def test_with_symmetric_off_and_a_limit_no_more_goes_there_than_came(harness):
    a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
    sends = harness.peer("127.0.0.5")
    command = attrs.evolve(offer("c", "a", a.sdp(), consent=Consent.NONE), latch=LatchMode.SYMMETRIC_OFF)
    for_b = harness.port(command)
    for_a = harness.port(answer("c", "a", "b", b.sdp()))
    harness.relay.turn()
    b.send(RTP, for_b)
    harness.turn()
    assert a.received() == []
    sends.send(RTP, for_a)
    harness.turn()
    harness.now += limits.MEDIA_SIGNALLED_SECONDS
    sends.send(RTP, for_a)
    harness.turn()
    for _ in range(3):
        b.send(RTP, for_b)
    harness.turn()
    assert (a.received(), sends.received()) == ([RTP], [])


# --- profiles that the relay does not know ---------------------------------------------------------------

OPAQUE = [b"\0", b"\r\n\r\n", b"\x20\x0b\0\0" + bytes(8), b"\x80\xc8" + bytes(40), bytes(limits.MEDIA_PACKET_BYTES)]


def test_datagrams_of_a_named_profile_are_relayed_whatever_they_are():
    harness = RelayHarness(opaque_profiles=["UDP/BFCP"])
    try:
        a, b = harness.peer("127.0.0.5"), harness.peer("127.0.0.6")
        described = [
            peer.sdp().replace("m=audio", "m=application").replace("RTP/AVP 0", "udp/bfcp *") for peer in (a, b)
        ]
        for_b = harness.port(offer("c", "a", described[0]))
        for_a = harness.port(answer("c", "a", "b", described[1]))
        harness.turn()
        for packet in OPAQUE:
            a.send(packet, for_a)
            b.send(packet, for_b)
            harness.turn()
        assert (a.received(), b.received()) == (OPAQUE, OPAQUE)
        a.send(b"", for_a)
        a.send(bytes(limits.MEDIA_PACKET_BYTES + 1), for_a)
        harness.turn()
        assert b.received() == []
        assert harness.relay.drops == {("invalid",): 2}
    finally:
        harness.close()
