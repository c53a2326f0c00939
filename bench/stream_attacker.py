"""The attacker of ``bench.stream_attacks``, and its sink, each in a process of its own, which ends by itself.

python -m bench.stream_attacker ATTACK HOST:PORT SECONDS
python -m bench.stream_attacker sink HOST:PORT SECONDS TRANSPORT
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import resource
import selectors
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

from bench.key_updates import KeyUpdateAttack
from bench.stream_client import UPGRADE
from edgesbc.policy.certificates import FULL_CHAIN, PRIVATE_KEY, own_certificate

__all__ = ["main"]

_MASK = bytes(4)
_PINGS = (b"\x89\x80" + _MASK) * 4_096
_FRAGMENTS = b"\x01\x80" + _MASK + (b"\x00\x80" + _MASK) * 4_095
_HEAD = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n"
_FIELDS = (
    "Call-ID: %d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: %d\r\n" + "X-Fill: a, b, c, d\r\n" * 150
)
_BODY = 40_000
SOURCES = ("127.0.8.1", "127.0.8.2", "127.0.8.3", "127.0.8.4", "127.0.8.5", "127.0.8.6", "127.0.8.7", "127.0.8.8")


class Flooder:
    """Connections that write the same bytes as fast as they can, and connect again when they are closed."""

    def __init__(
        self, target: tuple[str, int], sources: tuple[str, ...], count: int, first: bytes, data: bytes
    ) -> None:
        self.target = target
        self.sources = sources
        self.first = first
        self.data = data
        self.bytes = 0
        self.connects = 0
        self.refused = 0
        self._ready = selectors.DefaultSelector()
        self._left: dict[socket.socket, memoryview] = {}
        for number in range(count):
            self._connect(number)

    def _connect(self, number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        self.connects += 1
        try:
            sock.bind((self.sources[number % len(self.sources)], 0))
            sock.connect_ex(self.target)
        except OSError:
            sock.close()
            return
        self._left[sock] = memoryview(self.first)
        self._ready.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, number)

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key, events in self._ready.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                self._serve(key.fileobj, events, key.data)

    def _serve(self, sock: socket.socket, events: int, number: int) -> None:
        try:
            if events & selectors.EVENT_READ and not sock.recv(65_536):
                raise ConnectionResetError
            if events & selectors.EVENT_WRITE:
                if not self._left[sock]:
                    if not self.data:
                        self._ready.modify(sock, selectors.EVENT_READ, number)
                        return
                    self._left[sock] = memoryview(self.data)
                sent = sock.send(self._left[sock])
                self._left[sock] = self._left[sock][sent:]
                self.bytes += sent
        except BlockingIOError:
            pass
        except OSError:
            self._ready.unregister(sock)
            del self._left[sock]
            sock.close()
            self.refused += 1
            if self.refused % 50 == 0:
                time.sleep(0.05)  # a source that is banned gets no more than a few thousand connections a second
            self._connect(number)


def attack(name: str, target: tuple[str, int], seconds: float) -> dict[str, float]:
    if name == "key updates":
        return _key_updates(target, seconds)
    upgrade = UPGRADE.format(server=f"{target[0]}:{target[1]}", key="dGhlIHNhbXBsZSBub25jZQ==").encode()
    if name == "control frames":
        flooder = Flooder(target, SOURCES[:2], 64, upgrade, _PINGS)
    elif name == "empty fragments":
        flooder = Flooder(target, SOURCES[:2], 64, upgrade, _FRAGMENTS)
    elif name == "large messages":
        message = (_HEAD % 1 + _FIELDS % (1, _BODY) + "\r\n").encode() + bytes(_BODY)
        flooder = Flooder(target, SOURCES[:4], 500, message, message)
    else:
        flooder = Flooder(target, SOURCES, 2_000, b"", b"")
    flooder.run(seconds)
    return {"bytes_a_second": flooder.bytes / seconds, "connects": flooder.connects, "closed": flooder.refused}


def _key_updates(target: tuple[str, int], seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.touch()
        clients = KeyUpdateAttack(target, SOURCES[:2], 16, keys)
        clients.run(seconds)
    return {
        "bytes_a_second": clients.bytes / seconds,
        "connects": clients.connects,
        "handshakes": clients.handshakes,
        "closed": clients.closed,
    }


def sink(host: str, port: str, seconds: float, transport: str) -> None:
    """Accept connections and read. TLS handshakes are completed, and nothing after them is decrypted; a WebSocket gets
    no answer to its handshake, and needs none."""
    if transport == "udp":
        _read_datagrams(host, int(port), seconds)
        return
    context = _server_context(host) if transport == "tls" else None
    until = time.monotonic() + seconds
    with socket.create_server((host, int(port)), backlog=4_096) as server, selectors.DefaultSelector() as ready:
        server.setblocking(False)
        ready.register(server, selectors.EVENT_READ)
        print("ready", flush=True)
        while time.monotonic() < until:
            for key, _ in ready.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    if sock is server:
                        accepted = server.accept()[0]
                        ready.register(
                            accepted if context is None else _after_handshake(accepted, context), selectors.EVENT_READ
                        )
                    elif not sock.recv(65_536):
                        raise ConnectionResetError
                except OSError:
                    if sock is not server:
                        ready.unregister(sock)
                        sock.close()


def _server_context(host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        own = own_certificate(Path(folder), [host])
        context.load_cert_chain(own / FULL_CHAIN, own / PRIVATE_KEY)
    return context


def _after_handshake(sock: socket.socket, context: ssl.SSLContext) -> socket.socket:
    """The socket of a connection whose handshake is complete. Raises ``OSError`` where it fails."""
    sock.settimeout(5)
    with context.wrap_socket(sock, server_side=True) as secure:
        return socket.socket(fileno=secure.detach())


def _read_datagrams(host: str, port: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, port))
        sock.settimeout(0.1)
        print("ready", flush=True)
        while time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                sock.recv(65_536)


def main() -> int:
    name, target, seconds, *more = sys.argv[1:]
    host, _, port = target.partition(":")
    if not ipaddress.ip_address(host).is_loopback:
        raise SystemExit("only to loopback")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if name == "sink":
        sink(host, port, float(seconds), more[0])
    else:
        print(json.dumps(attack(name, (host, int(port)), float(seconds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
