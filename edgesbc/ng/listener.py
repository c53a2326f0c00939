"""The sockets of an NG server: UDP, and a Unix socket as Kamailio's rtpengine module uses one; run by trio."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

import trio

from edgesbc.base import limits
from edgesbc.base.address import Source, family_of
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import PrefixSet
from edgesbc.ng.server import NgServer
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment

__all__ = ["NgListener", "open_ng_socket", "open_ng_unix_socket"]

_BATCH = 64


def open_ng_socket(address: Source) -> socket.socket:
    """A UDP socket at ``address``. Raises ``OSError``."""
    family = socket.AF_INET6 if family_of(address.host) == "IP6" else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def open_ng_unix_socket(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``, for its owner and group only. One that nobody listens at any more is
    replaced. Raises ``OSError``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if _is_abandoned(path):
            path.unlink()
        before = os.umask(0o117)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(limits.NG_STREAMS)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_abandoned(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


class NgListener:
    """Serves commands at UDP sockets, and at a Unix socket. Datagrams of clients outside ``allowed`` are dropped and
    counted."""

    def __init__(
        self,
        server: NgServer,
        datagrams: Iterable[socket.socket],
        stream: socket.socket | None,
        allowed: Iterable[str],
        containment: Containment,
    ) -> None:
        self._server = server
        self._datagrams = tuple(datagrams)
        self._stream = stream
        self._allowed = PrefixSet(allowed)
        self._containment = containment
        self._connections = 0
        self._wake_at = -math.inf
        self._wake_sooner = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            for sock in self._datagrams:
                nursery.start_soon(self._containment.keep_running, "ng datagrams", _Datagrams(self, sock).run)
            if self._stream is not None:
                self._nursery = nursery
                acceptor = Acceptor(self._stream, self._take, self._refused)
                nursery.start_soon(self._containment.keep_running, "ng streams", acceptor.run)
            nursery.start_soon(self._containment.keep_running, "ng timer", self._expire)
            task_status.started()

    # --- datagrams -------------------------------------------------------------------------------------

    def receive(self, sock: socket.socket, data: bytes, address: tuple[str, int]) -> None:
        """Answer one datagram."""
        host, port = address[:2]
        if host not in self._allowed:
            self._server.counts.add("any", "refused")
            return
        reply = self._server.receive(data, f"{host}:{port}", trio.current_time())
        self._schedule()
        if reply is not None:
            try:
                sock.sendto(reply, address)
            except OSError:
                self._server.counts.add("any", "unsent")  # the client asks again, and gets the reply that was kept

    # --- streams ---------------------------------------------------------------------------------------

    def _take(self, sock: socket.socket, address: object) -> None:
        if self._connections >= limits.NG_STREAMS:
            self._server.counts.add("any", "refused")
            sock.close()
            return
        self._connections += 1
        self._nursery.start_soon(self._serve, sock)

    def _refused(self, address: object, error: OSError) -> None:
        self._containment.fault("ng streams", error)

    async def _serve(self, sock: socket.socket) -> None:
        with self._containment.contain("ng stream"):
            try:
                with sock:
                    await self._converse(sock)
            finally:
                self._connections -= 1

    async def _converse(self, sock: socket.socket) -> None:
        waiting = b""
        with contextlib.suppress(OSError, WireError):
            while True:
                with trio.move_on_after(limits.NG_STREAM_SECONDS) as silence:
                    await trio.lowlevel.wait_readable(sock)
                if silence.cancelled_caught:
                    return
                data = sock.recv(limits.NG_BYTES)
                if not data:
                    return
                waiting += data
                while waiting:
                    reply, size = self._server.receive_stream(waiting, trio.current_time())
                    self._schedule()
                    if not size:
                        break
                    waiting = waiting[size:]
                    await _send_all(sock, reply)

    # --- time --------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        deadline = self._server.deadline()
        if deadline is not None and deadline < self._wake_at:
            self._wake_sooner.set()

    async def _expire(self) -> None:
        while True:
            deadline = self._server.deadline()
            self._wake_at = math.inf if deadline is None else deadline
            self._wake_sooner = trio.Event()
            with trio.move_on_at(self._wake_at):
                await self._wake_sooner.wait()
            self._server.expire(trio.current_time())


class _Datagrams:
    """The task of one UDP socket."""

    def __init__(self, listener: NgListener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock

    async def run(self) -> None:
        sock, receive = self._sock, self._listener.receive
        while True:
            await trio.lowlevel.wait_readable(sock)
            for _ in range(_BATCH):
                try:
                    data, address = sock.recvfrom(limits.NG_BYTES)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # a client that has gone: the error of a reply to it
                receive(sock, data, address)


async def _send_all(sock: socket.socket, data: bytes) -> None:
    with trio.fail_after(limits.NG_STREAM_SECONDS):
        while data:
            await trio.lowlevel.wait_writable(sock)
            data = data[sock.send(data) :]
