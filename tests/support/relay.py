"""A relay without a thread, whose loop a test has take turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from support.containment import unfailing

from edgesbc.base.address import Zone
from edgesbc.media.kernel_path import KernelPath
from edgesbc.media.latch import MediaInterface
from edgesbc.media.relay import RelayPorts, relay_capacity
from edgesbc.media.relay_thread import RelayThread

__all__ = ["SteppedRelay"]


class SteppedRelay(RelayPorts):
    """``clock`` is that of the pool of ports and of the loop. The first internal error fails the test."""

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
        super().__init__(interfaces, [self.thread], clock, random.Random().random, kernel)

    def turn(self) -> int:
        """Commands that wait, and a packet of each port; returns how many packets were taken."""
        self.flush()
        self.loop.carry_out_commands()
        taken = self.loop.turn(0.0)
        self.thread.client.receive()
        return taken

    def close(self) -> None:
        super().close()
        self.loop.close()
