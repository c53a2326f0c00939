"""``edgesbc bans``: bans of a running edge, and an operator's own bans and exemptions."""

from __future__ import annotations

import getpass
import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from edgesbc.cli.group import main
from edgesbc.cli.output import counted
from edgesbc.cli.running_edge import ask_edge, edge_options
from edgesbc.control.protocol import ControlRequest

__all__ = ["Duration"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number of seconds, or of ``m``inutes, ``h``ours or ``d``ays."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if match is None or not int(match[1]):
            self.fail(f"expected a time as in 90, 10m, 2h or 7d; found {value!r}", param, ctx)
        return float(int(match[1]) * _UNITS[match[2]])


@main.group()
def bans() -> None:
    """Who is banned by a running edge.

    The edge bans by itself what floods, scans or guesses, as widely and as long as that is proven. An
    operator's ban holds for every transport and for users that are registered, though not for a trunk,
    which is taken out of the policy instead; it closes connections, and outlives a restart.
    """


@bans.command("list", short_help="List bans and orders, and the busiest sources.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@edge_options
def show(as_json: bool, control: Path) -> None:
    """List bans and orders, newest first, and the sources that send most.

    Exit code 2: no edge answers.
    """
    answer = ask_edge(control, ControlRequest("bans list"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for row in answer["bans"]:
        click.echo(row["sentence"])
    if answer["left_out"]:
        click.echo(f"{counted(answer['left_out'], 'older ban')} not shown")
    if not answer["bans"]:
        click.echo("nobody is banned")
    if answer["watched"]:
        click.echo("\nbusiest in the last window of pike:")
        for row in answer["watched"]:
            click.echo(f"  {row['who']}: {counted(row['messages'], 'message')}{', tripped' if row['hot'] else ''}")


@bans.command()
@click.argument("prefix")
@click.option("--for", "seconds", type=Duration(), help="How long, as in 90, 10m, 2h or 7d; without it, for good.")
@click.option("--why", default="", help="A word for those who find it.")
@click.option("--exempt", is_flag=True, help="The opposite: never penalise it, and lift the bans that it has.")
@edge_options
def add(prefix: str, seconds: float | None, why: str, exempt: bool, control: Path) -> None:
    """Ban an address or a PREFIX, or exempt it.

    Of several orders, the one for the longest prefix counts. A second one for the same prefix takes the place
    of the first.

    \b
    Examples:
      edgesbc bans add 192.0.2.0/24 --for 7d --why 'complaint of Monday'
      edgesbc bans add 203.0.113.7 --exempt

    Exit code 2: no edge answers, or PREFIX is none.
    """
    arguments = {"prefix": prefix, "seconds": seconds, "why": why, "exempt": exempt, "by": getpass.getuser()}
    answer = ask_edge(control, ControlRequest("bans add", arguments))
    time = "until it is taken back" if answer["seconds"] is None else f"for {answer['seconds']:.0f} s"
    click.echo(f"{answer['prefix']} is {'exempt' if answer['exempt'] else 'banned'} {time}")
    if answer["lifted"]:
        click.echo(f"{counted(answer['lifted'], 'ban')} lifted")
    if answer["trunks"]:
        click.echo(f"it does not hold for trunks ({', '.join(answer['trunks'])}): take them out of the policy instead")


@bans.command(short_help="Take an order back, or lift the edge's own bans of WHO.")
@click.argument("who")
@edge_options
def remove(who: str, control: Path) -> None:
    """Take an order back, or lift the edge's own bans of WHO: an address, an address and port, or a prefix.

    An address stands for all its ports. A prefix is that ban or order alone, and nothing within it.

    \b
    Examples:
      edgesbc bans remove 192.0.2.7
      edgesbc bans remove 192.0.2.7:5060
      edgesbc bans remove 192.0.2.0/24

    Exit code 1: there was nothing of it; 2: no edge answers, or WHO is none of these.
    """
    answer = ask_edge(control, ControlRequest("bans remove", {"who": who, "by": getpass.getuser()}))
    if answer["order"]:
        click.echo(f"the order for {answer['who']} is taken back")
    if answer["lifted"]:
        click.echo(f"{counted(answer['lifted'], 'ban')} of {answer['who']} lifted")
    if not (answer["order"] or answer["lifted"]):
        click.echo(f"there is no ban of {answer['who']}, and no order; see `edgesbc bans list`", err=True)
        sys.exit(1)
