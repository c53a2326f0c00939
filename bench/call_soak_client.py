"""The callers of ``bench call_soak``: a number of calls with audio, each followed by the next when it ends.

Nine of ten end by a BYE of the caller. The others are left alone, half of them before they are answered and half while
they talk: no further message and no packet comes from the caller, and the edge has to end them by its own timers.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter

import trio

from edgesbc.base.address import Transport, split_host_port
from edgesbc.demo.caller import Caller

__all__ = ["main"]

_LEFT_ALONE = 0.1
_PLACING_SECONDS = 2.0
"""In which the first calls are placed: all at once, they would be a flood."""


class Callers:
    """``count`` calls at once from one user agent, each for ``least`` to ``most`` seconds with a packet each
    ``interval`` seconds."""

    def __init__(self, caller: Caller, count: int, least: float, most: float, interval: float) -> None:
        self._caller = caller
        self._count = count
        self._least = least
        self._most = most
        self._interval = interval
        self._random = random.Random(1)
        self.open = self.placed = self.answered = self.left_alone = self.sent = self.heard = 0
        self.failed: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Place calls for so long, and wait until the last has ended."""
        end = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for number in range(self._count):
                nursery.start_soon(self._place_calls, end, number / self._count * _PLACING_SECONDS)

    async def _place_calls(self, end: float, wait: float) -> None:
        await trio.sleep(wait)
        while trio.current_time() < end:
            self.open += 1
            self.placed += 1
            try:
                await self._place_call()
            finally:
                self.open -= 1

    async def _place_call(self) -> None:
        life = self._random.uniform(self._least, self._most)
        alone = self._random.random()
        if alone < _LEFT_ALONE:
            self.left_alone += 1
            with trio.move_on_after(self._random.uniform(0.0, 0.02) if alone < _LEFT_ALONE / 2 else life):
                await self._caller.call(packets=2 * int(life / self._interval) + 2, interval=self._interval)
            return
        result = await self._caller.call(packets=int(life / self._interval) + 1, interval=self._interval)
        self.answered += result.status == 200
        self.sent += result.sent
        self.heard += result.heard
        if result.status != 200:
            self.failed[result.problem] += 1
        elif result.hung_up:
            self.failed["the edge or the other side has ended it"] += 1
        elif result.bye_status != 200:
            self.failed[f"BYE was answered {result.bye_status or 'by nobody'}"] += 1
        elif not result.heard:
            self.failed["no packet came back"] += 1

    def report(self, **more: bool) -> None:
        counts = {
            name: getattr(self, name)
            for name in ("open", "placed", "answered", "left_alone", "sent", "heard", "failed")
        }
        print(json.dumps(counts | more), flush=True)


async def _run(options: argparse.Namespace) -> None:
    async with Caller(Transport.UDP, split_host_port(options.edge), options.host) as caller:
        life = options.least_life, options.most_life
        callers = Callers(caller, options.count, *life, options.interval)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, callers, options.every)
            await callers.run(options.seconds)
            nursery.cancel_scope.cancel()
        await trio.sleep(options.drain)  # to answer the BYEs of calls that were left alone
        callers.report(end=True)


async def _report(callers: Callers, every: float) -> None:
    while True:
        await trio.sleep(every)
        callers.report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", required=True, metavar="HOST:PORT")
    parser.add_argument("--host", required=True)
    parser.add_argument("--count", type=int, required=True)
    for name in ("seconds", "every", "least-life", "most-life", "interval", "drain"):
        parser.add_argument(f"--{name}", type=float, required=True)
    trio.run(_run, parser.parse_args())


if __name__ == "__main__":
    main()
