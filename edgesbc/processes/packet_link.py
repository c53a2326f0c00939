"""A connection between two processes of one edge that carries packets: a Unix socket of the type SOCK_SEQPACKET."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from edgesbc.base import limits

__all__ = ["PacketLink", "PacketLinkClosed", "bind_link", "connect_link", "is_same_user"]

_UCRED: Final = struct.Struct("iII")


class PacketLinkClosed(Exception):
    """The other end has closed, or does not read."""


class PacketLink:
    """Sends at once, or queues what the kernel does not take; one task reads and writes by :meth:`run`.

    The socket is not blocking, and is closed by its owner.
    """

    __slots__ = ("_buffer", "_queue", "_queued", "_sock", "_view", "broken")

    def __init__(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            # The kernel takes twice as much, so that a message of ``limits.MEDIA_LINK_BYTES`` fits also where
            # net.core.wmem_max is smaller.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.MEDIA_LINK_BYTES)
        self._sock = sock
        self._queue: deque[bytes] = deque()
        self._queued = trio.Event()
        self._buffer = bytearray(limits.MEDIA_LINK_BYTES + 1)
        self._view = memoryview(self._buffer)
        self.broken = False
        """Whether nothing more can be sent."""

    def __len__(self) -> int:
        """Number of packets in the queue."""
        return len(self._queue)

    def send(self, data: bytes) -> None:
        """Send a packet. Raises nothing: where the other end is gone, :attr:`broken` is set and :meth:`run` ends."""
        if self.broken:
            return
        if not self._queue:
            try:
                self._sock.send(data)
            except BlockingIOError:
                pass
            except OSError:
                self.break_off()
                return
            else:
                return
        self._queue.append(data)
        self._queued.set()

    def break_off(self) -> None:
        """End the connection. What was sent before is read by the other end."""
        self.broken = True
        self._queue.clear()
        self._queued.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    async def run(self, receive: Callable[[bytes], None]) -> None:
        """Pass each packet to ``receive``, and send the queue, until the connection ends. Raises what ``receive``
        raises."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            with contextlib.suppress(PacketLinkClosed):
                while True:
                    await trio.lowlevel.wait_readable(self._sock)
                    self._read_batch(receive)
            self.broken = True
            nursery.cancel_scope.cancel()

    def _read_batch(self, receive: Callable[[bytes], None]) -> None:
        for _ in range(limits.MEDIA_LINK_BATCH):
            try:
                size = self._sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError:
                raise PacketLinkClosed from None
            if not size:
                raise PacketLinkClosed
            receive(bytes(self._view[:size]))

    async def _write(self) -> None:
        """Send the queue whenever there is one. What cannot be sent ends the connection, and with it the reader."""
        while not self.broken:
            if not self._queue:
                self._queued = trio.Event()
                await self._queued.wait()
                continue
            await trio.lowlevel.wait_writable(self._sock)
            try:
                while self._queue:
                    self._sock.send(self._queue[0])
                    self._queue.popleft()
            except BlockingIOError:
                pass
            except OSError:
                self.break_off()


def bind_link(path: Path) -> socket.socket:
    """A socket that listens at ``path``, for this user and root alone; what was there before is replaced.

    The caller has locked the folder. Raises ``OSError``.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        os.fchmod(sock.fileno(), 0o600)  # before it has a name, so that it never was open to others
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")  # which is short enough, however long the path is
        sock.setblocking(False)
        sock.listen(limits.MEDIA_LINK_BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


async def connect_link(path: Path) -> socket.socket:
    """A socket that is connected to the one at ``path``, also while nobody accepts there. Raises ``OSError``."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
        await trio.lowlevel.checkpoint()
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def is_same_user(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this user, or as root (``struct ucred`` in unix(7))."""
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return _UCRED.unpack(peer)[1] in (os.geteuid(), 0)
