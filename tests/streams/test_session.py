"""A connection without I/O: deadlines, keep-alive, the end, and what is counted, on a clock that the test holds."""

from __future__ import annotations

import math
import ssl

import pytest
from support.certificates import Certificates
from support.tls_peer import TlsPeer, client_to

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.sip.framing import PING, PONG
from edgesbc.streams.frames import message_frame
from edgesbc.streams.layer import WORK_KINDS
from edgesbc.streams.session import StreamSession, client_session, server_session
from edgesbc.transport.tls import client_context, server_context

MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\n\r\nbody"
NOT_FRAMED = b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\nContent-Length: 0\r\n\r\nbody"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING_FRAME = b"\x89\x80\0\0\0\0"
BEGAN = 1_000.0
STREAMS = (Transport.TCP, Transport.TLS, Transport.WS, Transport.WSS)

transports = pytest.mark.parametrize("transport", STREAMS)
handshaking = pytest.mark.parametrize("transport", STREAMS[1:])


class Peer:
    """A session of a server, and its client: what the client writes is masked and encrypted as the transport wants."""

    def __init__(
        self,
        transport: Transport,
        certificates: Certificates,
        now: float = BEGAN,
        ping: float = 0.0,
        idle: float = math.inf,
    ) -> None:
        self.transport = transport
        context: ssl.SSLContext | None = None
        if transport.secure:
            listener = ListenSettings(Zone.PUBLIC, transport, Source("127.0.0.1", 0))
            context = server_context(listener, certificates.folder)
        self.session = server_session(transport, now, context, ping=ping, unregistered_idle=idle)
        self.websocket = transport in (Transport.WS, Transport.WSS)
        self.tls: TlsPeer | None = client_to(certificates.ca_file) if context is not None else None

    def open(self, now: float = BEGAN) -> StreamSession:
        """Make all handshakes."""
        messages = self.session.receive(self.opening(now), now) if self.transport is not Transport.TCP else []
        assert messages == []
        assert self.session.is_open
        self.read()
        return self.session

    def opening(self, now: float = BEGAN) -> bytes:
        """The last bytes of the opening handshakes; all before them are exchanged."""
        data = b""
        if self.tls is not None:
            self.tls.receive()
            self.session.receive(self.tls.output(), now)
            self.tls.receive(self.session.take_output())
            data = self.tls.output()
        return data + (self.encrypted(UPGRADE) if self.websocket else b"")

    def encrypted(self, data: bytes) -> bytes:
        return data if self.tls is None else self.tls.send(data)

    def written(self, message: bytes) -> bytes:
        """The bytes of one message."""
        if not self.websocket:
            return self.encrypted(message)
        frame = message_frame(message)
        header = frame[: len(frame) - len(message)]
        return self.encrypted(header[:1] + bytes((header[1] | 0x80,)) + header[2:] + bytes(4) + message)

    def read(self, data: bytes = b"") -> bytes:
        """What the session has written: ``data`` and its output, decrypted."""
        data += self.session.take_output()
        return data if self.tls is None else self.tls.receive(data)


@pytest.fixture
def peer(transport: Transport, certificates: Certificates) -> Peer:
    return Peer(transport, certificates)


def framed(peer: Peer, message: bytes) -> bytes:
    """What a client reads for a message of the session."""
    return message_frame(message) if peer.websocket else message


# --- deadlines -------------------------------------------------------------------------------------------


@handshaking
def test_the_opening_has_an_absolute_deadline(peer: Peer) -> None:
    session = peer.session
    opening = peer.opening()
    for second, byte in enumerate(opening[:8], 1):
        assert session.deadline == BEGAN + limits.HANDSHAKE_SECONDS, "no byte extends it"
        session.receive(bytes((byte,)), BEGAN + second)
    session.expire(BEGAN + limits.HANDSHAKE_SECONDS - 0.001)
    assert session.end is None
    session.expire(BEGAN + limits.HANDSHAKE_SECONDS)
    assert session.end is not None
    assert session.end.reason == "handshake"
    assert session.receive(opening[8:], BEGAN + limits.HANDSHAKE_SECONDS) == []
    assert not session.is_open


