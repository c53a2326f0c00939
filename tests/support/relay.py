"""A relay without a thread, whose loop a test has take turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from support.containment import unfailing

from edgesbc.base.address import Zone
from edgesbc.media.kernel_path import KernelPath
from edgesbc.media.latch import MediaInterface
from edgesbc.media.relay import RelayPorts, relay_capacity
from edgesbc.media.relay_thread import RelayThread

__all__ = ["SteppedRelay"]


class SteppedRelay:
    """:class:`RelayPorts` and its loop. ``clock`` is that of both. The first internal error fails the test."""

    def __init__(
        self,
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        clock: Callable[[], float],
        failed: Callable[[Exception], None] | None = None,
        kernel: KernelPath | None = None,
    ) -> None:
        containment = unfailing()
        fail = failed or (lambda error: containment.fault("media packet", error))
        self.thread = RelayThread(relay_capacity(interfaces), fail, clock)
        self.loop = self.thread.open()
        self.ports = RelayPorts(interfaces, [self.thread], clock, random.Random().random, kernel)

    def __getattr__(self, name: str) -> Any:
        """What the ports have: a compiled class has no subclasses."""
        return getattr(self.ports, name)

    def turn(self) -> int:
        """Commands that wait, and a packet of each port; returns how many packets were taken."""
        self.ports.flush()
        self.loop.carry_out_commands()
        taken = self.loop.turn(0.0)
        self.thread.client.receive()
        return taken

    def close(self) -> None:
        self.ports.close()
        self.loop.close()
