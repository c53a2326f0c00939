"""A relay process: ``python -m edgesbc.relay LINK MEMORY CAPACITY NUMBER RELAYS``, which media control starts.

``LINK`` and ``MEMORY`` are inherited descriptors: the link, and the counters of ``CAPACITY`` channels. The process is
relay ``NUMBER`` of ``RELAYS``, and ends with the link.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from typing import Final

from edgesbc.relay.counters import RelayCounters
from edgesbc.relay.link import ProcessLink
from edgesbc.relay.loop import RelayLoop
from edgesbc.tasks.process_name import name_process

__all__ = ["main"]

_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522


def main(link: int, memory: int, capacity: int, number: int, relays: int) -> None:
    """Relay until the link ends."""
    name_process(f"edgesbc: relay {number}")
    # Of a terminal and of a service manager, signals are for the whole edge: media goes on while it drains.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    counters = RelayCounters(memoryview(mmap.mmap(memory, RelayCounters.size(capacity))), capacity)
    os.close(memory)
    loop = RelayLoop(ProcessLink(socket.socket(fileno=link)), counters, time.monotonic)
    _come_first(relays)
    _give_up_rights()
    gc.disable()  # a closed channel refers to nothing; a collection would hold packets up for milliseconds
    loop.run()


def _come_first(relays: int) -> None:
    """Run before ordinary processes, where the kernel allows it and a core is left for these."""
    if relays < len(os.sched_getaffinity(0)):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _give_up_rights() -> None:
    """No capabilities, no new privileges, no core dumps with other people's audio, no further processes."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (0, 0))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:6]))
