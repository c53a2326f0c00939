"""``edgesbc policy diff``, ``apply`` and ``rollback``: a change of the policy of a running edge."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from edgesbc.base import limits
from edgesbc.base.errors import PolicyError, PolicyErrors
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.cli.output import USAGE_ERROR, counted, refuse
from edgesbc.cli.policies import policy
from edgesbc.cli.running_edge import ask_edge, edge_options
from edgesbc.cli.versions import in_force
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.observe.text import shown
from edgesbc.policy.diff import differences, needs_restart
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.policy.model import CONTROL_SOCKET, Policy

__all__ = ["waiting"]

_POLL = 0.5
"""Seconds between two questions about a change on probation."""
_REVERTED = 3
"""The exit code for a change that was taken back."""


@policy.command(short_help="Say what NEW.toml would change.")
@click.argument("new", metavar="NEW.toml", type=click.Path(path_type=Path))
@click.option("--against", metavar="OLD.toml", type=click.Path(path_type=Path), help="Compare with this file instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@edge_options
def diff(new: Path, against: Path | None, as_json: bool, control: Path) -> None:
    """Say what NEW.toml would change: section by section, how calls move between members, what needs a restart.

    Compared with the policy that a running edge has; where none runs, with the last one in its state_dir. Paths
    in NEW.toml are taken as if it stood in the place of the other.

    Exit code 2: a policy has mistakes, or there is none to compare with.
    """
    old = _read(against) if against is not None else _in_force(control)
    changed = _as_of(new, old.file)
    changes = differences(old, changed)
    waiting_sections = needs_restart(changes)
    if as_json:
        click.echo(
            json.dumps(
                {"changes": [change.as_json() for change in changes], "needs_restart": waiting_sections}, indent=2
            )
        )
        return
    for change in changes:
        click.echo(change.sentence)
    click.echo(counted(len(changes), "change") if changes else "nothing changes")
    if waiting_sections:
        click.echo(f"needs a restart: {', '.join(waiting_sections)}")


@policy.command(short_help="Put NEW.toml in force, and take it back if calls fail.")
@click.argument("new", metavar="NEW.toml", type=click.Path(path_type=Path))
@click.option("--why", required=True, help="The reason, for those who read the log.")
@click.option(
    "--settle",
    type=click.FloatRange(0, limits.SETTLE_SECONDS),
    help="Seconds that it is watched; else [change] settle.",
)
@click.option("--no-rollback", is_flag=True, help="Leave it in force whatever becomes of calls.")
@click.option("--accept-restart", is_flag=True, help="Also where some of it waits for a restart.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Stay until it has settled.")
@edge_options
def apply(
    new: Path,
    why: str,
    settle: float | None,
    no_rollback: bool,
    accept_restart: bool,
    wait: bool,
    control: Path,
) -> None:
    """Put NEW.toml in force on a running edge, between two messages, and write it in the place of its policy file.

    The text before is kept: `edgesbc policy log`. For `settle` seconds the edge compares how many call set-ups
    fail with how many did before; when too many more do, it goes back by itself. [change] has the numbers.

    \b
    Exit codes:
      0  it is in force, and has settled or is not waited for
      1  nothing was changed: NEW.toml has mistakes, or needs a restart;
         or it is in force, and a reload has ended the watch
      2  no edge answers, or it refuses
      3  it was taken back
    """
    arguments = {
        "text": _text_of(new), "why": why, "settle": settle, "rollback": not no_rollback,
        "accept_restart": accept_restart,
    }  # fmt: skip
    answer = ask_edge(control, ControlRequest("policy apply", arguments))
    if "mistakes" in answer:
        mistakes = [PolicyError(str(new), mistake["key"], mistake["message"]) for mistake in answer["mistakes"]]
        refuse(mistakes, "nothing was changed", code=1)
    if "waits" in answer:
        for sentence in answer["waits"]:
            click.echo(sentence, err=True)
        click.echo("nothing was changed; with --accept-restart all the rest is, and this at the next start", err=True)
        sys.exit(1)
    if answer.get("unchanged"):
        click.echo(f"nothing changes: version {answer['version']} has this text")
        return
    _print_changes(answer)
    click.echo(f"version {answer['version']} is in force")
    if answer["settle"] and wait:
        _wait(control, answer["version"])


@policy.command(short_help="Go back to the version before, or to another.")
@click.option("--to", type=click.IntRange(1, 2**31 - 1), metavar="VERSION", help="A version of `edgesbc policy log`.")
@click.option("--why", required=True, help="The reason, for those who read the log.")
@edge_options
def rollback(to: int | None, why: str, control: Path) -> None:
    """Put the version before in force again, or the one that --to names, and write it into the policy file.

    A change that settles is watched no longer. What needs a restart waits for one.

    Exit code 1: the old text has mistakes for this edge, and nothing was changed; 2: no edge answers, or there is
    no such version.
    """
    answer = ask_edge(control, ControlRequest("policy rollback", {"why": why, "to": to}))
    if "mistakes" in answer:
        mistakes = [PolicyError("the version", mistake["key"], mistake["message"]) for mistake in answer["mistakes"]]
        refuse(mistakes, "nothing was changed", code=1)
    _print_changes(answer)
    click.echo(f"version {answer['version']} is in force, with the text of version {answer['of']}")


def _print_changes(answer: dict[str, Any]) -> None:
    for sentence in answer["changes"]:
        click.echo(sentence)
    if answer["left_out"]:
        click.echo(f"{counted(answer['left_out'], 'change')} not shown")
    if answer["set_aside"] is not None:
        click.echo(f"the policy file had an edit that was never in force; it is kept as version {answer['set_aside']}")
    if answer["needs_restart"]:
        click.echo(f"needs a restart: {', '.join(answer['needs_restart'])}")


# --- waiting ---------------------------------------------------------------------------------------------


def _wait(control: Path, version: int) -> None:
    """Wait until the change has settled; ends the program where it was taken back or replaced."""
    line = _ProgressLine()
    while True:
        status = ask_edge(control, ControlRequest("policy settling", {"version": version}))
        if status["state"] != "settling":
            break
        since, before = status["since"], status["before"]
        line.show(
            f"settling, {status['left']:.0f} s left: {since['failed']} of {since['begun']} calls failed,"
            f" {before['failed']} of {before['begun']} before"
        )
        time.sleep(min(_POLL, status["left"] + 0.05))
    line.end()
    message = shown(status["message"], limits.LEDGER_TEXT_CHARS)
    if status["state"] == "settled":
        click.echo(f"version {version} has settled: {message}")
    elif status["state"] == "rolled-back":
        click.echo(f"version {version} is no longer in force: {message}", err=True)
        sys.exit(_REVERTED)
    else:
        click.echo(f"version {version}: {message}", err=True)
        sys.exit(1)


class _ProgressLine:
    """On a terminal one line that is written again; elsewhere a line now and then."""

    EVERY = 10
    """Where the output is no terminal, one of this many texts is shown."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._shown = 0

    def show(self, text: str) -> None:
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", nl=False)
        elif self._shown % self.EVERY == 0:
            click.echo(text)
        self._shown += 1

    def end(self) -> None:
        if self._terminal and self._shown:
            click.echo("\r\x1b[K", nl=False)


