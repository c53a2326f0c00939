"""Child processes of the demo, which end with the demo even if it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import trio

__all__ = ["Child", "die_with", "loopback"]

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 5.0
_LINE_BYTES = 65_536
_KEPT_LINES = 20

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def loopback(text: str) -> str:
    """``text`` if it is a literal IPv4 loopback address, the only ones that the demo uses. Raises ``ValueError``."""
    address = ip_address(text)
    if address.version != 4 or not address.is_loopback:
        raise ValueError(f"expected an address in 127.0.0.0/8, found {text!r}")
    return str(address)


def die_with(parent: int) -> Callable[[], None]:
    """A function for the child process that asks the kernel for SIGKILL when ``parent`` ends (prctl(2))."""

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


class Child:
    """The process ``python -m MODULE ARGUMENTS``, with ``job`` on its standard input; standard output or standard error
    can be read line by line.

    It has a process group of its own, so that Ctrl-C reaches only the demo, which then stops it.
    Must be started in the main thread, because prctl(2) refers to the thread that starts it.
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), job: bytes = b"", read_stderr: bool = False) -> None:
        self.module = module
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        captured, discarded = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=discarded if read_stderr else captured,
            stderr=captured if read_stderr else None,
            process_group=0,
            preexec_fn=die_with(os.getpid()),
        )
        stdin, output = self._process.stdin, self._process.stderr if read_stderr else self._process.stdout
        if stdin is None or output is None:
            raise OSError("no pipe to the child")
        stdin.write(job)
        stdin.close()
        self._stream = trio.lowlevel.FdStream(os.dup(output.fileno()))
        output.close()
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self) -> str | None:
        """The next line of its output; None at the end."""
        while b"\n" not in self._buffer:
            try:
                data = await self._stream.receive_some(_LINE_BYTES)
            except trio.ClosedResourceError:
                return None  # `stop` was called meanwhile
            if not data or len(self._buffer) > _LINE_BYTES:
                return None
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        text = line.decode("utf-8", "replace")
        self.last.append(text)
        return text

    def reload(self) -> None:
        """Send SIGHUP: the edge reads its policy again."""
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """Send SIGKILL, as if the machine had failed."""
        self._process.kill()
        self._process.wait()
        self._stream.close()

    async def stop(self) -> int:
        """Send SIGTERM, and SIGKILL if it does not end in time. Returns the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            with trio.CancelScope(shield=True), trio.move_on_after(STOP_SECONDS + 5):
                while self._process.poll() is None:  # noqa: ASYNC110 - a child has no event to wait on
                    await trio.sleep(0.05)
        if self._process.poll() is None:
            self._process.kill()
        await self._stream.aclose()
        return self._process.wait()
