"""The policy of an edge that answers over connections and sends nothing anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.ports import free_port
from bench.process import loopback

__all__ = ["stream_policy"]

_CORE = loopback(2)
_POLICY = """
[edge]
name = "bench"
state_dir = "{folder}/state"
planes = "tasks"
grace = 0

[[listen]]
zone = "core"
transport = "udp"
bind = "{core}"

[[trunk]]
name = "carrier"
addresses = ["{trunk}"]

[[destinations]]
set = "pbx"
members = [{{ uri = "sip:{core_host}:9" }}]
[destinations.health]
interval = 0

[media]
engine = "none"

[observe]
http = "{http}"
log = "warning"
"""
_LISTEN = """
[[listen]]
zone = "public"
transport = "{transport}"
bind = "{bind}"
{more}
"""


def stream_policy(folder: Path, trunk: str, listeners: Iterable[tuple[str, str, str]], http: str = "") -> str:
    """The policy as TOML. ``trunk`` is a prefix, ``http`` the address of the HTTP server. Each listener is a transport,
    an address, and further keys."""
    core = f"{_CORE}:{free_port(_CORE)}"
    text = _POLICY.format(folder=folder, core=core, core_host=_CORE, trunk=trunk, http=http)
    for transport, bind, more in listeners:
        text += _LISTEN.format(transport=transport, bind=bind, more=more)
    return text
