"""The SIP client of ``bench streams``, in a process of its own: OPTIONS requests over TCP, TLS or WSS, one at a time.

It prints ``start`` and ``stop`` around the measured time and waits for a line on stdin after each, so that figures are
read while its connections are open and nothing is sent. Then it prints its own figures as JSON.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import resource
import select
import socket
import ssl
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["NO_PORT_AT_BIND", "OPTIONS", "UPGRADE", "Client", "main", "masked_frame", "tls_context"]

TIMEOUT = 10.0
"""Seconds to wait for the peer in a handshake, and for the last answers."""
THREADS = 4
"""Threads that open connections, so that a slow handshake does not delay the next one."""
NO_PORT_AT_BIND = 24  # IP_BIND_ADDRESS_NO_PORT of linux/in.h; the socket module has no name for it
_END = b"\r\n\r\n"
_READ_BYTES = 16_384
_BINARY_FRAME = 0x82  # FIN and the opcode (RFC 6455 section 5.2)
OPTIONS = (
    "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK%012d;rport\r\nMax-Forwards: 70\r\n"
    "From: <sip:bench@{host}>;tag=%012d\r\nTo: <sip:{server}>\r\nCall-ID: %012d@{host}\r\n"
    "CSeq: 1 OPTIONS\r\nContact: <sip:bench@{host};transport={transport}>\r\nAccept: application/sdp\r\n"
    "User-Agent: bench\r\nContent-Length: 0\r\n\r\n"
)
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\nOrigin: https://{server}\r\n\r\n"
)


class Client:
    """One connection. Every request is of the same size, ``size`` bytes if that is more than it has without a body; a
    WebSocket's mask is the same for all of them."""

    __slots__ = ("_begun", "_mask", "_number", "_request", "answers", "latencies", "reused", "sent_at", "sock")

    def __init__(
        self,
        transport: str,
        server: str,
        source: str,
        number: int,
        context: ssl.SSLContext | None,
        session: ssl.SSLSession | None = None,
        size: int = 0,
    ) -> None:
        host, _, port = server.partition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_IP, NO_PORT_AT_BIND, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(TIMEOUT)
            sock.bind((source, 0))
            sock.connect((host, int(port)))
            if context is not None:
                sock = context.wrap_socket(sock, session=session)
            if transport in ("ws", "wss"):
                _open_websocket(sock, server)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self.reused = isinstance(sock, ssl.SSLSocket) and bool(sock.session_reused)
        via = f"{transport.upper()} {source}"
        self._request = OPTIONS.format(server=server, via=via, host=source, transport=transport.replace("wss", "ws"))
        if size:
            self._request = with_body(self._request, size)
        self._number = number * 1_000_000  # its requests have numbers that no other connection has
        self._mask = os.urandom(4) if transport in ("ws", "wss") else b""
        self._begun = b""
        self.answers = 0
        self.sent_at: deque[float] = deque()
        self.latencies: list[float] = []

    def send(self, now: float) -> None:
        """Send a request. Raises ``OSError`` where the kernel does not take it: the peer reads nothing any more."""
        number = self._number = self._number + 1
        request = (self._request % (number, number, number)).encode()
        self.sock.sendall(masked_frame(request, self._mask) if self._mask else request)
        self.sent_at.append(now)

    def receive(self, now: float) -> None:
        """Take the answers that have come. Raises ``OSError`` if the peer has closed the connection."""
        sock = self.sock
        while True:
            try:
                data = sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                raise ConnectionResetError("the peer has closed a connection")
            begun = self._begun + data
            if begun.endswith(_END):
                for _ in range(begun.count(b"SIP/2.0 200 ")):
                    self.answers += 1
                    self.latencies.append(now - self.sent_at.popleft())
                begun = b""
            self._begun = begun
            if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
                return

    def ask(self) -> None:
        """Send a request and wait for its answer. Raises ``OSError`` without one."""
        expected = self.answers + 1
        self.send(time.perf_counter())
        while self.answers < expected:
            self.receive(time.perf_counter())


def with_body(request: str, size: int) -> str:
    """``request``, a template whose numbers get 12 digits, with a body that makes it ``size`` bytes, of which the body
    has 10,000 to 99,999."""
    head = request.removesuffix("Content-Length: 0\r\n\r\n") + "Content-Type: text/plain\r\nContent-Length: "
    digits = request.count("%012d") * (12 - len("%012d"))
    length = size - len(head) - digits - len("12345\r\n\r\n")
    return f"{head}{length}\r\n\r\n" + "x" * length


def _open_websocket(sock: socket.socket, server: str) -> None:
    """The opening handshake (RFC 6455 section 4.1). Raises ``OSError`` if the server refuses it."""
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(UPGRADE.format(server=server, key=key).encode())
    response = b""
    while not response.endswith(_END):
        data = sock.recv(_READ_BYTES)
        if not data:
            break
        response += data
    if not response.startswith(b"HTTP/1.1 101 "):
        raise ConnectionRefusedError(f"no WebSocket: {response[:80]!r}")


def masked_frame(content: bytes, mask: bytes) -> bytes:
    """A binary WebSocket frame of 126 to 65,535 bytes of content, with the mask of 4 bytes (RFC 6455 section 5.3)."""
    size = len(content)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(content, "big") ^ key).to_bytes(size, "big")
    return bytes((_BINARY_FRAME, 0x80 | 126, size >> 8, size & 255)) + mask + masked


