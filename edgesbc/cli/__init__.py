"""The command line: each module holds a group of commands."""

from __future__ import annotations

from edgesbc.cli import bans, changes, commands, destinations, importing, media, policies, running_edge, versions
from edgesbc.cli.group import main

__all__ = [
    "bans", "changes", "commands", "destinations", "importing", "main", "media", "policies", "running_edge", "versions",
]  # fmt: skip