@handshaking
def test_the_deadline_of_the_first_message_begins_when_all_handshakes_are_complete(peer: Peer) -> None:
    later = BEGAN + limits.HANDSHAKE_SECONDS - 1
    assert peer.open(later).deadline == later + limits.FIRST_MESSAGE_SECONDS


def test_tcp_is_open_at_once(certificates: Certificates) -> None:
    session = Peer(Transport.TCP, certificates).session
    assert session.is_open
    assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS


@transports
def test_without_a_first_message_it_ends_sooner_than_idle(peer: Peer) -> None:
    session = peer.open()
    session.expire(BEGAN + limits.FIRST_MESSAGE_SECONDS)
    assert session.end is not None
    assert session.end.reason == "timeout"


@transports
@pytest.mark.parametrize("message", [MESSAGE, PING])
def test_between_messages_the_peer_may_be_idle(peer: Peer, message: bytes) -> None:
    session = peer.open()
    now = BEGAN + 20
    assert session.receive(peer.written(message), now) == [message]
    assert session.deadline == now + limits.IDLE_SECONDS
    session.expire(now + limits.IDLE_SECONDS - 0.001)
    assert session.end is None
    session.expire(now + limits.IDLE_SECONDS)
    assert session.end is not None
    assert session.end.reason == "timeout"


@transports
def test_a_message_has_a_deadline_from_its_first_byte_to_its_last(peer: Peer) -> None:
    session = peer.open()
    data = peer.written(MESSAGE)
    for number, byte in enumerate(data[:-1]):
        assert session.receive(bytes((byte,)), BEGAN + number / 100) == []
        assert session.deadline == BEGAN + limits.MESSAGE_SECONDS, "no byte extends it"
    session.receive(data[-1:], BEGAN + 9)
    assert session.deadline == BEGAN + 9 + limits.IDLE_SECONDS
    assert session.receive(peer.written(MESSAGE)[:3], BEGAN + 500) == []
    assert session.deadline == BEGAN + 500 + limits.MESSAGE_SECONDS


@transports
def test_the_deadline_of_a_message_begins_anew_with_the_next(peer: Peer) -> None:
    """A read may end one message and begin another."""
    session = peer.open()
    one, two = peer.written(MESSAGE), peer.written(MESSAGE)
    session.receive(one[:9], BEGAN)
    assert session.receive(one[9:] + two[:9], BEGAN + 5) == [MESSAGE]
    assert session.deadline == BEGAN + 5 + limits.MESSAGE_SECONDS
    assert session.receive(two[9:], BEGAN + 6) == [MESSAGE]
    assert session.deadline == BEGAN + 6 + limits.IDLE_SECONDS


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_control_frames_extend_nothing(peer: Peer) -> None:
    session = peer.open()
    for second in range(1, 30):
        assert session.receive(peer.encrypted(b"\x89\x80\0\0\0\0"), BEGAN + second) == []
        assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS
    session.receive(peer.encrypted(b"\x01\x80\0\0\0\0"), BEGAN + 12)
    for second in range(13, 20):
        session.receive(peer.encrypted(b"\x89\x80\0\0\0\0\x00\x80\0\0\0\0"), BEGAN + second)
        assert session.deadline == BEGAN + 12 + limits.MESSAGE_SECONDS


@pytest.mark.parametrize("seconds", [limits.FIRST_MESSAGE_SECONDS, limits.FIRST_MESSAGE_SECONDS + 1.0])
def test_a_control_frame_that_ends_after_the_deadline_of_the_first_message(
    seconds: float, certificates: Certificates
) -> None:
    peer = Peer(Transport.WS, certificates)
    session = peer.open()
    session.receive(PING_FRAME[:3], BEGAN + limits.FIRST_MESSAGE_SECONDS - 1.0)
    assert session.deadline > BEGAN + limits.FIRST_MESSAGE_SECONDS
    session.receive(PING_FRAME[3:], BEGAN + seconds)
    assert session.end is not None
    assert session.end.reason == "timeout"


@handshaking
def test_a_piece_of_a_handshake_after_its_deadline(peer: Peer) -> None:
    opening = peer.opening()
    peer.session.receive(opening[:-1], BEGAN + limits.HANDSHAKE_SECONDS)
    assert peer.session.end is not None
    assert peer.session.end.reason == "handshake"


