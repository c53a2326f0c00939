"""Starts the engines that ``bench calls``, ``anchored`` and ``floods`` compare, on the same addresses for one job."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from bench.ports import free_port
from bench.process import Process, loopback, wait_until
from edgesbc.base import limits

__all__ = [
    "ENGINES",
    "KAMAILIO_CHILDREN",
    "Addresses",
    "await_answer",
    "choose_addresses",
    "start_edge",
    "start_flooded",
    "start_kamailio",
]

MAX_CPS = 5_000
"""New calls a second that both engines allow the trunk: checked, but never reached."""
MAX_CALLS = 10_000
"""Live calls that both engines allow the trunk."""
KAMAILIO_CHILDREN = 2
"""Kamailio processes for each of its two sockets."""

_POLICY = """
[edge]
name = "bench"
state_dir = "{state}"
planes = "{planes}"
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
{media}

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
    "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {contact};branch=z9hG4bKready;rport\r\nMax-Forwards: 70\r\n"
    "From: <sip:bench@{contact}>;tag=ready\r\nTo: <sip:{to}>\r\nCall-ID: ready@bench\r\nCSeq: 1 OPTIONS\r\n"
    "Contact: <sip:bench@{contact}>\r\nContent-Length: 0\r\n\r\n"
)


@attrs.frozen
class Addresses:
    """The addresses of all programs, as ``host:port`` on loopback."""

    caller: str
    public: str
    core: str
    one: str
    two: str


def choose_addresses() -> Addresses:
    """Loopback addresses of this run, with free ports."""
    hosts = [loopback(last) for last in (10, 1, 2, 11, 12)]
    return Addresses(*(f"{host}:{free_port(host)}" for host in hosts))


def _host(address: str) -> str:
    return address.partition(":")[0]


def start_edge(
    addresses: Addresses,
    folder: Path,
    http: str = "",
    options: str = "",
    prefix: Sequence[str] = (),
    media: str = 'engine = "none"',
    planes: str = "tasks",
) -> Process:
    """Start the edge; ``options`` are further tables of its policy, ``prefix`` is a command that starts the command,
    ``media`` are the keys of its table ``[media]``."""
    text = _POLICY.format(
        state=folder / "state", public=addresses.public, core=addresses.core, trunk=_host(addresses.caller),
        one=addresses.one, two=addresses.two, max_calls=MAX_CALLS, max_cps=MAX_CPS, http=http, media=media,
        planes=planes,
    )  # fmt: skip
    policy = folder / "bench.toml"
    policy.write_text(text + options)
    return Process("edge", [*prefix, sys.executable, "-m", "edgesbc", "run", str(policy)], folder)


def start_kamailio(addresses: Addresses, folder: Path, *options: str, media: str = "") -> Process:
    """Start Kamailio; ``media`` is the address of the rtpengine that is to relay the media of its calls, if any."""
    members = [
        f"1 sip:{member} 0 0 weight=50;socket=udp:{addresses.core}\n" for member in (addresses.one, addresses.two)
    ]
    (folder / "dispatcher.list").write_text("".join(members))
    text = (Path(__file__).parent / "kamailio.cfg").read_text()
    for word, value in {
        "PUBLIC": addresses.public, "CORE": addresses.core, "CORE_HOST": _host(addresses.core),
        "TRUNK": _host(addresses.caller),
        "LIST": folder / "dispatcher.list", "CHILDREN": KAMAILIO_CHILDREN, "MAX_CPS": MAX_CPS, "MAX_CALLS": MAX_CALLS,
        "RECEIVE_BUFFER": limits.UDP_RECEIVE_BUFFER, "RTPENGINE": media,
    }.items():  # fmt: skip
        text = text.replace(f"@{word}@", str(value))
    (folder / "kamailio.cfg").write_text(text)
    if media:
        options += "-A", "MEDIA"
    argv = ["kamailio", "-x", "fm", "-X", "fm", "-DD", "-E", "-S", "-m", "256", "-M", "16", *options]
    return Process("kamailio", [*argv, "-Y", str(folder), "-f", str(folder / "kamailio.cfg")], folder)


ENGINES: dict[str, Callable[[Addresses, Path], Process]] = {"edge": start_edge, "kamailio": start_kamailio}
"""Starts each engine."""


def start_flooded(name: str, addresses: Addresses, folder: Path, http: str) -> Process:
    """Start the engine with all its measures against floods.

    Both count packets by source address and have a bucket of ten INVITEs a second for each unproven source; its
    calls that pass both are not forwarded. The edge serves its metrics at ``http``.
    """
    if name == "edge":
        return start_edge(addresses, folder, http, _ROUTE.format(trunk=_host(addresses.caller)))
    return start_kamailio(addresses, folder, "-A", "FLOODS")


def await_answer(engine: Process, addresses: Addresses) -> None:
    """Wait until the engine answers an OPTIONS request from the caller's address."""
    host, _, port = addresses.caller.partition(":")
    to_host, _, to_port = addresses.public.partition(":")
    request = _OPTIONS.format(to=addresses.public, contact=addresses.caller).encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, int(port)))
        sock.settimeout(0.2)

        def answered() -> bool:
            engine.require()
            try:
                sock.sendto(request, (to_host, int(to_port)))
                return sock.recv(4096).startswith(b"SIP/2.0 200")
            except (TimeoutError, ConnectionRefusedError):
                return False

        wait_until(answered, 60, f"an answer of {engine.name}")
