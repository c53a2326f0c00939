"""``bench streams``: what SIP over TCP, TLS and WSS costs the edge and Kamailio, in turn.

Three jobs: messages on open connections, new connections with full and with resumed TLS handshakes, and the memory of
idle connections.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from bench.figures import ratios, summary
from bench.ports import free_port
from bench.process import BenchError, Process, loopback, say, wait_until
from bench.stream_policy import stream_policy
from edgesbc.policy.certificates import FULL_CHAIN, PRIVATE_KEY, own_certificate

__all__ = ["Engine", "StreamSettings", "bench_streams", "run_client", "started"]

TRANSPORTS = ("tcp", "tls", "wss")
KAMAILIO_TCP_CHILDREN = 1
"""Kamailio's processes that read from connections. Two or more share what OpenSSL 3 keeps, which Kamailio 5.6 does not
lock: some handshakes then fail."""
SOURCES = tuple(loopback(last) for last in range(10, 30))
"""The client's addresses: one has at most ``limits.CONNECTIONS_PER_ADDRESS`` connections."""
PUBLIC = loopback(1)
NEW_CONNECTIONS = {
    "tcp": ("tcp", False),
    "tls": ("tls", False),
    "tls resumed": ("tls", True),
    "wss": ("wss", False),
    "wss resumed": ("wss", True),
}
"""The rows of new connections: transport, and whether they resume a TLS session."""


_Value = TypeVar("_Value")


@attrs.frozen
class StreamSettings:
    """The requests and connections to make."""

    rate: int = 800
    """Requests a second, over all connections."""
    connections: int = 20
    """Open connections on which they are sent."""
    seconds: int = 10
    new_rate: int = 200
    """New connections a second."""
    new_seconds: int = 5
    warm_up: float = 1.0
    """Seconds of either before the measurement."""
    idle: int = 2_000
    """Idle connections whose memory is measured."""
    rounds: int = 3


@attrs.frozen
class Engine:
    """A started engine, and its address of each transport."""

    process: Process
    addresses: dict[str, str]


