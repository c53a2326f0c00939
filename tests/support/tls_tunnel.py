"""A plain socket whose bytes go to a server over TLS, for clients that read in one thread and write in another.

Before Python 3.13 the ``ssl`` module does not protect a connection from a read and a write at the same time: with a
client that has a thread for reading, a request was lost now and then. Here one thread does both.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading

__all__ = ["tls_tunnel"]


def tls_tunnel(host: str, port: int, context: ssl.SSLContext, seconds: float) -> socket.socket:
    """The plain end of a tunnel to a TLS server; closing it closes the connection. Raises what the TCP connection or
    the TLS handshake raise within ``seconds``."""
    plain = socket.create_connection((host, port), seconds)
    try:
        secure = context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise
    ours, near = socket.socketpair()
    secure.setblocking(False)
    near.setblocking(False)
    threading.Thread(target=_pump, args=(secure, near), daemon=True).start()
    return ours


def _pump(secure: ssl.SSLSocket, near: socket.socket) -> None:
    """Carry bytes both ways until either end is closed."""
    inward, outward = bytearray(), bytearray()
    with secure, near, selectors.DefaultSelector() as selector:
        for end in (secure, near):
            selector.register(end, selectors.EVENT_READ)
        try:
            while True:
                _read(secure, inward)
                _write(near, inward)
                _read(near, outward)
                _write(secure, outward)
                selector.modify(near, selectors.EVENT_READ | (selectors.EVENT_WRITE if inward else 0))
                selector.modify(secure, selectors.EVENT_READ | (selectors.EVENT_WRITE if outward else 0))
                selector.select()
        except (EOFError, OSError):
            pass  # what has been read is passed on, and both ends are closed
        near.setblocking(True)
        near.settimeout(5)
        try:
            near.sendall(inward)
        except OSError:
            return


def _read(source: socket.socket, into: bytearray) -> None:
    """Read what is there. Raises ``EOFError`` at the end."""
    while len(into) < 1 << 20:
        try:
            data = source.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            raise EOFError
        into += data


def _write(target: socket.socket, data: bytearray) -> None:
    while data:
        try:
            del data[: target.send(data)]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
