"""What a connection keeps in memory after a large message: bytes that are allocated in the process, not its pages."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import platform
from collections.abc import Callable

import pytest
from support.certificates import Certificates
from support.tls_peer import TlsPeer, client_to

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.streams.session import StreamSession, server_session
from edgesbc.streams.websocket import WebSocketLayer
from edgesbc.transport.tls import server_context

CONNECTIONS = 20
HEAD = b"MESSAGE sip:a SIP/2.0\r\nContent-Length: %d\r\n\r\n"
BODY = 60_000
MESSAGE = HEAD % BODY + bytes(BODY)
READ = 16_384
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FRAME = b"\x82\xfe" + len(MESSAGE).to_bytes(2, "big") + bytes(4) + MESSAGE
HALF = len(MESSAGE) // 2
FRAGMENTS = (
    b"\x02\xfe" + HALF.to_bytes(2, "big") + bytes(4) + MESSAGE[:HALF]
    + b"\x80\xfe" + (len(MESSAGE) - HALF).to_bytes(2, "big") + bytes(4) + MESSAGE[HALF:]
)  # fmt: skip


class MallInfo(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def allocated() -> int:
    """Bytes that this process has allocated from the C library, by Python (more than 512 at once) or by OpenSSL."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("mallinfo2 is of glibc")
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("glibc before 2.33 has no mallinfo2")
    library.mallinfo2.restype = MallInfo
    gc.collect()
    info = library.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def talk(session: StreamSession, encrypt: Callable[[bytes], bytes], decrypt: Callable[[bytes], object]) -> None:
    """A large message comes in, and a large one goes out."""
    websocket = isinstance(session.layer, WebSocketLayer) or not session.is_open
    if websocket:
        session.receive(encrypt(UPGRADE), 0.0)
        decrypt(session.take_output())
    for data in (FRAME, FRAGMENTS) if websocket else (MESSAGE,):
        received = []
        wire = encrypt(data)
        for at in range(0, len(wire), READ):
            received += session.receive(wire[at : at + READ], 0.0)
            decrypt(session.take_output())
        assert received == [MESSAGE]
        decrypt(session.send(MESSAGE))


@pytest.mark.parametrize(
    ("transport", "most"),
    [(Transport.TCP, 4 * 1024), (Transport.WS, 4 * 1024), (Transport.TLS, 64 * 1024), (Transport.WSS, 64 * 1024)],
)
def test_little_is_held_after_a_large_message(certificates: Certificates, transport: Transport, most: int) -> None:
    """Over TLS that includes OpenSSL's own state."""
    listener = ListenSettings(Zone.PUBLIC, transport, Source("127.0.0.1", 0))
    context = server_context(listener, certificates.folder) if transport.secure else None
    keep: list[StreamSession] = []

    def connect() -> None:
        session = server_session(transport, 0.0, context)
        if context is None:
            talk(session, bytes, bytes)
        else:
            peer = client_to(certificates.ca_file)
            while not peer.is_open:
                peer.receive(session.take_output())
                session.receive(peer.output(), 0.0)
            talk(session, lambda data: written(peer, data), peer.receive)
        keep.append(session)

    connect()  # what is allocated once
    before = allocated()
    for _ in range(CONNECTIONS):
        connect()
    held = (allocated() - before) / CONNECTIONS
    assert held <= most


def written(peer: TlsPeer, data: bytes) -> bytes:
    peer.tls.write(data[:READ])
    at = READ
    while at < len(data):
        peer.tls.write(data[at : at + READ])
        at += READ
    return peer.output()
