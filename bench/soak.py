"""``bench soak``: thousands of connections that come and go in many ways, and what the edge has left when all are gone.

Nothing is compared with another program. The part fails if descriptors, connections or tasks stay.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import attrs

from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say, wait_until
from bench.soak_client import DEADLINE_WAYS, WAYS
from bench.soak_edge import COLLECT, COUNT
from bench.stream_policy import stream_policy
from edgesbc.demo.children import die_with
from edgesbc.demo.metrics_client import parse_metrics

__all__ = ["SoakSettings", "bench_soak", "get_metrics", "memory_slope"]

TRANSPORTS = ("tcp", "tls", "wss")
SETTLE_SECONDS = 15.0
"""How long the edge may take to end the last connections: one lingers for a second, and is closed in a turn."""
PUBLIC = loopback(1)
SMALL_TRACKER = """
[screen.pike]
tracker_entries = 1024
"""
"""The table of tracked sources is full after the first third, so that memory grows no more by it."""


@attrs.frozen
class SoakSettings:
    """The connections, and how long they come and go."""

    connections: int = 2_000
    """At once. 700 or more also exceed the limit of one address."""
    seconds: int = 60
    every: float = 10.0
    """Seconds between two samples."""
    least_life: float = 1.0
    """Seconds from the opening of a connection to its end."""
    most_life: float = 20.0
    drain: float = 60.0
    """Seconds that the last connections have to end; then the peers close them."""
    deadlines: bool = True
    """Whether there are connections that the edge ends at a deadline, after up to half a minute."""
    ping: float = 5.0
    """``[[listen]] ping`` of WSS."""


@attrs.frozen
class Edge:
    """A started edge, with its addresses."""

    process: Process
    servers: tuple[str, ...]
    http: str
    questions: tuple[str, int]

    def sample(self, question: bytes = COUNT) -> dict[str, float]:
        """What the edge holds now, by /proc, its metrics and its own counts. Raises :class:`BenchError`."""
        self.process.require()
        metrics = parse_metrics(get_metrics(self.http))
        return {
            "connections": metrics.total("connections"),
            "bans": metrics.total("penalties"),
            "faults": metrics.total("transport_total", event="internal"),
            "descriptors": len(os.listdir(f"/proc/{self.process.pid}/fd")),
            "rss_mib": self.process.memory().rss / 2**20,
            "cpu": self.process.cpu_seconds(),
            **_ask(self.questions, question),
        }


def bench_soak(settings: SoakSettings) -> dict[str, Any]:
    """Let connections come and go: a row for each sample, and what stayed. Raises :class:`BenchError`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the edge inherits it
    with started_edge(settings.ping) as edge:
        edge.sample()  # opens what stays open
        begin = edge.sample(COLLECT)
        rows = list(_rows(edge, settings))
        end = _settled(edge, begin)
        end |= {key: value for key, value in edge.sample(COLLECT).items() if key in ("objects", "in_cycles")}
    peers = rows.pop()
    left = {key: end[key] - begin[key] for key in ("connections", "descriptors", "tasks") if end[key] > begin[key]}
    return {
        "settings": attrs.asdict(settings),
        "begin": begin,
        "rows": rows,
        "end": end,
        "peers": peers,
        "left": left,
        "mib_an_hour": memory_slope([(row["seconds"], row["rss_mib"]) for row in rows], settings.seconds),
    }


