"""``edgesbc destinations``: the destinations of a running edge, and an operator's orders about them."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from edgesbc.cli.bans import Duration
from edgesbc.cli.group import main
from edgesbc.cli.output import counted, print_columns
from edgesbc.cli.running_edge import ask_edge, edge_options
from edgesbc.control.protocol import ControlRequest

__all__ = ["cells"]

_LOOK_SECONDS: Final = 0.5
"""Seconds between two questions for the calls that are left while a drain is waited for."""
_INTERRUPTED: Final = 130
"""The exit code of shells for a program that Ctrl-C ended."""

_HEADINGS = (
    "set", "member", "address", "state", "since", "calls", "resources", "cps", "weight", "priority", "answer",
    "remarks",
)  # fmt: skip


@main.group(short_help="List, drain, enable, disable and audit destinations.")
def destinations() -> None:
    """The destinations of a running edge: list, drain, enable, disable, audit.

    WHO is a member as SET/URI, a URI in all sets that have it, a SET with all its members, or an address and
    port. Orders hold at once, over reloads and restarts, until the next one; live calls are never cut.
    """


@destinations.command("list", short_help="Show the state and load of every member.")
@click.argument("who", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of columns.")
@edge_options
def show(who: str | None, as_json: bool, control: Path) -> None:
    """Show how every destination is and what it carries, or those that WHO means.

    \b
    state      active; trying: something failed; inactive: no calls; resting: it asked for none (Retry-After);
               draining, disabled: by order, or by the policy, with its health where that is not active
    calls      live ones, of max_calls; resources likewise
    cps        calls begun in the last second, of max_cps, where it has one
    answer     how long it takes to answer, smoothed

    Exit code 2: no edge answers, or WHO is nobody.
    """
    answer = ask_edge(control, ControlRequest("destinations list", {} if who is None else {"who": who}))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    print_columns(_HEADINGS, [cells(row) for row in answer["members"]])
    if answer["left_out"]:
        click.echo(f"{counted(answer['left_out'], 'more member')} not shown; name a set")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The columns for a member in the answer to ``destinations list``."""
    state = "resting" if row["resting"] and row["state"] in ("active", "trying") else row["state"]
    if row["state"] != row["health"] and row["health"] != "active":
        state = f"{state} ({row['health']})"
    resources = " ".join(f"{name} {used}/{most}" for name, (used, most) in row["resources"].items())
    return (
        row["set"], row["uri"], row["address"], state, _duration(row["since"]), _of(row["calls"], row["max_calls"]),
        resources or "-", _of(row["cps"], row["max_cps"]), str(row["weight"]), str(row["priority"]),
        "-" if row["answer"] is None else f"{row['answer'] * 1000:.0f} ms", "; ".join(_remarks(row)) or "-",
    )  # fmt: skip


def _remarks(row: dict[str, Any]) -> Iterator[str]:
    if row["order"] is not None:
        yield f"by {row['by']}{': ' if row['why'] else ''}{row['why']}"
    if row["connect_failures"]:
        wait = f", next call in {_duration(row['connect_after'])}" if row["connect_after"] else ""
        yield f"{counted(row['connect_failures'], 'connection')} failed in a row{wait}"
    if row["failure"]:
        yield f"failed {_duration(row['failed'])} ago: {row['failure']}"


def _of(used: float | None, most: float | None) -> str:
    return f"{'-' if used is None else f'{used:g}'}{'' if most is None else f'/{most:g}'}"


