"""The command ``edgesbc`` itself: the group that the commands of the other modules join."""

from __future__ import annotations

import click

from edgesbc.base.version import VERSION
from edgesbc.sip import parse

__all__ = ["build", "main"]


def build() -> str:
    """Whether the sans-I/O packages are compiled: docs/adr/0008."""
    return "compiled" if (parse.__file__ or "").endswith(".so") else "interpreted"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(f"{VERSION} ({build()})", prog_name="edgesbc")
def main() -> None:
    """A security-hardened SIP edge.

    It stands between the public internet and private SIP servers: terminates TLS and SIP over
    WebSocket, drops floods, spreads calls over weighted destinations with failover, hides the inside,
    and relays the media.

    \b
    First steps:
      edgesbc demo                        see all of it at work, in a minute
      edgesbc check policies/trunk.toml   is this policy sound, and can this machine run it?
      edgesbc run policies/trunk.toml     run it
      edgesbc import dispatcher.list      what is Kamailio's list of destinations here?
      edgesbc replay CAPTURE POLICY       what would this policy do with the traffic in this capture?

    \b
    Of an edge that runs:
      edgesbc why 192.0.2.7               what it decided about an address or a Call-ID, and why
      edgesbc bans list                   who is banned, and who is busiest
      edgesbc destinations list           how the destinations are, and what they carry
      edgesbc policy shadow NEW.toml      judge by another policy as well, without effect
      edgesbc policy diff NEW.toml        say what it would change
      edgesbc policy apply NEW.toml       put it in force, and take it back if calls fail
      edgesbc reload, edgesbc drain       as SIGHUP and SIGTERM do
    """
