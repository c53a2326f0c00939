"""Words and exit codes that all commands share. Knows no command."""

from __future__ import annotations

import sys
from typing import Any

import click

__all__ = ["USAGE_ERROR", "counted", "refuse"]

USAGE_ERROR = 2


def refuse(lines: list[str], so: str = "nothing was started", code: int = USAGE_ERROR) -> Any:
    for line in lines:
        click.echo(line, err=True)
    click.echo(f"{counted(len(lines), 'mistake')}; {so}", err=True)
    sys.exit(code)


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
