"""The peers of ``bench soak``, in a process of its own: connections that come, ask a few times and end in many ways.

Each of ``--count`` places has one connection after the other. Every ``--every`` seconds it prints its counts as a line
of JSON. After ``--seconds`` none are opened. The last line follows when all have ended, or after ``--drain`` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.stream_client import NO_PORT_AT_BIND, OPTIONS, UPGRADE, masked_frame, tls_context

__all__ = ["CROWD", "DEADLINE_WAYS", "HOSTILE", "PUBLIC", "SHARES", "TRUNKS", "WAYS", "main"]

TRUNKS, CROWD, PUBLIC, HOSTILE = "trunk", "crowd", "public", "hostile"
"""Kinds of peers. A crowd is a trunk of more connections from one address than the edge takes. Public ones are no trunk
and behave as one; hostile ones are none, and get banned."""
SHARES = {TRUNKS: 0.7, CROWD: 0.15, PUBLIC: 0.1, HOSTILE: 0.05}
"""The share of each kind in all places."""
SOURCES = {
    TRUNKS: [f"127.33.0.{last}" for last in range(10, 50)],
    CROWD: ["127.33.0.9"],
    PUBLIC: [f"127.34.0.{last}" for last in range(10, 30)],
    HOSTILE: [f"127.35.0.{last}" for last in range(10, 20)],
}
WAYS = {
    "close": 20, "close_notify": 10, "Close frame": 20, "reset": 10, "half-close": 10, "cut handshake": 5,
    "silent handshake": 1, "garbage handshake": 3, "no message": 0.3, "cut message": 5, "slow message": 1, "garbage": 5,
    "silent": 3, "unread": 0.1,
}  # fmt: skip
"""How connections end, with the weight of each. ``no message``: opened, and then nothing comes. ``unread``: the peer
asks, and does not read the answers."""
DEADLINE_WAYS = frozenset(("silent handshake", "no message", "slow message", "silent", "unread"))
"""Those that the edge ends at one of its deadlines."""
_EARLY = frozenset(("cut handshake", "silent handshake", "garbage handshake", "no message"))
_NOT_PUBLIC = frozenset(("garbage handshake", "garbage", "unread"))
"""What a peer that is no trunk gets points for."""
ANSWER_SECONDS = 10.0
END_SECONDS = 45.0
"""How long a peer waits for the edge to end a connection: longer than each deadline that it waits for."""
UNREAD_SECONDS = 36.0
"""How long a peer reads nothing: longer than the edge waits for it to read."""
_UNREAD_REQUESTS = 600
_HOSTILE_REQUESTS = 40
_SMALL_SEGMENT = 536  # bytes: the kernel sizes the edge's send buffer by it, so that a few answers fill it
_ANSWER = b"SIP/2.0 200 "
_KEEP_ALIVE = b"\r\n\r\n"


class Plan(NamedTuple):
    """What one connection does."""

    kind: str
    transport: str
    source: str
    way: str
    life: float
    """Seconds from its opening to its end."""


class Failed(Exception):
    """The edge has not done what the plan expects; the text says what."""


class Counts:
    """What all connections have seen so far."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.asked = 0
        self.answered = 0
        self.refused = 0
        self.failed: Counter[str] = Counter()
        self.ways: Counter[str] = Counter()
        self.latencies: list[float] = []

    def line(self) -> dict[str, Any]:
        """The counts, and the latencies since the last call."""
        latencies, self.latencies = sorted(self.latencies), []
        return {
            "open": self.open, "opened": self.opened, "asked": self.asked, "answered": self.answered,
            "refused": self.refused, "failed": dict(self.failed), "ways": dict(self.ways),
            "p99_ms": latencies[len(latencies) * 99 // 100] * 1e3 if latencies else 0.0,
            "cpu": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        }  # fmt: skip


class Peer(asyncio.Protocol):
    """One connection from its opening to its end."""

    def __init__(
        self, plan: Plan, number: int, server: str, context: ssl.SSLContext | None, session: ssl.SSLSession | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._plan = plan
        self._server = server
        self._number = number * 1_000
        via = f"{plan.transport.upper()} {plan.source}"
        transport = plan.transport.replace("wss", "ws")
        self._request = OPTIONS.format(server=server, via=via, host=plan.source, transport=transport)
        self._is_websocket = plan.transport == "wss"
        self._mask = os.urandom(4)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, session=session)
        self._encrypted = False  # whether the TLS handshake is complete
        self._upgraded = False
        self._wire: asyncio.Transport | None = None
        self._ended = False
        self._half_closed = False
        self._mute = False  # whether what comes is discarded
        self._frames = b""
        self._tail = b""  # the last bytes of what has come, which may begin an answer
        self._received = 0  # bytes of SIP
        self.answers = 0
        self._change: asyncio.Future[None] | None = None

    @property
    def session(self) -> ssl.SSLSession | None:
        """To be resumed by a later connection; None if there is none."""
        try:
            return None if self._tls is None else self._tls.session
        except ValueError:
            return None  # OpenSSL has none after a failure

    # --- asyncio -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        if not self._mute:
            try:
                self._receive(data)
            except ssl.SSLError:
                self._mute = True  # the edge ends the connection: an alert says why
        self._wake()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for ``condition``; returns whether it was met in time."""
        end = self._loop.time() + seconds
        while not condition():
            left = end - self._loop.time()
            if left <= 0:
                return False
            self._change = self._loop.create_future()
            await asyncio.wait((self._change,), timeout=left)
        return True

    async def _rest(self, seconds: float) -> None:
        """Wait. Raises :class:`Failed` if the edge ends the connection meanwhile."""
        if await self._until(lambda: self._ended, seconds):
            raise Failed("ended early")

    async def _require(self, condition: Callable[[], bool], seconds: float, missing: str) -> None:
        """Wait for ``condition``. Raises :class:`Failed` if the edge ends the connection, or after ``seconds``."""
        if not await self._until(lambda: self._ended or condition(), seconds):
            raise Failed(missing)
        if not condition():
            raise Failed(f"{missing}: ended early")

    async def _await_end(self, seconds: float = END_SECONDS) -> None:
        """Wait until the edge has ended the connection. Raises :class:`Failed` if it does not."""
        if not await self._until(lambda: self._ended, seconds):
            raise Failed("not ended by the edge")

    # --- bytes ---------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if self._tls is None:
            self._receive_plain(data)
            return
        self._incoming.write(data)
        try:
            if not self._encrypted:
                self._shake_hands()
            while data := self._tls.read(65_536):
                self._receive_plain(data)
            self._mute = True  # close_notify has come
        except ssl.SSLWantReadError:
            pass

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
            self._encrypted = True
        finally:
            self._write_raw(self._outgoing.read())

    def _receive_plain(self, data: bytes) -> None:
        if not self._is_websocket:
            self._receive_sip(data)
            return
        self._frames += data
        if not self._upgraded:
            head, end, rest = self._frames.partition(_KEEP_ALIVE)
            if not end:
                return
            self._upgraded = head.startswith(b"HTTP/1.1 101 ")
            self._frames = rest
        while len(self._frames) >= 2:
            size, begin = self._frames[1], 2
            if size == 126:
                size, begin = int.from_bytes(self._frames[2:4], "big"), 4
            if len(self._frames) < begin + size:
                return
            opcode, content = self._frames[0] & 15, self._frames[begin : begin + size]
            self._frames = self._frames[begin + size :]
            if opcode == 9:  # Ping
                self._write(self._frame(0x8A, content))
            elif opcode <= 2:
                self._receive_sip(content)

    def _receive_sip(self, data: bytes) -> None:
        self._received += len(data)
        data = self._tail + data
        self.answers += data.count(_ANSWER)
        self._tail = data[1 - len(_ANSWER) :]

    def _frame(self, first: int, content: bytes) -> bytes:
        """A masked frame of at most 125 bytes."""
        masked = bytes(byte ^ self._mask[index % 4] for index, byte in enumerate(content))
        return bytes((first, 0x80 | len(content))) + self._mask + masked

    def _write_raw(self, data: bytes) -> None:
        assert self._wire is not None
        if data and not self._half_closed and not self._wire.is_closing():
            self._wire.write(data)

    def _write(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        self._write_raw(data)

    def _next_request(self) -> bytes:
        number = self._number = self._number + 1
        request = (self._request % (number, number, number)).encode()
        return masked_frame(request, self._mask) if self._is_websocket else request

    # --- a life --------------------------------------------------------------------------------------------

    async def live(self, counts: Counts, rng: random.Random) -> None:
        """Carry out the plan. Raises :class:`Failed` where the edge does not do what it expects, and ``OSError``."""
        began = self._loop.time()
        try:
            await self._connect()
            if self._plan.way in _EARLY and await self._end_early(rng):
                return
            await self._open()
            counts.opened += 1
            if self._plan.kind == HOSTILE:
                await self._attack(rng)
                return
            pauses = rng.randrange(1, 5)
            for _ in range(pauses):
                await self._ask(counts)
                await self._rest(max(0.0, self._plan.life - (self._loop.time() - began)) / pauses * rng.random())
                if rng.random() < 0.7:
                    await self._keep_alive()
            await self._rest(max(0.0, self._plan.life - (self._loop.time() - began)))
            await self._end(counts, rng)
        finally:
            if self._wire is not None:
                self._wire.abort()

    async def _connect(self) -> None:
        host, _, port = self._server.partition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, NO_PORT_AT_BIND, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._plan.way == "unread":
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL_SEGMENT)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.bind((self._plan.source, 0))
            await asyncio.wait_for(self._loop.sock_connect(sock, (host, int(port))), ANSWER_SECONDS)
            await self._loop.create_connection(lambda: self, sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _open(self) -> None:
        """All opening handshakes."""
        if self._tls is not None:
            try:
                self._shake_hands()
            except ssl.SSLWantReadError:
                pass
            await self._require(lambda: self._encrypted, ANSWER_SECONDS, "no TLS handshake")
        if self._is_websocket:
            self._write(self._upgrade())
            await self._require(lambda: self._upgraded, ANSWER_SECONDS, "no WebSocket")

    def _upgrade(self) -> bytes:
        return UPGRADE.format(server=self._server, key=base64.b64encode(os.urandom(16)).decode()).encode()

    async def _ask(self, counts: Counts) -> None:
        """One request and its answer."""
        expected = self.answers + 1
        counts.asked += 1
        began = self._loop.time()
        self._write(self._next_request())
        await self._require(lambda: self.answers >= expected, ANSWER_SECONDS, "no answer")
        counts.answered += 1
        counts.latencies.append(self._loop.time() - began)

    async def _keep_alive(self) -> None:
        """A keep-alive and its pong."""
        before = self._received
        self._write(self._frame(0x82, _KEEP_ALIVE) if self._is_websocket else _KEEP_ALIVE)
        await self._require(lambda: self._received > before, ANSWER_SECONDS, "no pong")

    async def _attack(self, rng: random.Random) -> None:
        """More requests than an unproven source may send, or bytes that are not SIP."""
        for _ in range(_HOSTILE_REQUESTS):
            self._write(self._next_request() if rng.random() < 0.9 else self._frame(0x82, b"x" * 100))
        await self._rest(self._plan.life)

    async def _end_early(self, rng: random.Random) -> bool:
        """Ways that do not end the opening handshake, or do not begin the first message; False for those that do."""
        way = self._plan.way
        if way == "no message":
            await self._open()
            await self._await_end()
            return True
        if self._tls is None:
            whole = self._next_request()
        elif self._is_websocket and rng.random() < 0.5:
            self._is_websocket = False
            await self._open()
            self._is_websocket = True
            self._tls.write(self._upgrade())
            whole = self._outgoing.read()
        else:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            whole = self._outgoing.read()
        self._mute = True
        if way == "garbage handshake":
            whole = rng.randbytes(len(whole))
        self._write_raw(whole if way == "garbage handshake" else whole[: rng.randrange(1, len(whole))])
        if way != "cut handshake":
            await self._await_end()
        return True

    async def _end(self, counts: Counts, rng: random.Random) -> None:
        """The planned end of an open connection."""
        assert self._wire is not None
        way, wire = self._plan.way, self._wire
        if way == "reset":
            sock = wire.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif way == "half-close":
            expected = self.answers + 1
            counts.asked += 1
            self._write(self._next_request())
            wire.write_eof()
            self._half_closed = True
            if not await self._until(lambda: self.answers >= expected, ANSWER_SECONDS):
                raise Failed("no answer")
            counts.answered += 1
            await self._await_end()
        elif way == "close_notify":
            assert self._tls is not None
            self._mute = True
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            self._write_raw(self._outgoing.read())
            await self._await_end()
        elif way == "Close frame":
            self._write(self._frame(0x88, struct.pack("!H", 1_000)))
            await self._await_end()
        elif way == "cut message":
            self._write_raw(self._part_of_request(rng))
        elif way == "slow message":
            self._mute = True  # a Pong would be read as a part of the message
            self._write_raw(self._part_of_request(rng))
            await self._await_end()
        elif way == "garbage":
            data = rng.randbytes(rng.randrange(1, 1_000))
            if rng.random() < 0.5:
                self._write(data)
            else:
                self._write_raw(data)
            await self._await_end()
        elif way == "silent" and self._is_websocket:
            self._mute = True
            await self._await_end()
        elif way == "unread":
            wire.pause_reading()
            for _ in range(_UNREAD_REQUESTS):
                self._write(self._next_request())
            await asyncio.sleep(UNREAD_SECONDS)
            self._mute = True
            wire.resume_reading()
            await self._await_end(ANSWER_SECONDS)

    def _part_of_request(self, rng: random.Random) -> bytes:
        """A part of a request: of its bytes, or over TLS of its record."""
        request = self._next_request()
        part = request[: rng.randrange(1, len(request))]
        if self._tls is None:
            return part
        if rng.random() < 0.5:
            self._tls.write(part)
            return self._outgoing.read()
        self._tls.write(request)
        record = self._outgoing.read()
        return record[: rng.randrange(1, len(record))]


class Soak:
    """All places of a run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._rng = random.Random(options.seed)
        self._servers = dict(zip(("tcp", "tls", "wss"), options.servers.split(","), strict=True))
        self._transports = options.transports.split(",")
        self._ways = {way: WAYS[way] for way in options.ways.split(",")} if options.ways else WAYS
        newest, older = tls_context("tls"), tls_context("tls")
        assert newest is not None
        assert older is not None
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        self._contexts = (newest, newest, newest, older)
        self._sessions: dict[tuple[str, ssl.SSLContext], ssl.SSLSession] = {}
        self._number = 0
        self.counts = Counts()
        self._ends_at = 0.0

    async def run(self) -> None:
        """Fill the places, print the counts, and wait for the end of all connections."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._ends_at = began + self._options.seconds
        places = [asyncio.create_task(self._fill(kind, index)) for index, kind in enumerate(self._kinds())]
        turns = 0
        while places:
            turns += 1
            next_line = began + turns * self._options.every
            waited = min(next_line, self._ends_at + self._options.drain) - loop.time()
            _, pending = await asyncio.wait(places, timeout=max(0.0, waited))
            places = list(pending)
            if loop.time() >= self._ends_at + self._options.drain:
                break
            if places:
                print(json.dumps(self.counts.line()), flush=True)
        for place in places:
            place.cancel()
        await asyncio.gather(*places, return_exceptions=True)
        await asyncio.sleep(0)  # asyncio closes the sockets of aborted connections in its next turn
        print(json.dumps(self.counts.line() | {"end": True, "cut": len(places)}), flush=True)

    def _kinds(self) -> list[str]:
        """The kind of each place, in no order."""
        kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * self._options.count))]
        if self._options.trunks_only:
            kinds = [TRUNKS] * self._options.count
        self._rng.shuffle(kinds)
        return kinds

    async def _fill(self, kind: str, index: int) -> None:
        """One connection after the other in a place."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(index / self._options.rate)
        while loop.time() < self._ends_at:
            plan = self._plan(kind)
            began = loop.time()
            if not await self._live(plan):
                await asyncio.sleep(max(0.0, min(began + plan.life, self._ends_at) - loop.time()))

    def _plan(self, kind: str) -> Plan:
        rng, options = self._rng, self._options
        transport = rng.choice(self._transports)
        left_out = set() if kind in (TRUNKS, CROWD) else set(_NOT_PUBLIC)
        if transport != "wss":
            left_out.add("Close frame")
        if transport == "tcp":
            left_out.add("close_notify")
        allowed = {way: weight for way, weight in self._ways.items() if way not in left_out}
        way = rng.choices(list(allowed), list(allowed.values()))[0]
        life = rng.uniform(options.least_life, options.most_life)
        return Plan(kind, transport, rng.choice(SOURCES[kind]), way, life)

    async def _live(self, plan: Plan) -> bool:
        """One connection; returns whether it went as planned."""
        counts = self.counts
        self._number += 1
        context = None if plan.transport == "tcp" else self._rng.choice(self._contexts)
        session = None
        if context is not None and self._rng.random() < 0.5:
            session = self._sessions.get((plan.transport, context))
        peer = Peer(plan, self._number, self._servers[plan.transport], context, session)
        counts.open += 1
        try:
            await peer.live(counts, self._rng)
        except (Failed, OSError, TimeoutError) as error:
            if plan.kind == HOSTILE or (plan.kind == CROWD and not peer.answers):
                counts.refused += 1
            else:
                text = str(error) if isinstance(error, Failed) else type(error).__name__
                counts.failed[f"{plan.kind}, {plan.transport}, {plan.way}: {text}"] += 1
            return False
        finally:
            counts.open -= 1
        counts.ways[f"{plan.transport} {plan.way}"] += 1
        if context is not None and peer.session is not None and peer.answers:
            self._sessions[plan.transport, context] = peer.session
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the peers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", required=True, metavar="HOST:PORT,HOST:PORT,HOST:PORT", help="TCP, TLS, WSS")
    parser.add_argument("--count", type=int, default=2_000, help="connections at once")
    parser.add_argument("--rate", type=float, default=250.0, help="new connections a second at the begin")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--drain", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--least-life", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--most-life", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--transports", default="tcp,tls,wss")
    parser.add_argument("--ways", default="", help="of WAYS; all if empty")
    parser.add_argument("--trunks-only", action="store_true")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(Soak(options).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
