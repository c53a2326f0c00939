"""The command line, and nothing else: one file a group of commands."""

from __future__ import annotations

from edgesbc.cli import bans, policies, running
from edgesbc.cli.root import main

__all__ = ["bans", "main", "policies", "running"]