def test_records_without_data_extend_nothing(certificates: Certificates) -> None:
    """A record that trickles has the deadline of a message; once it is whole and empty, the earlier one holds again."""
    peer = Peer(Transport.TLS, certificates)
    session = peer.open()
    data = peer.written(MESSAGE)
    session.receive(data[:3], BEGAN + 4)
    assert session.deadline == BEGAN + 4 + limits.MESSAGE_SECONDS
    session.receive(data[3:7], BEGAN + 12)
    assert session.deadline == BEGAN + 4 + limits.MESSAGE_SECONDS
    session.receive(data[7:], BEGAN + 13)
    assert session.deadline == BEGAN + 13 + limits.IDLE_SECONDS


@transports
def test_time_in_which_nothing_is_read_counts_for_no_deadline_of_an_open_session(peer: Peer) -> None:
    opening_deadline = peer.session.deadline
    if not peer.session.is_open:
        peer.session.postpone(5.0)
        assert peer.session.deadline == opening_deadline
        peer.session.postpone(2.0, opening=True)
        assert peer.session.deadline == opening_deadline + 2.0
        peer.session.expire(opening_deadline)
    session = peer.open()
    session.postpone(5.0)
    assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS + 5
    session.receive(peer.written(MESSAGE)[:9], BEGAN + 6)
    session.postpone(2.5)
    assert session.deadline == BEGAN + 6 + limits.MESSAGE_SECONDS + 2.5
    session.expire(BEGAN + 6 + limits.MESSAGE_SECONDS)
    assert session.end is None


def test_a_pong_on_tcp_is_no_message(certificates: Certificates) -> None:
    session = Peer(Transport.TCP, certificates).session
    assert session.receive(PONG, BEGAN + 3) == []
    assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS


# --- peers that have proven nothing ----------------------------------------------------------------------

IDLE = 60.0


@transports
@pytest.mark.parametrize("keep_alive", [PING, PING * 3, b""])
def test_a_peer_that_is_not_spared_has_less_time_for_its_first_message(
    transport: Transport, certificates: Certificates, keep_alive: bytes
) -> None:
    """Keep-alives are none, of whichever form."""
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    for second in range(1, 30):
        assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS
        if keep_alive:
            session.receive(peer.written(keep_alive), BEGAN + second)
        elif peer.websocket:
            session.receive(peer.encrypted(PING_FRAME), BEGAN + second)
    session.expire(BEGAN + limits.FIRST_MESSAGE_SECONDS - 0.001)
    assert session.end is None
    session.expire(BEGAN + limits.FIRST_MESSAGE_SECONDS)
    assert session.end is not None
    assert (session.end.reason, "neither registered" in session.end.detail) == ("timeout", True)


@transports
def test_each_message_gives_a_peer_that_is_not_spared_the_same_time_and_a_keep_alive_none(
    transport: Transport, certificates: Certificates
) -> None:
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    for minute in range(1, 20):
        now = BEGAN + 50 * minute - 25
        session.receive(peer.written(MESSAGE), now)
        assert session.deadline == now + IDLE
        session.receive(peer.written(PING), now + 49)
        assert session.deadline == now + IDLE
    session.receive(peer.written(PING), now + IDLE)
    session.expire(now + IDLE)
    assert session.end is not None


@pytest.mark.parametrize("blank", [b"", b"\r\n", b"\r\n\r\n\r\n", b"\0\0\0\0"])
def test_a_blank_message_of_a_websocket_is_a_keep_alive(certificates: Certificates, blank: bytes) -> None:
    peer = Peer(Transport.WS, certificates, idle=IDLE)
    session = peer.open()
    assert session.receive(peer.written(blank), BEGAN + 20) == [blank]
    assert session.deadline == BEGAN + limits.FIRST_MESSAGE_SECONDS


def test_a_shorter_silence_holds_for_the_first_message_too(certificates: Certificates) -> None:
    assert Peer(Transport.TCP, certificates, idle=7.0).session.deadline == BEGAN + 7.0
    assert Peer(Transport.WS, certificates, idle=7.0).open().deadline == BEGAN + 7.0


