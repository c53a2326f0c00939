"""Processes of the demo: each ends with the demo, whatever ends the demo. Says nothing about what they do."""

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

__all__ = ["Child", "bound_to", "loopback"]

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 5.0
_LINE_BYTES = 65_536
_KEPT_LINES = 20

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def loopback(text: str) -> str:
    """``text`` if it is a literal IPv4 loopback address: the demo sends to no other. Raises ``ValueError``."""
    address = ip_address(text)
    if address.version != 4 or not address.is_loopback:
        raise ValueError(f"expected an address in 127.0.0.0/8, found {text!r}")
    return str(address)


def bound_to(parent: int) -> Callable[[], None]:
    """What a child does before its program: ask the kernel for SIGKILL when ``parent`` ends (prctl(2))."""

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return bind


class Child:
    """``python -m MODULE ARGUMENTS``, with ``job`` on its standard input; lines of one of its outputs are heard.

    It has a process group of its own, so that Ctrl-C reaches the demo alone, which ends it in order.
    Started in the main thread: the kernel's promise is about the thread that started it (prctl(2)).
    """

    def __init__(self, module: str, arguments: Sequence[str] = (), job: bytes = b"", hear_errors: bool = False) -> None:
        self.module = module
        self.last: deque[str] = deque(maxlen=_KEPT_LINES)
        heard, unheard = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=unheard if hear_errors else heard,
            stderr=heard if hear_errors else None,
            process_group=0,
            preexec_fn=bound_to(os.getpid()),
        )
        stdin, output = self._process.stdin, self._process.stderr if hear_errors else self._process.stdout
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
        """The next line of its output, None when there will be no more."""
        while b"\n" not in self._buffer:
            try:
                data = await self._stream.receive_some(_LINE_BYTES)
            except trio.ClosedResourceError:
                return None  # stopped meanwhile
            if not data or len(self._buffer) > _LINE_BYTES:
                return None
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        text = line.decode("utf-8", "replace")
        self.last.append(text)
        return text

    def hang_up(self) -> None:
        """SIGHUP: the edge reads its policy again."""
        self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL, as when a machine dies."""
        self._process.kill()
        self._process.wait()
        self._stream.close()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL to what has not ended then; the exit code."""
        if self._process.poll() is None:
            self._process.terminate()
            with trio.CancelScope(shield=True), trio.move_on_after(STOP_SECONDS + 5):
                while self._process.poll() is None:  # noqa: ASYNC110 - a child has no event to wait on
                    await trio.sleep(0.05)
        if self._process.poll() is None:
            self._process.kill()
        await self._stream.aclose()
        return self._process.wait()
