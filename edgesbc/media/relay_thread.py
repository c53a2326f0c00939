"""A relay as a thread of this process: for tests and small machines."""

from __future__ import annotations

import math
import mmap
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

import trio

from edgesbc.base import limits
from edgesbc.media.relay_client import RelayClient
from edgesbc.relay.counters import RelayCounters
from edgesbc.relay.link import ThreadLink
from edgesbc.relay.loop import RelayLoop

__all__ = ["RelayThread"]


class RelayThread:
    """A loop with ``capacity`` channels at most. ``failed`` is called for an internal error of it, ``clock`` by the
    thread: seconds."""

    def __init__(
        self, capacity: int, failed: Callable[[Exception], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counters = RelayCounters(memoryview(mmap.mmap(-1, RelayCounters.size(capacity))), capacity)
        self._handed_over: deque[socket.socket] = deque()
        self._clock = clock
        self._end: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._scope = trio.CancelScope()
        self.client = RelayClient(self._counters, failed, self._handed_over)
        self.client.on_blocked = self._try_again_soon

    def open(self) -> RelayLoop:
        """Make the loop, which has all commands so far. Raises ``OSError``."""
        self._end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        loop = RelayLoop(ThreadLink(other, self._handed_over), self._counters, self._clock)
        self.client.attach(self._end)
        return loop

    def start(self) -> None:
        """Start the thread. Raises ``OSError``."""
        # The thread waits that long for Python's lock while another one computes, by default 5 ms.
        sys.setswitchinterval(min(sys.getswitchinterval(), limits.RELAY_SWITCH_SECONDS))
        self._thread = threading.Thread(target=_serve, args=(self.open(),), name="edgesbc relay", daemon=True)
        self._thread.start()

    async def run(self) -> None:
        """Take the events of the relay until cancelled."""
        end = self._end
        if end is None:
            raise RuntimeError("the relay was not started")
        while True:
            with trio.move_on_after(math.inf) as self._scope:
                await trio.lowlevel.wait_readable(end)
                if not self.client.receive():
                    return
            self.client.flush()

    def close(self) -> None:
        """End the thread; every channel is closed."""
        self.client.close_all()
        if self._thread is not None:
            self._thread.join(limits.RELAY_SILENT_SECONDS)

    def _try_again_soon(self) -> None:
        self._scope.deadline = trio.current_time() + limits.RELAY_EVENT_SECONDS


def _serve(loop: RelayLoop) -> None:
    """Relay until the link ends, whatever is raised in between."""
    while not loop.ended:
        try:
            loop.run()
        except Exception as error:  # noqa: BLE001 - no fault ends the relay of all calls
            loop.report(error)
            time.sleep(limits.RESTART_SECONDS_LEAST)
