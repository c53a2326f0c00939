"""``edgesbc policy diff``, ``apply`` and ``rollback``: the policy of a running edge, changed with a way back."""

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
from edgesbc.cli.running_edge import asked, of_running
from edgesbc.cli.versions import in_force
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.observe.text import shown
from edgesbc.policy.diff import differences, needs_restart
from edgesbc.policy.load import load_policy, parse_policy
from edgesbc.policy.model import CONTROL_SOCKET, Policy

__all__ = ["waiting"]

_POLL = 0.5
"""Seconds between two looks at a change that settles."""
_ROLLED_BACK = 3


@policy.command(short_help="Say what NEW.toml would change.")
@click.argument("new", metavar="NEW.toml", type=click.Path(path_type=Path))
@click.option("--against", metavar="OLD.toml", type=click.Path(path_type=Path), help="Compare with this file instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@of_running
def diff(new: Path, against: Path | None, as_json: bool, control: Path) -> None:
    """Say what NEW.toml would change: section by section, how calls move between members, what needs a restart.

    Compared with the policy that a running edge has; where none runs, with the last one in its state_dir. Paths
    in NEW.toml are taken as if it stood in the place of the other.

    Exit code 2: a policy has mistakes, or there is none to compare with.
    """
    old = _read(against) if against is not None else _in_force(control)
    changed = _as_of(new, old.file)
    found = differences(old, changed)
    waits = needs_restart(found)
    if as_json:
        click.echo(json.dumps({"changes": [each.as_json() for each in found], "needs_restart": waits}, indent=2))
        return
    for each in found:
        click.echo(each.sentence)
    click.echo(counted(len(found), "change") if found else "nothing changes")
    if waits:
        click.echo(f"needs a restart: {', '.join(waits)}")


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
@of_running
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
    order = {
        "text": _text_of(new), "why": why, "settle": settle, "rollback": not no_rollback,
        "accept_restart": accept_restart,
    }  # fmt: skip
    done = asked(control, ControlRequest("policy apply", order))
    if "mistakes" in done:
        lines = [str(PolicyError(str(new), each["key"], each["message"])) for each in done["mistakes"]]
        refuse(lines, "nothing was changed", code=1)
    if "waits" in done:
        for sentence in done["waits"]:
            click.echo(sentence, err=True)
        click.echo("nothing was changed; with --accept-restart all the rest is, and this at the next start", err=True)
        sys.exit(1)
    if done.get("unchanged"):
        click.echo(f"nothing changes: version {done['version']} has this text")
        return
    _tell(done)
    click.echo(f"version {done['version']} is in force")
    if done["settle"] and wait:
        _wait(control, done["version"])


@policy.command(short_help="Go back to the version before, or to another.")
@click.option("--to", type=click.IntRange(1, 2**31 - 1), metavar="VERSION", help="A version of `edgesbc policy log`.")
@click.option("--why", required=True, help="The reason, for those who read the log.")
@of_running
def rollback(to: int | None, why: str, control: Path) -> None:
    """Put the version before in force again, or the one that --to names, and write it into the policy file.

    A change that settles is watched no longer. What needs a restart waits for one.

    Exit code 1: the old text has mistakes for this edge, and nothing was changed; 2: no edge answers, or there is
    no such version.
    """
    done = asked(control, ControlRequest("policy rollback", {"why": why, "to": to}))
    if "mistakes" in done:
        lines = [str(PolicyError("the version", each["key"], each["message"])) for each in done["mistakes"]]
        refuse(lines, "nothing was changed", code=1)
    _tell(done)
    click.echo(f"version {done['version']} is in force, with the text of version {done['of']}")


def _tell(done: dict[str, Any]) -> None:
    for sentence in done["changes"]:
        click.echo(sentence)
    if done["left_out"]:
        click.echo(f"{counted(done['left_out'], 'change')} not shown")
    if done["set_aside"] is not None:
        click.echo(f"the policy file had an edit that was never in force; it is kept as version {done['set_aside']}")
    if done["needs_restart"]:
        click.echo(f"needs a restart: {', '.join(done['needs_restart'])}")


# --- waiting ---------------------------------------------------------------------------------------------


def _wait(control: Path, version: int) -> None:
    """Stay until the change has settled; ends the program where it has not."""
    line = _Line()
    while True:
        now = asked(control, ControlRequest("policy settling", {"version": version}))
        if now["state"] != "settling":
            break
        since, before = now["since"], now["before"]
        line.say(
            f"settling, {now['left']:.0f} s left: {since['failed']} of {since['begun']} calls failed,"
            f" {before['failed']} of {before['begun']} before"
        )
        time.sleep(min(_POLL, now["left"] + 0.05))
    line.end()
    said = shown(now["message"], limits.LEDGER_TEXT_CHARS)
    if now["state"] == "settled":
        click.echo(f"version {version} has settled: {said}")
    elif now["state"] == "rolled-back":
        click.echo(f"version {version} is no longer in force: {said}", err=True)
        sys.exit(_ROLLED_BACK)
    else:
        click.echo(f"version {version}: {said}", err=True)
        sys.exit(1)


class _Line:
    """On a terminal a line that is written anew; elsewhere a line now and then."""

    EVERY = 10
    """Looks between two lines where it is no terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._said = 0

    def say(self, text: str) -> None:
        if self._terminal:
            click.echo(f"\r\x1b[K{text}", nl=False)
        elif self._said % self.EVERY == 0:
            click.echo(text)
        self._said += 1

    def end(self) -> None:
        if self._terminal and self._said:
            click.echo("\r\x1b[K", nl=False)


# --- reading ---------------------------------------------------------------------------------------------


def _text_of(path: Path) -> str:
    """The text of a policy file, whatever it says; ends the program where it cannot be read."""
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
    """The policy in ``path`` as if it were ``file``; its mistakes are told by its own name."""
    try:
        return parse_policy(_text_of(path), file)
    except PolicyErrors as errors:
        told = [str(PolicyError(str(path), each.key, each.message)) for each in errors.errors]
        refuse(told, "nothing can be compared")
        raise


def _in_force(control: Path) -> Policy:
    """The policy of the edge at ``control``; where none runs, the last that its store has."""
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
    """What of ``changed`` the edge that runs from its state directory would take up at its next start only, each in a
    sentence; nothing where that edge cannot be asked."""
    try:
        running = ask(changed.edge.state_dir / CONTROL_SOCKET, ControlRequest("policy running"))
        old = parse_policy(running["text"], running["file"])
    except (CommandRefused, NoAnswer, PolicyErrors):
        return []
    return [each.sentence for each in differences(old, changed) if each.restart]
