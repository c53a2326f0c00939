"""``edgesbc policy``, the group, and ``edgesbc policy shadow``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgesbc.cli.group import main
from edgesbc.cli.output import counted
from edgesbc.cli.running_edge import ask_edge, edge_options
from edgesbc.control.protocol import ControlRequest
from edgesbc.observe.text import shown

__all__: list[str] = []

_MOST = 80


@main.group(short_help="Compare, apply, take back and keep policies.")
def policy() -> None:
    """Try another policy on a running edge, put it in force, go back, and keep what there was."""


@policy.command(short_help="Judge by another policy beside the live one, without effect.")
@click.argument("of", metavar="FILE|off|show")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@edge_options
def shadow(of: str, as_json: bool, control: Path) -> None:
    """Judge by the policy in FILE beside the live one, without effect; show where they differ, or end it.

    Each message is put to both. What one would refuse and the other not, or each for another reason, is
    counted, with the last examples; so are new calls that would go to another destination set. The other
    policy begins with empty trackers, and with what sources have proven so far.

    \b
    Examples:
      edgesbc policy shadow stricter.toml
      edgesbc policy shadow show
      edgesbc policy shadow off

    Exit code 2: no edge answers, or FILE has mistakes.
    """
    answer = ask_edge(
        control, ControlRequest("policy shadow", {"of": of if of in ("off", "show") else str(Path(of).resolve())})
    )
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif not answer["on"]:
        click.echo("no policy is judged beside the live one")
    elif of == "show":
        _print(answer)
    else:
        click.echo(f"{of} is judged beside the live policy; see `edgesbc policy shadow show`")


def _print(answer: dict[str, Any]) -> None:
    click.echo(f"{counted(answer['judged'], 'message')} judged by both")
    for title, rows in (("verdicts", answer["differences"]), ("routes", answer["routes"])):
        for row in rows:
            click.echo(f"{title}: live {row['live']}, other {row['other']}: {counted(row['count'], 'message')}")
            for example in row["examples"]:
                call = f", call {shown(example['call_id'], _MOST)}" if example["call_id"] else ""
                click.echo(f"  as from {example['source']} on {example['listener']}{call}")
    if not (answer["differences"] or answer["routes"]):
        click.echo("no difference so far")
