"""The command line, and nothing else: one file a group of commands."""

from __future__ import annotations

from edgesbc.cli import bans, changes, destinations, importing, policies, running_edge, versions
from edgesbc.cli.root import main

__all__ = ["bans", "changes", "destinations", "importing", "main", "policies", "running_edge", "versions"]