def _rows(edge: Edge, settings: SoakSettings) -> Iterator[dict[str, Any]]:
    """The counts of the peers at each sample with those of the edge; the last one is of the peers alone."""
    ways = [way for way in WAYS if settings.deadlines or way not in DEADLINE_WAYS]
    options = ["--count", str(settings.connections), "--seconds", str(settings.seconds)]
    options += ["--drain", str(settings.drain), "--every", str(settings.every), "--ways", ",".join(ways)]
    options += ["--least-life", str(settings.least_life), "--most-life", str(settings.most_life)]
    began = time.monotonic()
    before, before_at = edge.process.cpu_seconds(), began
    for line in run_peers(edge, options):
        if "end" in line:
            yield line
            return
        sample = edge.sample()
        now = time.monotonic()
        row = line | sample | {"seconds": now - began, "core_share": (sample["cpu"] - before) / (now - before_at)}
        before, before_at = sample["cpu"], now
        say(
            f"soak: {row['seconds']:.0f} s: {row['open']} peers, {row['opened']} opened, {row['answered']} answers, "
            f"{sum(row['failed'].values())} failed; edge: {row['connections']} connections, "
            f"{row['descriptors']} descriptors, {row['rss_mib']:.1f} MiB, {row['core_share']:.0%} of a core"
        )
        yield row
    raise BenchError("the peers ended early; they say why above")


def run_peers(edge: Edge, options: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines that the peers print."""
    argv = [sys.executable, "-m", "bench.soak_client", "--servers", ",".join(edge.servers), *options]
    root, bind = Path(__file__).parents[1], die_with(os.getpid())
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, text=True, preexec_fn=bind) as peers:
        assert peers.stdout is not None
        try:
            for line in peers.stdout:
                yield json.loads(line)
        finally:
            peers.kill()


def _settled(edge: Edge, begin: dict[str, float]) -> dict[str, float]:
    """A sample once the edge holds no more than at the begin, or the last one."""
    sample = edge.sample()

    def settled() -> bool:
        nonlocal sample
        sample = edge.sample()
        return all(sample[key] <= begin[key] for key in ("connections", "descriptors", "tasks"))

    try:
        wait_until(settled, SETTLE_SECONDS, "the end of all connections")
    except BenchError as error:
        say(f"soak: {error}")
    return sample


def memory_slope(samples: Sequence[tuple[float, float]], seconds: float) -> float:
    """How fast memory grows after the first third, in MiB an hour: the least squares over (seconds, MiB). 0 with less
    than three samples."""
    later = [sample for sample in samples if seconds / 3 <= sample[0] <= seconds + 1]
    if len(later) < 3:
        return 0.0
    return statistics.linear_regression(*zip(*later, strict=True)).slope * 3_600


@contextmanager
def started_edge(ping: float) -> Iterator[Edge]:
    """A freshly started edge that answers."""
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as temporary:
        folder = Path(temporary)
        servers = tuple(f"{PUBLIC}:{free_port(PUBLIC)}" for _ in TRANSPORTS)
        http = f"{PUBLIC}:{free_port(PUBLIC)}"
        questions = (PUBLIC, free_port(PUBLIC))
        keys = ("", "", f"ping = {ping}")
        policy = folder / "bench.toml"
        policy.write_text(
            stream_policy(folder, "127.33.0.0/24", zip(TRANSPORTS, servers, keys, strict=True), http) + SMALL_TRACKER
        )
        argv = [sys.executable, "-m", "bench.soak_edge", str(policy), questions[0], str(questions[1])]
        with Process("edge", argv, folder) as process:
            edge = Edge(process, servers, http, questions)
            wait_until(lambda: _answers(edge), 15, "an answer of the edge")
            yield edge


def _answers(edge: Edge) -> bool:
    edge.process.require()
    try:
        return "edgesbc_connections" in get_metrics(edge.http)
    except BenchError:
        return False


def get_metrics(address: str) -> str:
    """The metrics. Raises :class:`BenchError`."""
    host, _, port = address.partition(":")
    connection = HTTPConnection(host, int(port), timeout=15)
    try:
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    except OSError as error:
        raise BenchError(f"the edge does not serve its metrics: {error}") from None
    finally:
        connection.close()


def _ask(address: tuple[str, int], question: bytes) -> dict[str, float]:
    """The counts of :mod:`bench.soak_edge`. Raises :class:`BenchError`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(15)
        try:
            sock.sendto(question, address)
            counts: dict[str, float] = json.loads(sock.recv(4_096))
        except OSError as error:
            raise BenchError(f"the edge does not tell its counts: {error}") from None
    return counts
