"""A process that the supervisor starts: its command line, its end, and what it finds at its start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any

import trio

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.observe import logs
from edgesbc.processes.child_arguments import ChildArguments
from edgesbc.processes.supervisor_link import SupervisorLink
from edgesbc.tasks.containment import Containment
from edgesbc.tasks.process_name import name_process
from edgesbc.tasks.python_process import module_command, module_environment

__all__ = ["AdoptedProcess", "StartedProcess", "child_main", "logged_containment", "start_process"]

_CANNOT_START = 2
"""The exit code of ``edgesbc run`` for an edge that this machine cannot run."""


class StartedProcess:
    """A process in a session of its own, so that a signal of the terminal goes to the supervisor alone."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, though nobody has waited for it."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal; nothing if the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int:
        """Wait for its end, and end the processes that it has started. Returns the exit code, or minus the signal."""
        await trio.lowlevel.wait_readable(self._pidfd)
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # before it is reaped: its number is not used again so far
        os.close(self._pidfd)
        return self._process.wait()

    def discard(self) -> None:
        """End a process that has not begun its work."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)


class AdoptedProcess:
    """A process that an earlier supervisor has started. Raises ``OSError`` where it has ended."""

    def __init__(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid

    def signal(self, number: int) -> None:
        """Send a signal; nothing if the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int:
        """Wait for its end, and end the processes that it has started. Returns 1: the exit code goes to the parent,
        which is another process by now."""
        await trio.lowlevel.wait_readable(self._pidfd)
        self.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # the number is not used again as long as one of them lives
        return 1

    def close(self) -> None:
        """Watch it no longer."""
        os.close(self._pidfd)


def start_process(module: str, arguments: ChildArguments) -> StartedProcess:
    """Start ``python -m module``. Raises ``OSError``."""
    return StartedProcess(
        subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
            module_command(module, arguments.as_json()),
            stdin=subprocess.DEVNULL,
            pass_fds=arguments.descriptors,
            env=module_environment(),
            start_new_session=True,
        )
    )


def logged_containment(name: str) -> Containment:
    """Contains the faults of a process, and logs a sample of them."""
    samples = logs.SampledLog(logs.logger(name))

    def report(kind: str, error: Exception) -> None:
        samples.error(f"{kind}: {type(error).__name__}", trio.current_time(), error)

    return Containment(report)


def _is_needed(link: int) -> bool:
    """Wait until a spare process is to take the place of another; False: the supervisor is gone."""
    with socket.socket(fileno=os.dup(link)) as sock:
        return bool(sock.recv(limits.MEDIA_LINK_BYTES))


def child_main(
    name: str, run: Callable[[ChildArguments, SupervisorLink], Coroutine[Any, Any, int]], argv: Sequence[str]
) -> int:
    """The main function of such a process: ``run`` returns its exit code."""
    arguments = ChildArguments.from_json(argv[1])
    # A service manager may send them to every process of the edge: they are for the supervisor, which gives orders.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if arguments.spare:
        name_process(f"edgesbc: {name} (spare)")
        if not _is_needed(arguments.link):
            return 0
    name_process(f"edgesbc: {name}")
    logs.configure(sys.stderr, arguments.log.form, arguments.log.level)

    async def with_link() -> int:
        with socket.socket(fileno=arguments.link) as sock:
            link = SupervisorLink(sock, name, arguments)
            signal.signal(signal.SIGTERM, link.receive_sigterm)
            return await run(arguments, link)

    code = _CANNOT_START
    try:
        code = trio.run(with_link)
    except* (OSError, PolicyErrors) as group:
        for error in _single(group):
            logs.lifecycle(name).error("cannot run", error=str(error))
    return code


def _single(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """The exceptions in a group, and in groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _single(error)
        else:
            yield error
