"""A relay as a process of its own, which is started again with the same sockets when it has ended."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
from collections.abc import Callable

import trio

from edgesbc.base import limits
from edgesbc.media.relay_client import RelayClient
from edgesbc.relay.counters import RelayCounters
from edgesbc.tasks.python_process import module_command, module_environment

__all__ = ["RelayEnded", "RelayProcess"]


class RelayEnded(Exception):
    """A relay process has ended, or does not read its commands any more."""


class RelayProcess:
    """Relay ``number`` of ``relays``, with ``capacity`` channels at most. ``failed`` is called for an internal error of
    it."""

    def __init__(self, number: int, relays: int, capacity: int, failed: Callable[[Exception], None]) -> None:
        self._number = number
        self._relays = relays
        self._capacity = capacity
        size = RelayCounters.size(capacity)
        self._memory = os.memfd_create(f"edgesbc relay {number}")
        os.ftruncate(self._memory, size)
        self.client = RelayClient(RelayCounters(memoryview(mmap.mmap(self._memory, size)), capacity), failed)
        self.client.on_blocked = self._try_again_soon
        self._end: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pinged = 0.0
        self._scope = trio.CancelScope()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process. Raises ``OSError``."""
        end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with other:
            arguments = (other.fileno(), self._memory, self._capacity, self._number, self._relays)
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter and a module of ours
                    module_command("edgesbc.relay", *map(str, arguments)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=arguments[:2],
                    env=module_environment(),
                )
            except BaseException:
                end.close()
                raise
        self._end = end
        self.client.counters.ping = 0
        self._pinged = 0.0
        self.client.attach(end)

    async def run(self) -> None:
        """Serve the link until cancelled. Raises :class:`RelayEnded`, and starts the process anew when it is run
        again."""
        if self._end is None:
            self.start()
        try:
            await self._serve()
        finally:
            self._end_process()

    async def _serve(self) -> None:
        end, ping = self._end, 0
        assert end is not None  # noqa: S101 - it was started
        while True:
            with trio.move_on_after(limits.RELAY_PING_SECONDS) as self._scope:
                await trio.lowlevel.wait_readable(end)
                if not self.client.receive():
                    raise RelayEnded(f"relay {self._number} has ended")
            now = trio.current_time()
            if self.client.counters.ping == ping:
                if now - self._pinged >= limits.RELAY_PING_SECONDS:
                    ping += 1
                    self._pinged = now
                    self.client.ping(ping)
            elif now - self._pinged > limits.RELAY_SILENT_SECONDS:
                raise RelayEnded(f"relay {self._number} does not read its commands")
            self.client.flush()

    def close(self) -> None:
        """End the process; every channel is closed."""
        self.client.close_all()
        self._end_process()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _end_process(self) -> None:
        self.client.detach()
        self._end = None
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()  # it has nothing to do any more

    def _try_again_soon(self) -> None:
        self._scope.deadline = trio.current_time() + limits.RELAY_EVENT_SECONDS
