"""A process that the supervisor keeps running: how it is started, and how it is."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

import attrs

from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.child_process import AdoptedProcess, StartedProcess, start_process
from edgesbc.processes.succession import LeftProcess
from edgesbc.processes.supervisor_link import JsonLink

__all__ = ["KeptProcess"]


class KeptProcess:
    """``module`` is its program. With ``has_spare`` another process is kept that takes its place when it ends: starting
    Python takes a second. ``left`` is the process itself, where an earlier supervisor has started it."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: ChildArguments,
        *,
        has_spare: bool = False,
        left: LeftProcess | None = None,
    ) -> None:
        self.name = name
        self.module = module
        self.arguments = arguments
        self.has_spare = has_spare
        self.left = left
        self.spare: tuple[StartedProcess, socket.socket] | None = None
        self.process: StartedProcess | AdoptedProcess | None = None
        self.link: JsonLink | None = None
        self.state = "starting"
        self.began = time.monotonic()
        self.restarts = 0 if left is None else left.restarts
        self.was_ready = left is not None
        self.code: int | None = None
        """The exit code that it has announced."""

    def enter(self, state: str) -> None:
        self.state = state
        self.began = time.monotonic()

    @property
    def row(self) -> dict[str, Any]:
        """What other processes are told of it."""
        pid = 0 if self.process is None else self.process.pid
        return {
            "name": self.name, "pid": pid, "state": self.state, "began": self.began, "restarts": self.restarts,
        }  # fmt: skip

    def start(self, *, spare: bool = False) -> tuple[StartedProcess, socket.socket]:
        """Start a process; the socket is this end of its link. Raises ``OSError``."""
        sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                arguments = attrs.evolve(self.arguments, link=theirs.fileno(), spare=spare)
                return start_process(self.module, arguments), sock
            except OSError:
                sock.close()
                raise

    def take(self) -> tuple[StartedProcess | AdoptedProcess, socket.socket, bool]:
        """The process that is to run: one that is left, the spare one, or a new one; and whether it waits to be told
        so. Raises ``OSError``."""
        left, self.left = self.left, None
        if left is not None:
            with suppress(OSError):
                process = AdoptedProcess(left.pid)
                if not _has_ended(left.link):  # so that the number still is that of the process
                    return process, left.link, False
                process.close()
            left.link.close()
        spare, self.spare = self.spare, None
        if spare is not None:
            return *spare, True
        return *self.start(), False


def _has_ended(link: socket.socket) -> bool:
    """Whether the other end of a link is gone, and has told nothing before."""
    try:
        return not link.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