def bench_streams(settings: StreamSettings, engines: list[str]) -> dict[str, Any]:
    """Measure each engine: the figures of every round, and their medians. Raises :class:`BenchError`."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the engines inherit it
    rows = [*(f"message {transport}" for transport in TRANSPORTS), *(f"connection {kind}" for kind in NEW_CONNECTIONS)]
    rounds: dict[str, dict[str, list[dict[str, float]]]] = {row: {name: [] for name in engines} for row in rows}
    ciphers: dict[str, str] = {}
    for number in range(settings.rounds):
        for name in engines:
            with started(name) as engine:
                for row in rows:
                    figures = _measure(engine, row, settings)
                    if cipher := figures.pop("cipher", ""):
                        ciphers[name] = str(cipher)
                    rounds[row][name].append(figures)
                    say(
                        f"streams: round {number + 1} of {settings.rounds}: {name}: {figures['cpu_us']:.0f} µs "
                        f"a {row}, {figures['rate']:.0f} a second"
                    )
    result: dict[str, Any] = {
        "settings": attrs.asdict(settings) | {"kamailio_tcp_children": KAMAILIO_TCP_CHILDREN},
        "ciphers": ciphers,
        "rounds": rounds,
        "medians": {row: summary(by_engine, ("unanswered", "failed")) for row, by_engine in rounds.items()},
        "idle_kib": {
            transport: {name: _idle_kib(name, transport, settings) for name in engines} for transport in TRANSPORTS
        },
    }
    if len(engines) == 2:
        result["ratios"] = {row: ratios(by_engine, "edge", "kamailio") for row, by_engine in rounds.items()}
    return result


def _measure(engine: Engine, row: str, settings: StreamSettings) -> dict[str, Any]:
    """The figures of one row, among them ``cpu_us``: user and system time a message, or a new connection."""
    job, _, kind = row.partition(" ")
    if job == "message":
        options = [
            *("messages", "--transport", kind, "--count", str(settings.connections), "--rate", str(settings.rate)),
            *("--seconds", str(settings.seconds), "--warm-up", str(settings.warm_up)),
        ]
    else:
        transport, resumed = NEW_CONNECTIONS[kind]
        options = [
            *("open", "--transport", transport, *(("--resumed",) if resumed else ())),
            *("--rate", str(settings.new_rate)),
            *("--seconds", str(settings.new_seconds), "--warm-up", str(settings.warm_up)),
        ]
    process = engine.process
    figures, before, after = run_client(engine, options, lambda: (process.cpu_seconds(), process.memory().pss))
    if not figures["done"]:
        raise BenchError(f"{process.name} answered nothing: {process.end_of_log()}")
    figures["cpu_us"] = (after[0] - before[0]) / figures["done"] * 1e6
    figures["growth_mib"] = (after[1] - before[1]) / 2**20
    return figures


def _idle_kib(name: str, transport: str, settings: StreamSettings) -> float:
    """KiB that an idle connection adds to the memory of a fresh engine, pages that its processes share counted once."""
    with started(name) as engine:
        options = ["hold", "--transport", transport, "--count", str(settings.idle)]
        _, before, after = run_client(engine, options, lambda: engine.process.memory().pss)
    kib = (after - before) / 1024 / settings.idle
    say(f"streams: {name}: {kib:.1f} KiB an idle {transport} connection")
    return kib


def run_client(
    engine: Engine, options: Sequence[str], read: Callable[[], _Value]
) -> tuple[dict[str, Any], _Value, _Value]:
    """The client's figures, and what ``read`` gives before and after the measured time."""
    transport = options[options.index("--transport") + 1]
    argv = [sys.executable, "-m", "bench.stream_client", *options]
    argv += ["--server", engine.addresses[transport], "--sources", ",".join(SOURCES)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            values = []
            for word in ("start", "stop"):
                if client.stdout.readline().strip() != word:
                    engine.process.require()
                    raise BenchError(f"the client of {engine.process.name} ended early; it says why above")
                values.append(read())
                client.stdin.write("\n")
                client.stdin.flush()
            figures: dict[str, Any] = json.loads(client.stdout.readline())
        except BaseException:
            client.kill()
            raise
    engine.process.require()
    return figures, values[0], values[1]


@contextmanager
def started(
    name: str, transports: Sequence[str] = TRANSPORTS, kamailio_options: Sequence[str] = ()
) -> Iterator[Engine]:
    """A freshly started engine that accepts connections over these transports."""
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as temporary:
        folder = Path(temporary)
        certificate = own_certificate(folder / "certificate", ["localhost"])
        addresses = {transport: f"{PUBLIC}:{free_port(PUBLIC)}" for transport in transports}
        if name == "edge":
            argv = _edge(folder, certificate, addresses)
        else:
            plain, secure = (f"{PUBLIC}:{free_port(PUBLIC)}" for _ in range(2))  # each takes WebSockets too
            listeners = {"tcp": plain, "ws": plain, "tls": secure, "wss": secure}
            addresses = {transport: listeners[transport] for transport in transports}
            argv = [*_kamailio(folder, certificate, plain, secure), *kamailio_options]
        with Process(name, argv, folder) as process:
            engine = Engine(process, addresses)
            wait_until(lambda: _answers(engine), 15, f"an answer of {name}")
            yield engine


def _edge(folder: Path, certificate: Path, addresses: dict[str, str]) -> list[str]:
    secure = f'certificate = "{certificate}"'
    listeners = [
        (transport, bind, "" if transport in ("tcp", "ws") else secure) for transport, bind in addresses.items()
    ]
    (folder / "bench.toml").write_text(stream_policy(folder, f"{_prefix()}0/24", listeners))
    return [sys.executable, "-m", "edgesbc", "run", str(folder / "bench.toml")]


def _kamailio(folder: Path, certificate: Path, plain: str, secure: str) -> list[str]:
    text = (Path(__file__).parent / "kamailio_streams.cfg").read_text()
    for word, value in {
        "TCP": plain, "TLS": secure, "TRUNK": _prefix().replace(".", r"\."),
        "CERTIFICATE": certificate / FULL_CHAIN, "KEY": certificate / PRIVATE_KEY, "CHILDREN": KAMAILIO_TCP_CHILDREN,
    }.items():  # fmt: skip
        text = text.replace(f"@{word}@", str(value))
    (folder / "kamailio.cfg").write_text(text)
    argv = ["kamailio", "-x", "fm", "-X", "fm", "-DD", "-E", "-m", "512", "-M", "16"]
    return [*argv, "-Y", str(folder), "-f", str(folder / "kamailio.cfg")]


def _prefix() -> str:
    """The begin of all addresses of the client."""
    return PUBLIC[: PUBLIC.rindex(".") + 1]


def _answers(engine: Engine) -> bool:
    """Whether the engine answers over the transport that it opens last."""
    engine.process.require()
    transport, address = list(engine.addresses.items())[-1]
    argv = [sys.executable, "-m", "bench.stream_client", "open", "--transport", transport, "--seconds", "0"]
    argv += ["--warm-up", "0", "--server", address, "--sources", SOURCES[0]]
    root = Path(__file__).parents[1]
    client = subprocess.run(argv, cwd=root, input="\n\n", capture_output=True, text=True, timeout=30, check=False)
    return client.returncode == 0
