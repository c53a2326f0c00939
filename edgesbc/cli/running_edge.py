"""The commands why, status, reload and drain, and how all commands reach a running edge: by its control socket."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from edgesbc.base.errors import PolicyErrors
from edgesbc.cli.group import main
from edgesbc.cli.output import USAGE_ERROR, counted, print_columns, refuse
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.policy.load import state_dir_of
from edgesbc.policy.model import CONTROL_SOCKET, default_state_dir

__all__ = ["ask_edge", "edge_options"]


def edge_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the options that name a running edge; it gets the path of its control socket."""

    @click.option("--policy", type=click.Path(path_type=Path), help="Ask the edge that runs from this policy.")
    @click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        help="Ask the edge with this [edge] state_dir; without either option, that of a policy that names none.",
    )
    @wraps(command)
    def with_socket(*arguments: Any, policy: Path | None, state_dir: Path | None, **more: Any) -> None:
        if policy is not None and state_dir is not None:
            raise click.UsageError("--policy and --state-dir name the same thing; give one of them")
        if policy is not None:
            try:
                state_dir = state_dir_of(policy)
            except PolicyErrors as errors:
                refuse(errors.errors, "give --state-dir instead, or mend it")
        command(*arguments, control=(state_dir or default_state_dir()) / CONTROL_SOCKET, **more)

    return with_socket


@main.command(short_help="Say what a running edge decided, and why.")
@click.argument("of", metavar="CALL-ID|ADDRESS")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@edge_options
def why(of: str, as_json: bool, control: Path) -> None:
    """Say what a running edge decided about a call, an address or a destination's name, and why.

    Prints a sentence for each decision, oldest first: when, what was done to whom, why, with what was seen
    and what is allowed, and the reason code that metrics and logs use. An address may have a port; without
    one, all its ports are meant, and the penalties of the prefixes that it is in.

    The edge remembers the last 10000 decisions, from when it was started. Exit code 0: something is known;
    1: nothing is; 2: no edge answers.

    \b
    Examples:
      edgesbc why 192.0.2.7
      edgesbc why '[2001:db8::7]:5060' --state-dir /var/lib/edgesbc
      edgesbc why 843817637684230@998sdasdh09 --policy /etc/edgesbc/edge.toml --json
    """
    answer = ask_edge(control, ControlRequest("why", {"of": of}))
    decisions, left_out = answer["decisions"], answer["left_out"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif left_out:
        click.echo(f"{counted(left_out, 'earlier decision')} not shown")
    if not decisions:
        click.echo(f"nothing is known of {of!r}, neither as a Call-ID nor as an address", err=True)
        click.echo("Bans that are wider, or of before its start, are in `edgesbc bans list`.", err=True)
        sys.exit(1)
    if not as_json:
        for decision in decisions:
            click.echo(decision["sentence"])


@main.command(short_help="Say how a running edge is, and its processes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
@edge_options
def status(as_json: bool, control: Path) -> None:
    """Say how a running edge is: its calls, why it takes no new ones, and its processes.

    While its signalling process is being started again, the supervisor answers. Exit code 0: it takes new
    calls; 1: it does not; 2: no edge answers.
    """
    answer = ask_edge(control, ControlRequest("status"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        adopted = answer["adopted_calls"]
        more = f" and {adopted} of an earlier run" if adopted else ""
        click.echo(f"{answer['name']}: edgesbc {answer['version']}, {counted(answer['calls'], 'call')}{more}")
        for part, reason in answer["not_ready"].items():
            click.echo(f"takes no new calls: {part} {reason}")
        rows = [
            [one["name"], str(one["pid"] or "-"), one["state"], f"{one['since']:.0f} s", str(one["restarts"])]
            for one in answer["processes"]
        ]
        print_columns(["process", "pid", "state", "since", "restarts"], rows)
    if answer["not_ready"]:
        sys.exit(1)


@main.command(short_help="Have a running edge read its policy again.")
@edge_options
def reload(control: Path) -> None:
    """Have a running edge read its policy and certificates again, as SIGHUP does.

    Its databases are asked again at once. A policy with mistakes changes nothing: they are printed, and the
    exit code is 1. Exit code 2: no edge answers.
    """
    reloaded = ask_edge(control, ControlRequest("reload"))
    if reloaded["mistakes"]:
        refuse(reloaded["mistakes"], "the old policy goes on", code=1)
    click.echo("reloaded")
    for problem in reloaded["databases"]:
        click.echo(f"{problem}; the last rows that were good go on", err=True)
    if reloaded["needs_restart"]:
        click.echo(f"needs a restart: {', '.join(reloaded['needs_restart'])}")


@main.command()
@edge_options
def drain(control: Path) -> None:
    """Tell a running edge to drain and end, as SIGTERM does.

    New calls get 503, live ones [edge] grace seconds, then BYE. Returns at once. Exit code 2: no edge answers.
    """
    draining = ask_edge(control, ControlRequest("drain"))
    click.echo(f"draining: {counted(draining['calls'], 'call')} alive, {draining['grace']:g} s of grace")


def ask_edge(control: Path, request: ControlRequest) -> Any:
    """The answer of the edge whose socket is ``control``; ends the program where there is none."""
    try:
        return ask(control, request)
    except NoAnswer as error:
        click.echo(f"edgesbc: {error}", err=True)
        click.echo(
            "Is it running, as this user, and with this state_dir? Name it with --policy FILE or --state-dir DIR.",
            err=True,
        )
    except CommandRefused as error:
        click.echo(f"edgesbc: the edge at {control} refuses: {error}", err=True)
    sys.exit(USAGE_ERROR)
