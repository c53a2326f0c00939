"""The command line, and nothing else: one file a group of commands."""

from __future__ import annotations

from edgesbc.cli import bans, destinations, policies, running
from edgesbc.cli.root import main

__all__ = ["bans", "destinations", "main", "policies", "running"]
