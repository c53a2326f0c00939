"""Fuzz target: a session with its layers, on a wire that may cut, damage, repeat and lose what a real peer sends.

The first byte chooses the layers (``STACKS``): TCP, TLS, WebSocket, WebSocket over TLS, or TLS to a server. The peer of
TLS is OpenSSL. The second byte has options (``_Options``). Then follow steps (``_STEPS``): what the peer writes, how it
arrives, and time.

For any input:

- nothing is raised; ``end`` is set once, and after it nothing is received;
- the messages of an undamaged wire are those that the peer sent; with TLS, a damaged one still gives those that were
  whole before the damage, and none that the peer did not send;
- with TLS, the plaintext gives the same messages, end and counts as without; records are counted as they were sent;
- one flipped byte of a record ends the session;
- what the edge sends comes to the peer whole and in order, keep-alives are answered once a read, and what ends the
  session in order says so;
- after ``receive`` and ``expire``, the deadline of a session that goes on is in the future; the handshakes, the first
  message and each later one have absolute deadlines; no session ends before its deadline, and each at it; time in
  which the edge does not read counts only for the handshakes;
- no more is buffered than a message and a record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Transport
from edgesbc.sip.framing import PING, PONG
from edgesbc.streams.layer import WORK_KINDS, StreamEnd
from edgesbc.streams.session import StreamSession, client_session, server_session
from fuzz.buffered import buffered_bytes
from fuzz.stream_peer import NAME, Peer, TlsPeer, contexts
from fuzz.websocket import HANDSHAKE, unmasked_frames

__all__ = ["STACKS", "check"]

STACKS: Final = ("tcp", "tls", "ws", "wss", "tls client")
SIZES: Final = (0, 1, 100, 1_000, 5_000, 16_384, 40_000, 65_000, 70_000)
SECONDS: Final = (0.001, 1.0, 4.0, 9.0, 10.0, 11.0, 25.0, 29.0, 31.0, 60.0, 880.0, 901.0)
_RECORD = 16_384
"""Most bytes of plaintext in a record."""
_MOST_BYTES = 200_000
"""Of the wire, for one input."""
_BUFFERED = limits.MESSAGE_BYTES + 4 * _RECORD
_PING_SECONDS = 25.0
_BEGIN = 1_000.0
_NEVER = 1 << 40


def check(data: bytes) -> None:
    first, second = (data[:2] + b"\0\0")[:2]
    run = _Run(STACKS[first % len(STACKS)], _Options(second), data[2:])
    while run.step():
        pass
    run.finish()


class _Options:
    """What the second byte says."""

    def __init__(self, bits: int) -> None:
        self.has_old_tls = bool(bits & 1)
        """Whether a client has TLS 1.2."""
        self.has_pings = bool(bits & 2)
        """Whether the peer of a WebSocket is asked whether it is there."""
        self.ending = ("expire", "transport", "close", "close")[bits >> 2 & 3]
        """What ends a session that has come to the last step."""
        self.piece = (bits >> 4) * 16 or limits.STREAM_READ_BYTES
        """Bytes in which the rest arrives."""


class _Run:
    """One connection: the session, its peer, and the wire between them."""

    def __init__(self, stack: str, options: _Options, steps: bytes) -> None:
        self._stack = stack
        self._options = options
        self._steps = steps
        self._has_tls = "tls" in stack or stack == "wss"
        self._has_websocket = stack in ("ws", "wss")
        self._ping = _PING_SECONDS if self._has_websocket and options.has_pings else 0.0
        self._now = _BEGIN
        self._session, self._peer = self._connect()
        # With TLS, a session without it that is given each plaintext as it is written: what comes out is the same.
        transport = Transport.WS if self._has_websocket else Transport.TCP
        self._plain = server_session(transport, self._now)
        self._plain_messages: list[bytes] = []
        self._writes: list[tuple[int, int]] = [(0, 0)]  # wire bytes until then, and messages that are whole in them
        self._waiting: list[bytes] = []  # plaintexts that the peer writes once it is open
        self._sent: list[bytes] | None = []  # messages that the peer sent; None where that is not known
        # The wire.
        self._wire = bytearray()
        self._arrived = bytearray()
        self._written = 0
        self._damaged_at = _NEVER
        self._flipped_at: list[int] = []
        self._has_other_damage = False
        self._is_closed_by_peer = False
        # What the session has done.
        self._end: StreamEnd | None = None
        self._is_expired = False
        self._messages: list[bytes] = []
        self._open_by = self._session.deadline
        is_client = self._stack == "tls client"
        self._first_message = limits.IDLE_SECONDS if is_client else limits.FIRST_MESSAGE_SECONDS
        self._silent_until = self._now + self._first_message
        self._whole_by: float = _NEVER  # the deadline of a message that has begun and not ended
        self._was_open = self._session.is_open
        self._said: list[bytes] = []  # what the edge has sent to its peer
        self._owes_pong = False
        self._pings = 0
        self._take_output()
        self._write_from_peer()

    def _connect(self) -> tuple[StreamSession, Peer]:
        now = self._now
        if not self._has_tls:
            transport = Transport.WS if self._has_websocket else Transport.TCP
            return server_session(transport, now, ping=self._ping), Peer()
        known = contexts()
        if self._stack == "tls client":
            session = client_session(now, now + limits.CONNECT_SECONDS, known.edge_client, NAME)
            return session, TlsPeer(known.server, is_server=True)
        transport = Transport.WSS if self._has_websocket else Transport.TLS
        session = server_session(transport, now, known.edge_server, ping=self._ping)
        return session, TlsPeer(known.client_of_tls_1_2 if self._options.has_old_tls else known.client, is_server=False)

    # --- steps ---------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Take one step; false after the last."""
        if not self._steps or self._session.end is not None or self._written > _MOST_BYTES:
            return False
        letter = self._bytes(1)
        action = _STEPS.get(letter)
        if action is None:
            self._deliver(0)
        else:
            action(self)
        self._check_buffered()
        return True

    def _bytes(self, count: int) -> bytes:
        taken, self._steps = self._steps[:count], self._steps[count:]
        return taken

    def _number(self) -> int:
        return (self._bytes(1) or b"\0")[0]

    def send_request(self) -> None:
        """The opening request of a WebSocket."""
        if self._has_websocket:
            self._write(HANDSHAKE)

    def send_message(self) -> None:
        body = b"x" * SIZES[self._number() % len(SIZES)]
        message = b"OPTIONS sip:e SIP/2.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        self._send(message, 0x81)

    def send_keep_alive(self) -> None:
        self._send(PING, 0x81)

    def send_pong(self) -> None:
        """A pong, which is no message; on a stream, two of them are a ping."""
        if not self._has_websocket:
            self._sent = None
        self._write(frame(0x8A, b"") if self._has_websocket else PONG)

    def send_ping(self) -> None:
        if self._has_websocket:
            self._write(frame(0x89, b"p" * (self._number() % 126)))

    def send_close(self) -> None:
        if self._has_websocket:
            self._sent = None
            self._write(frame(0x88, (1000 + self._number()).to_bytes(2, "big")))

    def send_bytes(self) -> None:
        """Any plaintext."""
        self._sent = None
        self._write(self._bytes(self._number()))

    def send_close_notify(self) -> None:
        self._is_closed_by_peer |= self._has_tls and self._peer.is_open
        self._peer.close()
        self._write_from_peer()

    def deliver(self) -> None:
        self._deliver(self._number())

    def wait(self) -> None:
        """Time passes; what is due is done in time."""
        self._wait_until(self._now + SECONDS[self._number() % len(SECONDS)])

    def be_late(self) -> None:
        """Time passes, and what is due has to wait."""
        self._now += SECONDS[self._number() % len(SECONDS)]

    def be_busy(self) -> None:
        """Time passes in which nothing is read. It counts for no deadline, but for that of the handshakes."""
        session, seconds = self._session, SECONDS[self._number() % len(SECONDS)]
        due = session.deadline
        session.postpone(seconds)
        self._now += seconds
        if not session.is_open:
            assert session.deadline == due
            return
        assert session.deadline == due + seconds
        self._silent_until += seconds
        self._whole_by += seconds if self._whole_by != _NEVER else 0.0

    def flip(self) -> None:
        at, bits = self._position(), self._number() or 1
        if self._wire:
            self._wire[at] ^= bits
            self._flipped_at.append(len(self._arrived) + at)
            self._damage(at)

    def repeat(self) -> None:
        at, size = self._position(), self._number()
        self._wire[at:at] = self._wire[at : at + size]
        self._has_other_damage = True
        self._damage(at)

    def lose(self) -> None:
        at, size = self._position(), self._number()
        del self._wire[at : at + size]
        self._has_other_damage = True
        self._damage(at)

    def insert(self) -> None:
        """Bytes on the wire that the peer did not write."""
        data = self._bytes(self._number())
        at = self._position()
        self._wire[at:at] = data
        self._has_other_damage = True
        self._damage(at)

    def send(self) -> None:
        """A message of the edge."""
        self._send_from_edge(b"SIP" + b"y" * SIZES[self._number() % len(SIZES)] + b"\xff"[: self._number() & 1])

    def _position(self) -> int:
        number = self._number() << 8 | self._number()
        return number % len(self._wire) if self._wire else 0

    def _damage(self, at: int) -> None:
        self._damaged_at = min(self._damaged_at, len(self._arrived) + at)

    # --- the peer writes -----------------------------------------------------------------------------------

    def _send(self, message: bytes, first: int) -> None:
        if self._is_closed_by_peer:
            return
        fits = len(message) <= limits.MESSAGE_BYTES
        if self._sent is not None and fits:
            self._sent.append(message)
        else:
            self._sent = None
        self._write(frame(first, message) if self._has_websocket else message)

    def _write(self, plaintext: bytes) -> None:
        if plaintext and not self._is_closed_by_peer:
            self._waiting.append(plaintext)
            self._write_from_peer()

    def _write_from_peer(self) -> None:
        """Bring to the wire what the peer has to say."""
        peer = self._peer
        self._to_wire(peer.take())
        while self._waiting and peer.is_open:
            plaintext = self._waiting.pop(0)
            peer.write(plaintext)
            self._to_wire(peer.take())
            if self._has_tls:
                for at in range(0, len(plaintext), _RECORD):
                    self._plain_messages += self._plain.receive(plaintext[at : at + _RECORD], _BEGIN)
                    self._plain.take_output()
            self._writes.append((self._written, len(self._plain_messages)))

    def _to_wire(self, data: bytes) -> None:
        self._wire += data
        self._written += len(data)

    # --- the session ---------------------------------------------------------------------------------------

    def _deliver(self, size: int) -> None:
        """Deliver at most ``size`` bytes, or all that is on the wire, as the owner of a session does."""
        data = bytes(self._wire[: size or limits.STREAM_READ_BYTES])
        del self._wire[: len(data)]
        if not data or self._session.end is not None:
            return
        self._arrived += data
        session = self._session
        due = session.deadline
        messages = session.receive(data, self._now)
        self._messages += messages
        assert session.counts.messages == len(self._messages)
        assert session.counts.bytes_received == len(self._arrived)
        assert session.counts.new_work == sum(getattr(session.counts, kind.replace("-", "_")) for kind in WORK_KINDS)
        if messages:
            self._silent_until = self._now + limits.IDLE_SECONDS
        opens = session.is_open and not self._was_open
        # The answer to an opening request may have a Close frame behind it: nothing follows that.
        has_close = session.end is not None and (session.counts.close_frames > 0 or session.end.reason == "websocket")
        self._owes_pong = PING in messages and not (opens and has_close)
        if opens:
            self._was_open = True
            if not messages:
                self._silent_until = self._now + self._first_message
            self._take_output()
        self._check_deadline(due, bool(messages))
        for message in messages:
            if message != PING:
                self._send_from_edge(message)
        self._look_at_end()
        self._take_output()
        self._compare()

    def _send_from_edge(self, message: bytes) -> None:
        if self._session.is_open:
            data = self._session.send(message)
            if data:
                self._said.append(message)
                self._peer.feed(data)
                self._write_from_peer()
            else:
                assert self._session.end is not None

    def _take_output(self) -> None:
        self._peer.feed(self._session.take_output())
        if self._owes_pong:
            self._owes_pong = False
            self._said.append(PONG)
        self._write_from_peer()

    def _look_at_end(self) -> None:
        end = self._session.end
        assert self._end is None or end is self._end
        if end is not None and self._end is None:
            self._end = end
            assert not self._session.receive(b"OPTIONS sip:e SIP/2.0\r\nContent-Length: 0\r\n\r\n", self._now)
            self._session.counts.bytes_received = len(self._arrived)
            self._session.close()

    # --- promises ------------------------------------------------------------------------------------------

    def _check_deadline(self, due: float, completes: bool) -> None:
        """Look at a session that has received what ``completes`` a message or not; before, its deadline was ``due``."""
        session, now = self._session, self._now
        if session.end is not None:
            self._is_expired = session.end.detail == "the peer took too long"
            assert not self._is_expired or now >= min(due, self._silent_until)
            return
        assert session.deadline > now
        if not session.is_open:
            assert session.deadline == self._open_by
            return
        if not session.layer.pending:
            self._whole_by = _NEVER
        elif completes or self._whole_by == _NEVER:
            self._whole_by = now + limits.MESSAGE_SECONDS
        end_by = self._silent_until if self._whole_by == _NEVER else self._whole_by
        assert session.deadline == min(end_by, now + (self._ping or _NEVER))

    def _wait_until(self, then: float) -> None:
        session = self._session
        while session.end is None and session.deadline <= then:
            before = max(self._now, session.deadline - 0.0005)
            self._expire(before)
            self._expire(max(self._now, session.deadline))
        if session.end is None:
            self._now = then
            self._expire(then)

    def _expire(self, now: float) -> None:
        session = self._session
        deadline = session.deadline
        session.expire(now)
        self._now = now
        if now < deadline:
            assert session.end is None
            assert session.deadline == deadline
        elif session.end is None:
            assert self._ping
            assert deadline < session.deadline <= now + limits.PONG_SECONDS
            self._pings += 1
        else:
            self._is_expired = True
            assert session.end.reason == ("timeout" if session.is_open else "handshake")
        self._look_at_end()
        self._take_output()

    def _check_buffered(self) -> None:
        if self._session.end is None:
            assert buffered_bytes(self._session.layer) <= _BUFFERED

    def _compare(self) -> None:
        """Compare the messages with those that the peer sent, and, with TLS, with those of its plaintext."""
        if self._sent is not None and self._damaged_at == _NEVER:
            assert self._messages == self._sent[: len(self._messages)]
        if not self._has_tls:
            return
        assert self._messages == self._plain_messages[: len(self._messages)]
        whole = min(len(self._arrived), self._damaged_at)
        assert len(self._messages) >= max(messages for end, messages in self._writes if end <= whole)

    def finish(self) -> None:
        """Deliver what is left, end the connection, and compare all that has been seen."""
        while self._wire and self._session.end is None:
            self._deliver(self._options.piece)
            self._check_buffered()
        is_undamaged = self._damaged_at == _NEVER
        has_all = not self._wire and not self._waiting and not self._is_expired
        if has_all and is_undamaged:
            self._check_whole()
        elif has_all and self._flipped_at == [self._damaged_at] and not self._has_other_damage:
            self._check_flip()
        if not self._has_tls and not self._is_expired:
            self._compare_with_pieces()
        self._end_connection()
        if self._was_open:
            self._check_said()

    def _check_whole(self) -> None:
        """Everything has come, as it was sent."""
        session = self._session
        if self._sent is not None and (session.end is None or not session.end.reason):
            assert self._messages == (self._sent if session.is_open else [])
        if not self._has_tls or not self._peer.is_open:
            return
        assert self._messages == self._plain_messages
        plain, end = self._plain, session.end
        if plain.end is not None:
            assert end is not None
            assert (end.reason, end.detail, end.broken) == (plain.end.reason, plain.end.detail, plain.end.broken)
        elif end is not None:
            assert self._is_closed_by_peer
            assert end.reason == ("" if session.is_open else "handshake")
        for name in ("pings", "pongs", "fragments", "close_frames", "messages"):
            assert getattr(session.counts, name) == getattr(plain.counts, name)
        if self._stack != "tls client":
            handshake = 4 if self._options.has_old_tls else 3
            count = len(records(self._arrived)) - handshake
            if plain.end is None:
                assert session.counts.records == count
                assert session.counts.empty_records == self._is_closed_by_peer
            else:  # what follows in the same read is not decrypted
                assert session.counts.records <= count

    def _check_flip(self) -> None:
        """One byte of the content of a record after the handshake has changed: it cannot be authentic."""
        at = self._flipped_at[0]
        if self._has_tls and len(self._writes) > 1 and at >= self._writes[1][0]:
            bodies = records(self._arrived)
            if any(start + 5 <= at < end for start, end in bodies):
                assert self._session.end is not None

    def _compare_with_pieces(self) -> None:
        """What arrived, in one piece."""
        transport = Transport.WS if self._has_websocket else Transport.TCP
        whole = server_session(transport, 0.0)
        messages = whole.receive(bytes(self._arrived), 0.0)
        end = self._session.end
        assert (whole.end is None) == (end is None)
        if whole.end is not None and end is not None:
            assert (end.reason, end.detail) == (whole.end.reason, whole.end.detail)
        if whole.end is None or self._has_websocket:
            assert messages == self._messages
        else:
            assert messages == self._messages[: len(messages)]

    def _end_connection(self) -> None:
        session = self._session
        ending = self._options.ending
        if session.layer.ended:
            return
        if ending == "expire":
            for _ in range(4):
                if session.end is None:
                    self._expire(max(self._now, session.deadline))
            assert session.end is not None
        elif ending == "transport":
            was_open = session.is_open
            session.receive_end()
            assert session.end is not None
            assert session.end.reason == ("" if was_open else "handshake")
            self._look_at_end()
            self._take_output()
        else:
            session.close()
            self._take_output()

    def _check_said(self) -> None:
        """What the edge has sent has come to the peer, up to a failure of TLS."""
        peer, end = self._peer, self._session.end
        received = bytes(peer.received)
        has_failed = end is not None and end.cause is not None
        if self._has_websocket:
            frames = list(unmasked_frames(received.partition(b"\r\n\r\n")[2]))
            said = [content for opcode, content in frames if opcode < 8]
            opcodes = [opcode for opcode, _ in frames]
            if not has_failed:
                assert opcodes[-1:] == [8]
                assert opcodes.count(8) == 1
                assert opcodes.count(9) == self._pings
                assert said == self._said
            assert said == self._said[: len(said)]
        elif has_failed:
            assert b"".join(self._said).startswith(received)
        else:
            assert b"".join(self._said) == received
        if self._has_tls:
            assert peer.was_closed != has_failed
            assert peer.failed == has_failed


def frame(first: int, content: bytes) -> bytes:
    """A frame of a client; its mask changes nothing."""
    size = len(content)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + content


def records(data: bytes | bytearray) -> list[tuple[int, int]]:
    """Begin and end of each whole record of TLS (RFC 8446 section 5.1)."""
    found = []
    at = 0
    while len(data) - at >= 5:
        end = at + 5 + (data[at + 3] << 8 | data[at + 4])
        if end > len(data):
            break
        found.append((at, end))
        at = end
    return found


_STEPS: dict[bytes, Callable[[_Run], None]] = {
    b"h": _Run.send_request,
    b"m": _Run.send_message,
    b"k": _Run.send_keep_alive,
    b"o": _Run.send_pong,
    b"p": _Run.send_ping,
    b"c": _Run.send_close,
    b"b": _Run.send_bytes,
    b"z": _Run.send_close_notify,
    b"d": _Run.deliver,
    b"w": _Run.wait,
    b"l": _Run.be_late,
    b"q": _Run.be_busy,
    b"f": _Run.flip,
    b"r": _Run.repeat,
    b"x": _Run.lose,
    b"i": _Run.insert,
    b"s": _Run.send,
}
"""What each letter does; its operands follow. Any other byte delivers what is on the wire."""
