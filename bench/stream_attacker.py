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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

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
    until = time.monotonic() + seconds
    started, next_start = 0, 0.0
    running: list[subprocess.Popen[bytes]] = []
    command = ["openssl", "s_client", "-connect", f"{target[0]}:{target[1]}", "-tls1_3", "-no_ign_eof"]
    while time.monotonic() < until:
        running = [process for process in running if process.poll() is None]
        # To start a program is dear, and SIPp is on the same core.
        while len(running) < 16 and time.monotonic() >= next_start:
            next_start = time.monotonic() + 0.05
            started += 1
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            running.append(process)
        for process in running:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.write(b"K\n")
                    process.stdin.flush()
        time.sleep(0.005)
    for process in running:
        process.kill()
        process.wait()
    return {"connects": started}


@contextlib.contextmanager
def _tls_sink(host: str, port: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        own = own_certificate(Path(folder), [host])
        command = ["openssl", "s_server", "-accept", f"{host}:{port}", "-quiet"]
        command += ["-cert", str(own / FULL_CHAIN), "-key", str(own / PRIVATE_KEY)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
            try:
                yield
            finally:
                server.kill()


def sink(host: str, port: str, seconds: float, transport: str) -> None:
    """Accept connections and read; a WebSocket gets no answer to its handshake, and needs none."""
    if transport == "tls":
        with _tls_sink(host, port):
            time.sleep(seconds)
        return
    until = time.monotonic() + seconds
    with socket.create_server((host, int(port)), backlog=4_096) as server, selectors.DefaultSelector() as ready:
        server.setblocking(False)
        ready.register(server, selectors.EVENT_READ)
        while time.monotonic() < until:
            for key, _ in ready.select(0.1):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    if sock is server:
                        ready.register(server.accept()[0], selectors.EVENT_READ)
                    elif not sock.recv(65_536):
                        raise ConnectionResetError
                except OSError:
                    if sock is not server:
                        ready.unregister(sock)
                        sock.close()


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
