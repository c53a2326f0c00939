"""The two edges that ``bench calls`` and ``bench floods`` compare, on the same addresses with the same job."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from bench.ports import free_port
from bench.process import Process, loopback, wait_until
from edgesbc.base import limits

__all__ = ["ENGINES", "KAMAILIO_CHILDREN", "Addresses", "await_answer", "choose_addresses", "start_flooded"]

MAX_CPS = 5_000
"""New calls a second that either edge lets the trunk have: the check is made, and never trips."""
MAX_CALLS = 10_000
"""Live calls that either edge lets the trunk have."""
KAMAILIO_CHILDREN = 2
"""Processes of Kamailio for each of its two sockets."""

_POLICY = """
[edge]
name = "bench"
state_dir = "{state}"
grace = 0

[[listen]]
name = "carriers"
zone = "public"
transport = "udp"
bind = "{public}"

[[listen]]
name = "inside"
zone = "core"
transport = "udp"
bind = "{core}"

[[trunk]]
name = "carrier"
addresses = ["{trunk}"]
max_calls = {max_calls}
max_cps = {max_cps}

[[destinations]]
set = "pbx"
algorithm = "weighted"
members = [
  {{ uri = "sip:{one}", weight = 50 }},
  {{ uri = "sip:{two}", weight = 50 }},
]
[destinations.health]
interval = 0

[media]
engine = "none"

[observe]
http = "{http}"
log = "warning"
"""
_ROUTE = """
[[route]]
name = "carrier"
from = "public"
source = ["{trunk}"]
to = "pbx"
"""

_OPTIONS = (
    "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKready;rport\r\nMax-Forwards: 70\r\n"
    "From: <sip:bench@{at}>;tag=ready\r\nTo: <sip:{to}>\r\nCall-ID: ready@bench\r\nCSeq: 1 OPTIONS\r\n"
    "Contact: <sip:bench@{at}>\r\nContent-Length: 0\r\n\r\n"
)


@attrs.frozen
class Addresses:
    """Who is where, as ``host:port``, all on loopback."""

    caller: str
    public: str
    core: str
    one: str
    two: str


def choose_addresses() -> Addresses:
    """Loopback addresses of the bench's own, with ports that nobody has."""
    hosts = [loopback(last) for last in (10, 1, 2, 11, 12)]
    return Addresses(*(f"{host}:{free_port(host)}" for host in hosts))


def _host(address: str) -> str:
    return address.partition(":")[0]


def _start_edge(at: Addresses, folder: Path, http: str = "", more: str = "") -> Process:
    text = _POLICY.format(
        state=folder / "state", public=at.public, core=at.core, trunk=_host(at.caller),
        one=at.one, two=at.two, max_calls=MAX_CALLS, max_cps=MAX_CPS, http=http,
    )  # fmt: skip
    policy = folder / "bench.toml"
    policy.write_text(text + more)
    return Process("edge", [sys.executable, "-m", "edgesbc", "run", str(policy)], folder)


def _start_kamailio(at: Addresses, folder: Path, *more: str) -> Process:
    members = [f"1 sip:{each} 0 0 weight=50;socket=udp:{at.core}\n" for each in (at.one, at.two)]
    (folder / "dispatcher.list").write_text("".join(members))
    text = (Path(__file__).parent / "kamailio.cfg").read_text()
    for word, value in {
        "PUBLIC": at.public, "CORE": at.core, "CORE_HOST": _host(at.core), "TRUNK": _host(at.caller),
        "LIST": folder / "dispatcher.list", "CHILDREN": KAMAILIO_CHILDREN, "MAX_CPS": MAX_CPS, "MAX_CALLS": MAX_CALLS,
        "RECEIVE_BUFFER": limits.UDP_RECEIVE_BUFFER,
    }.items():  # fmt: skip
        text = text.replace(f"@{word}@", str(value))
    (folder / "kamailio.cfg").write_text(text)
    argv = ["kamailio", "-x", "fm", "-X", "fm", "-DD", "-E", "-S", "-m", "256", "-M", "16", *more]
    return Process("kamailio", [*argv, "-Y", str(folder), "-f", str(folder / "kamailio.cfg")], folder)


ENGINES: dict[str, Callable[[Addresses, Path], Process]] = {"edge": _start_edge, "kamailio": _start_kamailio}
"""How to start each of them."""


def start_flooded(name: str, at: Addresses, folder: Path, http: str) -> Process:
    """The engine with all that it has against floods: strangers are watched by address, a stranger's INVITEs draw
    from a bucket of ten a second, and what passes both is let go no further. The edge shows its metrics at ``http``."""
    if name == "edge":
        return _start_edge(at, folder, http, _ROUTE.format(trunk=_host(at.caller)))
    return _start_kamailio(at, folder, "-A", "FLOODS")


def await_answer(engine: Process, at: Addresses) -> None:
    """Wait until the engine answers OPTIONS to itself, asked from the caller's address."""
    host, _, port = at.caller.partition(":")
    to_host, _, to_port = at.public.partition(":")
    question = _OPTIONS.format(to=at.public, at=at.caller).encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, int(port)))
        sock.settimeout(0.2)

        def answered() -> bool:
            engine.require()
            try:
                sock.sendto(question, (to_host, int(to_port)))
                return sock.recv(4096).startswith(b"SIP/2.0 200")
            except (TimeoutError, ConnectionRefusedError):
                return False

        wait_until(answered, 15, f"an answer of {engine.name}")