def tls_context(transport: str) -> ssl.SSLContext | None:
    """A context that accepts any certificate; None without TLS."""
    if transport in ("tcp", "ws"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def mark(word: str) -> None:
    """Print ``word``, and wait until the bench has read its figures."""
    print(word, flush=True)
    sys.stdin.readline()


def send_messages(options: argparse.Namespace, sources: Sequence[str]) -> dict[str, Any]:
    """``--rate`` requests a second in all, evenly over ``--count`` connections."""
    context = tls_context(options.transport)
    clients = [
        Client(options.transport, options.server, sources[number % len(sources)], number, context)
        for number in range(options.count)
    ]
    cipher = clients[0].sock.cipher() if isinstance(clients[0].sock, ssl.SSLSocket) else None
    for client in clients:
        client.ask()
        client.sock.setblocking(False)
    _send_for(clients, options.rate, options.warm_up)
    for client in clients:
        client.answers = 0
        client.latencies.clear()
    mark("start")
    began = time.perf_counter()
    sent = _send_for(clients, options.rate, options.seconds)
    seconds = time.perf_counter() - began
    mark("stop")
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return {
        "done": sent,
        "unanswered": sent - sum(client.answers for client in clients),
        "rate": sent / seconds,
        "p50_us": _percentile(latencies, 50) * 1e6,
        "p99_us": _percentile(latencies, 99) * 1e6,
        "cipher": "" if cipher is None else f"{cipher[1]} {cipher[0]}",
    }


def _send_for(clients: Sequence[Client], rate: int, seconds: float) -> int:
    """Send for ``seconds`` and receive until nothing is missing; returns the number of requests."""
    by_sock = {client.sock: client for client in clients}
    total = round(rate * seconds)
    started = time.perf_counter()
    sent = 0
    while True:
        now = time.perf_counter()
        if sent < total:
            wait = started + sent / rate - now
            if wait <= 0:
                clients[sent % len(clients)].send(now)
                sent += 1
                continue
        else:
            wait = started + seconds + TIMEOUT - now
            if wait <= 0 or not any(client.sent_at for client in clients):
                return sent
        for sock in select.select(by_sock, (), (), wait)[0]:
            by_sock[sock].receive(time.perf_counter())


def hold_connections(options: argparse.Namespace, sources: Sequence[str]) -> dict[str, Any]:
    """``--count`` connections that have sent one request each, of ``--message-bytes``, and then nothing for ``--idle``
    seconds."""
    context = tls_context(options.transport)

    def connect(number: int) -> Client:
        source, size = sources[number % len(sources)], options.message_bytes
        client = Client(options.transport, options.server, source, number, context, size=size)
        client.ask()
        return client

    with ThreadPoolExecutor(THREADS) as threads:
        for client in threads.map(connect, range(options.count // 10)):  # what is allocated once, and kept
            client.sock.close()
        time.sleep(0.5)
        mark("start")
        clients = list(threads.map(connect, range(options.count)))
        time.sleep(options.idle)
        mark("stop")
    return {"done": sum(client.answers for client in clients)}


def open_connections(options: argparse.Namespace, sources: Sequence[str]) -> dict[str, Any]:
    """``--rate`` new connections a second, each closed after one answer; with ``--resumed`` of one TLS session."""
    context = tls_context(options.transport)
    session: ssl.SSLSession | None = None

    def connect(number: int) -> tuple[bool, ssl.SSLSession | None] | None:
        try:
            return ask(number)
        except OSError:
            return None

    def ask(number: int) -> tuple[bool, ssl.SSLSession | None]:
        client = Client(options.transport, options.server, sources[number % len(sources)], number, context, session)
        client.ask()  # a server sends its tickets before the answer (RFC 8446 section 4.6.1)
        offered = client.sock.session if isinstance(client.sock, ssl.SSLSocket) else None
        client.sock.close()
        return client.reused, offered

    def connect_for(seconds: float, threads: ThreadPoolExecutor) -> list[tuple[bool, ssl.SSLSession | None] | None]:
        started = time.perf_counter()
        running = []
        for number in range(round(options.rate * seconds)):
            wait = started + number / options.rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            running.append(threads.submit(connect, number))
        return [connection.result() for connection in running]

    with ThreadPoolExecutor(THREADS) as threads:
        first = ask(0)
        if options.resumed:
            session = first[1]
        connect_for(options.warm_up, threads)
        mark("start")
        began = time.perf_counter()
        ended = connect_for(options.seconds, threads)
        seconds = time.perf_counter() - began
        mark("stop")
    done = [connection for connection in ended if connection is not None]
    return {
        "done": len(done),
        "failed": len(ended) - len(done),
        "resumed": sum(reused for reused, _ in done),
        "rate": len(done) / seconds,
    }


def _percentile(values: Sequence[float], share: int) -> float:
    return values[min(len(values) * share // 100, len(values) - 1)] if values else math.inf


JOBS = {"messages": send_messages, "hold": hold_connections, "open": open_connections}


def main() -> int:
    """Do the job; returns 1, with the reason on stderr, if the server ends or refuses a connection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--transport", choices=("tcp", "tls", "ws", "wss"), required=True)
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--sources", required=True, metavar="HOST,HOST", help="the client's addresses, used in turn")
    parser.add_argument("--count", type=int, default=1, help="connections")
    parser.add_argument("--rate", type=int, default=1, help="requests or new connections a second")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument(
        "--message-bytes", type=int, default=0, help="of a held connection's request; 0: without a body"
    )
    parser.add_argument("--idle", type=float, default=0.5, metavar="SECONDS", help="of held connections")
    parser.add_argument("--resumed", action="store_true", help="new connections resume a TLS session")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        figures = JOBS[options.job](options, options.sources.split(","))
    except OSError as error:
        print(f"{options.transport}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