# --- reading ---------------------------------------------------------------------------------------------


def _text_of(path: Path) -> str:
    """The text of a policy file, unparsed; ends the program where it cannot be read."""
    try:
        return read_file(path, limits.POLICY_BYTES).decode()
    except OSError as error:
        refuse([f"{path}: cannot be read: {error.strerror}"], "nothing was changed", code=1)
    except FileTooLarge as error:
        refuse([str(error)], "nothing was changed", code=1)
    except UnicodeDecodeError as error:
        refuse([f"{path}: expected text in UTF-8: {error.reason}"], "nothing was changed", code=1)


def _read(path: Path) -> Policy:
    try:
        return load_policy(path)
    except PolicyErrors as errors:
        refuse(errors.errors, "nothing can be compared")


def _as_of(path: Path, file: str) -> Policy:
    """The policy in ``path`` with paths relative to the folder of ``file``; its mistakes are named by ``path``."""
    try:
        return parse_policy(_text_of(path), file)
    except PolicyErrors as errors:
        mistakes = [PolicyError(str(path), error.key, error.message) for error in errors.errors]
        refuse(mistakes, "nothing can be compared")


def _in_force(control: Path) -> Policy:
    """The policy of the edge at ``control``; where none runs, the last one in its log of policies."""
    try:
        running = ask(control, ControlRequest("policy running"))
        text, file = running["text"], running["file"]
    except CommandRefused as error:
        refuse([f"the edge at {control} refuses: {error}"], "nothing can be compared")
    except NoAnswer:
        entry = in_force(control.parent)
        if entry is None:
            click.echo(f"edgesbc: no edge runs from {control.parent}, and no policy was kept there", err=True)
            click.echo("Name its folder with --policy FILE or --state-dir DIR, or a policy with --against.", err=True)
            sys.exit(USAGE_ERROR)
        text, file = entry.text, entry.file
        click.echo(f"no edge runs; compared with version {entry.version}", err=True)
    try:
        return parse_policy(text, file)
    except PolicyErrors as errors:
        refuse(errors.errors, "the policy in force cannot be read here")


def waiting(changed: Policy) -> list[str]:
    """Sentences about what of ``changed`` waits for a restart of the edge that runs from its state directory.

    Empty where no edge answers there.
    """
    try:
        running = ask(changed.edge.state_dir / CONTROL_SOCKET, ControlRequest("policy running"))
        old = parse_policy(running["text"], running["file"])
    except (CommandRefused, NoAnswer, PolicyErrors):
        return []
    return [change.sentence for change in differences(old, changed) if change.restart]