@transports
def test_a_peer_that_is_spared_may_be_silent_and_is_looked_at_again(
    transport: Transport, certificates: Certificates
) -> None:
    """What it has proven may end, and then it has no more time than others."""
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    for look in range(1, 5):
        assert session.deadline == BEGAN + look * IDLE
        session.expire(session.deadline, spared=True)
        assert session.end is None
    session.receive(peer.written(PING), BEGAN + 299)
    session.expire(BEGAN + 5 * IDLE, spared=False)
    assert session.end is not None, "keep-alives do not help a peer that has lost what it had proven"


@transports
def test_a_peer_that_is_spared_has_the_idle_time_of_all_and_its_keep_alives_extend_it(
    transport: Transport, certificates: Certificates
) -> None:
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    while session.end is None and session.deadline < BEGAN + 1_800:
        now = session.deadline
        session.expire(now, spared=True)
        if now < BEGAN + 900:
            session.receive(peer.encrypted(PING_FRAME) if peer.websocket else peer.written(PING), now)
            last = now
    assert session.end is not None
    assert now == last + limits.IDLE_SECONDS


@transports
def test_a_message_that_has_begun_may_end_after_the_silence(transport: Transport, certificates: Certificates) -> None:
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    data = peer.written(MESSAGE)
    session.receive(data[:9], BEGAN + IDLE - 1)
    session.expire(BEGAN + IDLE)
    assert session.end is None
    assert session.receive(data[9:], BEGAN + IDLE + 5) == [MESSAGE]
    assert session.deadline == BEGAN + IDLE + 5 + IDLE


def test_keep_alives_between_parts_of_messages_extend_nothing(certificates: Certificates) -> None:
    """A fragment of a WebSocket that never ends is a part of a message; a message of TCP that never ends has its own
    deadline."""
    peer = Peer(Transport.WS, certificates, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    last = BEGAN + IDLE + limits.MESSAGE_SECONDS
    now = BEGAN
    while session.end is None:
        now = min(now + 3, session.deadline)
        session.expire(now)
        if session.end is None:  # a blank message, and the beginning of another
            session.receive(b"\0\x80\0\0\0\0" if session.layer.pending else b"", now)
            session.receive(b"\x01\x80\0\0\0\0", now)
    assert now <= last


@transports
def test_time_in_which_nothing_is_read_does_not_count(transport: Transport, certificates: Certificates) -> None:
    peer = Peer(transport, certificates, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    session.postpone(7.0)
    assert session.deadline == BEGAN + IDLE + 7.0
    session.expire(BEGAN + IDLE + 7.0)
    assert session.end is not None


def test_the_edge_asks_a_silent_websocket_all_the_same(certificates: Certificates) -> None:
    peer = Peer(Transport.WS, certificates, ping=20.0, idle=IDLE)
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    for second in (20, 40, 60):
        assert session.deadline == BEGAN + second
        session.expire(BEGAN + second, spared=True)
        assert peer.read() == b"\x89\x00"
        session.receive(b"\x8a\x80\0\0\0\0", BEGAN + second)


# --- keep-alive ------------------------------------------------------------------------------------------


@transports
def test_all_pings_of_one_read_get_one_pong(peer: Peer) -> None:
    """Pings are passed on as well, since they are screened."""
    session = peer.open()
    assert session.receive(peer.written(PING) + peer.written(PING) + peer.written(PING), BEGAN) == [PING] * 3
    assert peer.read() == framed(peer, PONG)
    assert peer.read() == b""
    assert session.receive(peer.written(PING), BEGAN) == [PING]
    assert peer.read() == framed(peer, PONG)


@transports
def test_the_pong_comes_after_the_answers_of_its_read(peer: Peer) -> None:
    """The bytes of ``send`` come first, in the order in which they were got: encryption has an order."""
    session = peer.open()
    session.receive(peer.written(PING) + peer.written(MESSAGE), BEGAN)
    answer = session.send(MESSAGE)
    assert peer.read(answer) == framed(peer, MESSAGE) + framed(peer, PONG)


@transports
def test_a_pong_comes_before_the_end(peer: Peer) -> None:
    """A session that is closed upon a message in the same read as a ping, and one whose peer ends in that read."""
    session = peer.open()
    session.receive(peer.written(PING) + peer.written(MESSAGE), BEGAN)
    session.close()
    read = peer.read()
    assert read.startswith(framed(peer, PONG))
    assert read[len(framed(peer, PONG)) :] == (b"\x88\x02\x03\xe9" if peer.websocket else b"")
    assert peer.tls is None or peer.tls.ended
    assert session.send(MESSAGE) == b"" or peer.transport is Transport.TCP


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.WSS])
def test_a_ping_before_close_notify_is_answered(peer: Peer) -> None:
    session = peer.open()
    assert peer.tls is not None
    assert session.receive(peer.written(PING) + peer.tls.close(), BEGAN) == [PING]
    assert session.end is not None
    session.close()
    assert session.take_output() != b""


