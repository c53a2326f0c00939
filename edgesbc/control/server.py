"""The server of the control socket, which answers the commands of a table.

The socket is a Unix stream in the state directory, readable and writable for the user of the edge and root alone: a
process that can open it may use every command. A connection carries one request and its answer
(:mod:`edgesbc.control.protocol`).
"""

from __future__ import annotations

import fcntl
import inspect
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from edgesbc.base import limits
from edgesbc.control.protocol import (
    CommandRefused,
    Commands,
    ControlRequest,
    answer_line,
    read_request,
    refusal_line,
)
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment

__all__ = ["listening_control_socket", "locked_folder", "serve_control", "serve_control_on"]

_PATH_BYTES: Final = 107
"""Longest address of a Unix socket on Linux, its final NUL left out."""
_UCRED: Final = struct.Struct("iII")


async def serve_control(
    path: Path,
    commands: Commands,
    containment: Containment,
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer at ``path`` until cancelled. A socket that a crash left is replaced; at the end the socket is removed.

    Connections are tasks of ``nursery``. ``containment`` counts and reports commands that failed by a fault of their
    own. Raises ``OSError`` when the socket cannot be made, as when another edge runs from the same folder.
    """
    with listening_control_socket(path) as sock:
        await serve_control_on(sock, commands, containment, nursery, task_status=task_status)


async def serve_control_on(
    sock: socket.socket,
    commands: Commands,
    containment: Containment,
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The same on a socket of :func:`listening_control_socket`, maybe of another process."""
    server = _ControlServer(commands, containment, nursery)
    task_status.started()
    acceptor = Acceptor(sock, server.take, server.refused, limits.LOCAL_ACCEPT_SECONDS)
    await containment.keep_running("control", acceptor.run)


# --- the socket ------------------------------------------------------------------------------------------


@contextmanager
def listening_control_socket(path: Path, lock: bool = True) -> Iterator[socket.socket]:
    """A socket that listens at ``path``; it is removed at the end. Raises ``OSError``, as when another edge runs from
    the same folder. Without ``lock`` the caller has locked the folder, by :func:`locked_folder`.

    Its folder is locked meanwhile. The kernel releases the lock with the process, so that a socket at ``path`` in a
    folder without a lock was left by a process that has ended.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if lock:
            _lock(folder, path)
        _remove_stale(folder, path)
        os.fchmod(sock.fileno(), 0o600)  # before it has a name, so that it never was open to others
        try:
            sock.bind(_address(path, folder))
        except OSError as error:
            raise OSError(f"{path}: the control socket cannot be made: {error.strerror or error}") from None
        sock.setblocking(False)
        sock.listen(limits.CONTROL_CONNECTIONS)
        try:
            yield sock
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=folder)
    finally:
        sock.close()
        os.close(folder)


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Lock the folder of a control socket. Raises ``OSError``, as when another edge runs from it."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(folder, path)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(
            f"{path}: another edge that runs has this folder; give each edge an [edge] state_dir of its own"
        ) from None


def _remove_stale(folder: int, path: Path) -> None:
    """Remove a socket that a crash left. Raises ``OSError`` for anything else at ``path``."""
    try:
        status = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(f"{path} is not a socket; move it away, and the edge makes its own")
    os.unlink(path.name, dir_fd=folder)


def _address(path: Path, folder: int) -> str:
    """``path``, or another name of it that is short enough for the kernel."""
    return str(path) if len(os.fsencode(path)) <= _PATH_BYTES else f"/proc/self/fd/{folder}/{path.name}"


# --- a connection ----------------------------------------------------------------------------------------


class _ControlServer:
    """Answers requests, at most ``limits.CONTROL_CONNECTIONS`` at a time, each in a task of ``nursery``."""

    def __init__(self, commands: Commands, containment: Containment, nursery: trio.Nursery) -> None:
        self._commands = commands
        self._containment = containment
        self._nursery = nursery
        self._open = 0

    def take(self, sock: socket.socket, address: object) -> None:
        """Serve a connection that was accepted; beyond the bound it is told so and closed."""
        with self._containment.contain("control connection"):
            if self._open < limits.CONTROL_CONNECTIONS:
                self._nursery.start_soon(self._serve, sock)
                self._open += 1
                return
            with suppress(OSError):  # a client that has closed
                sock.send(refusal_line("too many ask at once; ask again"))
        sock.close()

    def refused(self, address: object, error: OSError) -> None:
        """A connection for which no descriptor is left."""
        self._containment.fault("control connection", error)

    async def _serve(self, sock: socket.socket) -> None:
        """One connection. Raises nothing but the cancellation of the edge."""
        try:
            with self._containment.contain("control connection"), sock, suppress(trio.BrokenResourceError, OSError):
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                answer = await self._answer(stream)
                with trio.move_on_after(limits.CONTROL_SECONDS):
                    await stream.send_all(answer)
        finally:
            self._open -= 1

    async def _answer(self, stream: trio.SocketStream) -> bytes:
        try:
            request = attrs.evolve(read_request(await _line_of(stream)), uid=_uid_of(stream))
        except CommandRefused as refused:
            return refusal_line(str(refused))
        return await self._result(request)

    async def _result(self, request: ControlRequest) -> bytes:
        try:
            command = self._commands.get(request.command)
            if command is None:
                raise CommandRefused(f"no command of that name; there are {', '.join(sorted(self._commands))}")
            result = command(request)
            return answer_line(await result if inspect.isawaitable(result) else result)
        except CommandRefused as refused:
            return refusal_line(str(refused))
        except Exception as error:  # noqa: BLE001 - a broken command costs its answer, never the edge
            self._containment.fault(f"control {request.command}", error)
            return refusal_line("the edge failed on this question; its log says how")


def _uid_of(stream: trio.SocketStream) -> int:
    """The user of the peer, from the kernel: ``struct ucred`` has pid, uid and gid (unix(7))."""
    peer = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(peer)[1])


async def _line_of(stream: trio.SocketStream) -> bytes:
    """The bytes up to the first line feed. Raises :class:`CommandRefused` when they are too slow or too many."""
    line = bytearray()
    with trio.move_on_after(limits.CONTROL_SECONDS):
        while b"\n" not in line[-limits.CONTROL_READ_BYTES :]:
            if len(line) > limits.CONTROL_QUESTION_BYTES:
                raise CommandRefused(f"the question is longer than {limits.CONTROL_QUESTION_BYTES} bytes")
            more = await stream.receive_some(limits.CONTROL_READ_BYTES)
            if not more:
                raise CommandRefused("the question has no end of line")
            line += more
        return bytes(line.partition(b"\n")[0])
    raise CommandRefused(f"no question came within {limits.CONTROL_SECONDS:g} s")
