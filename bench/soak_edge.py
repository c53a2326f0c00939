"""The edge of ``bench soak``: what ``edgesbc run`` starts, with a socket that tells the counts of tasks and objects."""

from __future__ import annotations

import gc
import json
import sys

import trio

from edgesbc.cli.serving import serve_until_signal
from edgesbc.observe import logs
from edgesbc.policy.load import load_policy

__all__ = ["COLLECT", "COUNT"]

COUNT = b"count"
"""Question: how many trio tasks and objects there are."""
COLLECT = b"collect"
"""The same after a full garbage collection, with the number of objects that only it has freed."""


async def _answer_questions(sock: trio.socket.SocketType) -> None:
    while True:
        question, peer = await sock.recvfrom(64)
        freed = gc.collect() if question == COLLECT else 0
        counts = {
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "objects": len(gc.get_objects()),  # what existed when the edge had started is frozen, and not in it
            "in_cycles": freed,
        }
        await sock.sendto(json.dumps(counts).encode(), peer)


async def _main(policy: str, host: str, port: int) -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind((host, port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_questions, sock)
            await serve_until_signal(load_policy(policy))
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logs.configure(sys.stderr, level="warning")
    trio.run(_main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