@transports
def test_a_ping_before_a_fatal_error_raises_nothing(peer: Peer) -> None:
    session = peer.open()
    session.receive(peer.written(PING) + b"\xff" * 40, BEGAN)
    session.close()
    session.take_output()
    assert session.end is not None


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_a_silent_websocket_is_asked_and_then_ended(transport: Transport, certificates: Certificates) -> None:
    peer = Peer(transport, certificates, ping=20.0)
    assert peer.session.deadline == BEGAN + limits.HANDSHAKE_SECONDS, "not before it is open"
    session = peer.open()
    session.receive(peer.written(MESSAGE), BEGAN)
    assert session.deadline == BEGAN + 20
    session.expire(BEGAN + 20)
    assert peer.read() == b"\x89\x00"
    assert session.deadline == BEGAN + 20 + limits.PONG_SECONDS
    session.receive(peer.encrypted(b"\x8a\x80\0\0\0\0"), BEGAN + 21)
    assert session.deadline == BEGAN + 41
    session.expire(BEGAN + 41)
    assert peer.read() == b"\x89\x00"
    session.expire(BEGAN + 41 + limits.PONG_SECONDS)
    assert session.end is not None
    assert session.end.reason == "timeout"


# --- the end ---------------------------------------------------------------------------------------------


@handshaking
def test_the_end_of_the_transport_before_it_is_open(peer: Peer) -> None:
    peer.session.receive_end()
    assert peer.session.end is not None
    assert peer.session.end.reason == "handshake"


@transports
def test_the_end_of_the_transport(peer: Peer) -> None:
    session = peer.open()
    session.receive(peer.written(MESSAGE) + peer.written(MESSAGE)[:9], BEGAN)
    session.receive_end()
    assert session.end is not None
    assert session.end.reason == ""
    assert session.end.error is None
    end = session.end
    session.expire(BEGAN + 10_000)
    session.receive_end()
    assert session.end is end, "the first reason stays"


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
def test_a_stream_that_cannot_be_framed(peer: Peer) -> None:
    session = peer.open()
    assert session.receive(peer.written(MESSAGE), BEGAN) == [MESSAGE]
    assert session.receive(peer.written(NOT_FRAMED + MESSAGE), BEGAN) == []
    assert session.end is not None
    assert session.end.reason == "framing"
    assert session.end.error is not None
    assert session.end.error.reason == "Content-Length stands twice"
    assert session.end.broken.startswith(NOT_FRAMED)
    assert peer.read(session.send(MESSAGE)) == MESSAGE, "it can still be answered"
    assert session.receive(peer.written(MESSAGE), BEGAN) == []


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_a_websocket_that_breaks_the_protocol(peer: Peer) -> None:
    session = peer.open()
    assert session.receive(peer.written(MESSAGE) + peer.encrypted(b"\x81\x05hello"), BEGAN) == [MESSAGE]
    assert session.end is not None
    assert (session.end.reason, session.end.error) == ("websocket", None)
    session.close()
    assert peer.read() == b"\x88\x02\x03\xea"
    assert peer.tls is None or peer.tls.ended


# --- handshakes with what follows ------------------------------------------------------------------------