def _duration(seconds: float | None) -> str:
    """A time in the largest unit in which it is at least 1."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# --- orders ----------------------------------------------------------------------------------------------

_why = click.option("--why", default="", help="A word for those who find it.")


@destinations.command(short_help="No new calls to WHO; wait until the last has ended.")
@click.argument("who")
@click.option("--wait/--no-wait", default=None, help="Return when the last call has ended; by default on a terminal.")
@click.option("--timeout", type=Duration(), help="Wait no longer than this, as in 90, 10m or 2h.")
@_why
@edge_options
def drain(who: str, wait: bool | None, timeout: float | None, why: str, control: Path) -> None:
    """Give WHO no new calls; those that live go on.

    Waits, on a terminal or with --wait or --timeout, until the last one has ended. Ctrl-C ends the waiting, and
    not the drain. Probes go on, so that its health is known when it is enabled again.

    \b
    Examples:
      edgesbc destinations drain sip:10.0.0.11:5060 --why 'new kernel'
      edgesbc destinations drain pbx/sip:10.0.0.11:5060 --wait --timeout 2h && ssh 10.0.0.11 reboot

    Exit code 0: it drains, and where that was waited for, no call is left; 1: after --timeout calls are left, or
    somebody enabled it meanwhile; 2: no edge answers, or WHO is nobody; 130: Ctrl-C.
    """
    if wait is False and timeout is not None:
        raise click.UsageError("--timeout says how long to wait; leave --no-wait out")
    answer = _order("drain", who, why, control)
    try:
        _print_members(answer, "drains")
        click.echo(f"{counted(answer['calls'], 'call')} left")
        if wait or timeout is not None or (wait is None and sys.stdout.isatty()):
            _wait(who, answer["calls"], timeout, control)
    except KeyboardInterrupt:
        click.echo(f"\nthe drain stays in force; `edgesbc destinations enable {who}` ends it", err=True)
        sys.exit(_INTERRUPTED)


@destinations.command(short_help="WHO takes new calls again.")
@click.argument("who")
@_why
@edge_options
def enable(who: str, why: str, control: Path) -> None:
    """Give WHO new calls again, as its health allows: the end of a drain, of `disable`, or of disabled in the policy.

    Exit code 2: no edge answers, or WHO is nobody.
    """
    _print_members(_order("enable", who, why, control), "is enabled")


@destinations.command(short_help="No new calls to WHO, and no probes.")
@click.argument("who")
@_why
@edge_options
def disable(who: str, why: str, control: Path) -> None:
    """Give WHO no new calls and do not probe it; calls that live go on.

    Exit code 2: no edge answers, or WHO is nobody.
    """
    answer = _order("disable", who, why, control)
    _print_members(answer, "is disabled")
    click.echo(f"{counted(answer['calls'], 'call')} left")


def _order(word: str, who: str, why: str, control: Path) -> Any:
    return ask_edge(
        control, ControlRequest("destinations order", {"who": who, "order": word, "why": why, "by": getpass.getuser()})
    )


def _print_members(answer: Any, done: str) -> None:
    """Print what an order has done, member by member."""
    for name in answer["members"]:
        click.echo(f"{name} {done}")
    if answer["left_out"]:
        click.echo(f"and {counted(answer['left_out'], 'more member')}")
    for name in answer["without"]:
        click.echo(f"warning: no member of {name} takes new calls now", err=True)


def _wait(who: str, calls: int, timeout: float | None, control: Path) -> None:
    """Wait until no call is left, and print how many there are whenever the number changes."""
    began = time.monotonic()
    print_left = _left_printer()
    while calls:
        if timeout is not None and time.monotonic() - began >= timeout:
            click.echo(f"{counted(calls, 'call')} left after {timeout:.0f} s; the drain stays in force", err=True)
            sys.exit(1)
        time.sleep(_LOOK_SECONDS)
        left = ask_edge(control, ControlRequest("destinations left", {"who": who}))
        if left["enabled"]:
            click.echo(f"somebody has enabled {who} meanwhile; see `edgesbc destinations list`", err=True)
            sys.exit(1)
        if left["calls"] != calls:
            calls = left["calls"]
            print_left(calls)
    click.echo(f"no call is left, after {time.monotonic() - began:.0f} s")


def _left_printer() -> Callable[[int], None]:
    """A function that prints a number of calls: on a terminal always in the same line, elsewhere in a new one."""
    if not sys.stdout.isatty():
        return lambda calls: click.echo(f"{counted(calls, 'call')} left")
    return lambda calls: click.echo(f"\r\x1b[K{counted(calls, 'call')} left", nl=not calls)


# --- audit -----------------------------------------------------------------------------------------------


@destinations.command("audit", short_help="Hold what is counted against the calls that live.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@edge_options
def audit(as_json: bool, control: Path) -> None:
    """Say whether the places taken at destinations are those that calls and requests under way hold.

    A place that nobody holds would be lost until the next restart, and one that is held and not counted would let a
    member have more than max_calls. Neither may ever be: what is found is a fault of the edge, to be reported.

    Exit code 0: all agrees; 1: each difference is named; 2: no edge answers.
    """
    answer = ask_edge(control, ControlRequest("destinations audit"))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        for line in answer["differences"]:
            click.echo(line)
        if answer["left_out"]:
            click.echo(f"{counted(answer['left_out'], 'more difference')} not shown")
        click.echo(
            f"{counted(answer['places'], 'place')} taken: {answer['of_calls']} by calls, {answer['of_requests']} by "
            f"other requests; {counted(len(answer['differences']) + answer['left_out'], 'difference')}"
        )
    sys.exit(1 if answer["differences"] else 0)
