"""When a supervisor has ended by a kill, its processes go on, and the next supervisor takes them over.

They look for a socket in the state directory, which a supervisor binds at its start if it finds the lock of the
processes taken. Each connects, and hands back what it has inherited: the listening sockets among it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from edgesbc.base import limits
from edgesbc.base.state_sockets import PROCESSES_LOCK, SUPERVISOR_SOCKET
from edgesbc.base.version import VERSION
from edgesbc.processes.child_arguments import ChildArguments, LogSettings
from edgesbc.processes.packet_link import bind_link, connect_link, is_same_user

__all__ = ["LeftProcess", "end_left", "left_processes", "next_supervisor", "open_lock", "processes_left", "try_lock"]

_UCRED: Final = struct.Struct("iII")


# --- the end of a process --------------------------------------------------------------------------------


async def next_supervisor(
    name: str, arguments: ChildArguments, processes: list[dict[str, Any]]
) -> socket.socket | None:
    """Wait for the next supervisor, and hand it what the process has. ``processes`` are the rows of all that there are.

    Returns the link, or None where there is no supervisor in time.
    """
    message = {"name": name, "version": VERSION, "arguments": arguments.as_json(), "processes": processes}
    descriptors = arguments.handed_on
    if len(descriptors) > limits.HANDED_ON_DESCRIPTORS:
        return None
    with trio.move_on_after(limits.SUPERVISOR_AWAY_SECONDS):
        while True:
            try:
                sock = await connect_link(Path(arguments.state_dir) / SUPERVISOR_SOCKET)
            except OSError:  # nobody has bound it yet
                await trio.sleep(limits.SUPERVISOR_ASKED_SECONDS)
                continue
            try:
                if is_same_user(sock):
                    socket.send_fds(sock, [json.dumps(message, allow_nan=False).encode("ascii")], descriptors)
                    return sock
            except OSError:
                pass  # it has ended as well, or a descriptor is closed by now: this process drains
            sock.close()
            await trio.sleep(limits.SUPERVISOR_ASKED_SECONDS)
    return None


# --- the supervisor's end --------------------------------------------------------------------------------


@attrs.frozen
class LeftProcess:
    """A process of an earlier supervisor that runs on."""

    name: str
    pid: int
    version: str
    arguments: ChildArguments
    """With the descriptors that it has handed back, which belong to the caller; without any for another version."""
    link: socket.socket
    restarts: int


def open_lock(state_dir: Path) -> int:
    """A descriptor for the lock of the processes. Raises ``OSError``."""
    return os.open(state_dir / PROCESSES_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    """Take the lock. False: a process of an earlier supervisor is left."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def processes_left(state_dir: Path) -> bool:
    """Whether processes are left whose supervisor is gone."""
    return _is_locked(state_dir / PROCESSES_LOCK) and not _is_locked(state_dir)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


async def left_processes(state_dir: Path, lock: int) -> list[LeftProcess]:
    """The processes that an earlier supervisor has left; none where ``lock`` can be taken.

    Those that do not answer are killed. Raises ``OSError`` where it is not known which ones these are.
    """
    path = state_dir / SUPERVISOR_SOCKET
    if try_lock(lock):
        path.unlink(missing_ok=True)  # of a supervisor that was killed at its start
        return []
    with bind_link(path) as listening:
        try:
            found = await _collected(listening, lock)
        finally:
            path.unlink(missing_ok=True)
    if not found and not try_lock(lock):
        raise OSError(f"{state_dir}: processes of an edge that was killed are left, and do not answer")
    return list(found.values())


async def _collected(listening: socket.socket, lock: int) -> dict[str, LeftProcess]:
    found: dict[str, LeftProcess] = {}
    known: dict[str, int] = {}
    deadline = trio.current_time() + limits.SUPERVISOR_AWAY_SECONDS + limits.LEFT_PROCESSES_SECONDS
    while trio.current_time() < deadline:
        with trio.move_on_after(limits.SUPERVISOR_ASKED_SECONDS):
            await trio.lowlevel.wait_readable(listening)
        with suppress(BlockingIOError, ConnectionError, ValueError, KeyError, TypeError):
            one, processes = await _accepted(listening)
            if one.name in found:
                _drop(one)
                continue
            if not found:
                deadline = trio.current_time() + limits.LEFT_PROCESSES_SECONDS
            found[one.name] = one
            known |= {row["name"]: row["pid"] for row in processes if row["name"] in _NAMES}
        missing = {name: pid for name, pid in known.items() if name not in found and _runs(pid)}
        if (found and not missing) or (not found and try_lock(lock)):
            return found
    for name, pid in known.items():
        if name not in found:
            await _end(name, pid)
    return found


_NAMES: Final = ("media", "signalling", "observe")
"""Those that a supervisor starts; a spare ends with it, and a relay belongs to media control."""


async def _accepted(listening: socket.socket) -> tuple[LeftProcess, list[dict[str, Any]]]:
    """The process that connects, and the rows of those that there are."""
    sock, _ = listening.accept()
    sock.setblocking(False)
    descriptors: list[int] = []
    try:
        with trio.move_on_after(limits.LEFT_PROCESSES_SECONDS):
            await trio.lowlevel.wait_readable(sock)
        data, descriptors, flags, _ = socket.recv_fds(
            sock, limits.MEDIA_LINK_BYTES, limits.HANDED_ON_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not is_same_user(sock) or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError("expected a process of this edge")
        told = json.loads(data)
        arguments = _arguments(told, descriptors)
        rows = {row["name"]: row for row in told["processes"]}
        pid, _, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        restarts = rows.get(told["name"], {}).get("restarts", 0)
        return LeftProcess(told["name"], pid, told["version"], arguments, sock, restarts), told["processes"]
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        sock.close()
        raise


def _arguments(told: dict[str, Any], descriptors: list[int]) -> ChildArguments:
    """What the process hands back; nothing of another version, whose arguments may mean something else."""
    if told["version"] == VERSION:
        return ChildArguments.from_json(told["arguments"]).with_descriptors(descriptors)
    while descriptors:
        os.close(descriptors.pop())
    return ChildArguments(-1, LogSettings(), "")


async def end_left(one: LeftProcess) -> None:
    """Kill a process that is left, and close what it has handed back."""
    await _end(one.name, one.pid)
    _drop(one)


def _drop(one: LeftProcess) -> None:
    for descriptor in one.arguments.handed_on:
        os.close(descriptor)
    one.link.close()


def _runs(pid: int) -> bool:
    """Whether a process runs: one that has ended and was not waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="latin-1")
    except OSError:
        return False


def _shown(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="latin-1").rstrip("\0")


async def _end(name: str, pid: int) -> None:
    """Kill a process, if it still is the one of that name."""
    with suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if _shown(pid) == f"edgesbc: {name}":
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)