@handshaking
def test_messages_that_come_with_the_end_of_the_handshakes(peer: Peer) -> None:
    session = peer.session
    data = peer.opening() + peer.written(MESSAGE) + peer.written(PING) + peer.written(MESSAGE)[:-1]
    assert session.receive(data, BEGAN + 5) == [MESSAGE, PING]
    assert session.is_open
    assert session.deadline == BEGAN + 5 + limits.MESSAGE_SECONDS
    answer, pong = peer.read(), framed(peer, PONG)
    assert answer.endswith(pong), "nothing comes before the answer to an Upgrade"
    assert answer.startswith(b"HTTP/1.1 101 " if peer.websocket else pong)


@handshaking
def test_handshakes_and_messages_byte_by_byte(peer: Peer) -> None:
    session = peer.session
    messages = []
    for byte in peer.opening() + peer.written(MESSAGE) + peer.written(MESSAGE):
        messages += session.receive(bytes((byte,)), BEGAN)
    assert messages == [MESSAGE] * 2


def test_a_client_session(certificates: Certificates) -> None:
    """It has its own deadline for the handshake, and speaks first."""
    settings = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0), client_ca=str(certificates.ca_file))
    server = TlsPeer(server_context(settings, certificates.folder))
    session = client_session(BEGAN, BEGAN + 3, client_context(settings, None), "localhost")
    assert session.deadline == BEGAN + 3
    assert not session.is_open
    server.receive(session.take_output())
    session.receive(server.output(), BEGAN + 1)
    assert session.is_open
    assert session.deadline == BEGAN + 1 + limits.IDLE_SECONDS, "the peer may have nothing to say while a call rings"
    assert server.receive(session.take_output() + session.send(MESSAGE)) == MESSAGE
    plain = client_session(BEGAN, BEGAN + 3)
    assert plain.is_open
    assert plain.deadline == BEGAN + limits.IDLE_SECONDS
    assert plain.send(MESSAGE) == MESSAGE


# --- counts ----------------------------------------------------------------------------------------------


@transports
def test_counts(peer: Peer) -> None:
    session = peer.open()
    before = session.counts.bytes_received
    data = peer.written(MESSAGE) + peer.written(PING) + peer.written(MESSAGE) + peer.written(MESSAGE)[:7]
    session.receive(data[:50], BEGAN)
    session.receive(data[50:], BEGAN)
    counts = session.counts
    assert counts.bytes_received == before + len(data)
    assert counts.messages == 3
    records = 3 + peer.websocket if peer.tls is not None else 0
    assert counts.records == records, "whole records after the TLS handshake, the one with the upgrade too"
    assert counts.empty_records == 0
    assert (counts.fragments, counts.pings, counts.pongs, counts.close_frames) == (0, 0, 0, 0)


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_counts_of_frames(peer: Peer) -> None:
    session = peer.open()
    mask = b"\x80\0\0\0\0"
    data = b"".join(first + mask for first in (b"\x89", b"\x8a", b"\x8a", b"\x01", b"\x89", b"\x00", b"\x80", b"\x88"))
    session.receive(peer.encrypted(data), BEGAN)
    counts = session.counts
    assert (counts.pings, counts.pongs, counts.close_frames) == (2, 2, 1)
    assert counts.fragments == 3
    assert counts.records == (2 if peer.tls is not None else 0)
    assert counts.new_work == 8
    assert dict(zip(WORK_KINDS, counts.take_work(), strict=True)) == {
        "close-frames": 1, "empty-records": 0, "fragments": 3, "partial-reads": 0, "pings": 2, "pongs": 2,
    }  # fmt: skip
    assert (counts.new_work, sum(counts.take_work())) == (0, 0)


@transports
def test_a_read_that_ends_within_a_message_is_work_unless_another_is_whole(peer: Peer) -> None:
    session = peer.open()
    session.counts.take_work()
    data = peer.written(MESSAGE)
    for number, part in enumerate((data[:9], data[9:20], data[20:30]), 1):
        session.receive(part, BEGAN)
        assert session.counts.new_work == session.counts.partial_reads == number
    session.receive(data[30:] + peer.written(MESSAGE)[:9], BEGAN)
    assert session.counts.messages == 1
    assert session.counts.partial_reads == 3
