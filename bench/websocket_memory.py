"""Memory of WebSockets after one large message each and some seconds of silence: rows of ``bench attacks``."""

from __future__ import annotations

import resource

from bench.process import say
from bench.streams import run_client, started
from edgesbc.base import limits

__all__ = ["MESSAGE_BYTES", "TRANSPORTS", "measure_memory"]

TRANSPORTS = ("ws", "wss")
MESSAGE_BYTES = {"edge": limits.MESSAGE_BYTES, "kamailio": 60_000}
"""The largest message that the edge takes; Kamailio 5.6 takes none of quite that size."""


def measure_memory(name: str, transport: str, connections: int, idle: int) -> dict[str, float]:
    """KiB that each of ``connections`` has added to the memory of a fresh engine after ``idle`` seconds without a
    message: ``rss_kib``, and ``pss_kib``, which counts pages that processes share once. Raises :class:`BenchError`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the engine inherits it
    with started(name, TRANSPORTS, ("-A", "LARGE_MESSAGES")) as engine:
        options = ["hold", "--transport", transport, "--count", str(connections), "--idle", str(idle)]
        options += ["--message-bytes", str(MESSAGE_BYTES[name])]
        figures, before, after = run_client(engine, options, engine.process.memory)
    growth = {
        "rss_kib": (after.rss - before.rss) / 1024 / connections,
        "pss_kib": (after.pss - before.pss) / 1024 / connections,
        "answered": float(figures["done"]),
    }
    say(f"attacks: {name}: {growth['pss_kib']:.1f} KiB of each {transport} connection after a large message")
    return growth
