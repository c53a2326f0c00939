"""``edgesbc policy log``, ``show``, ``backup`` and ``restore``, which need no running edge."""

from __future__ import annotations

import json
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.cli.output import USAGE_ERROR, counted, refuse
from edgesbc.cli.policies import policy
from edgesbc.cli.running_edge import edge_options
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.observe.text import shown
from edgesbc.rollout.backup import BackupError, make_backup
from edgesbc.rollout.restore import restore_backup
from edgesbc.store.policy_log import DATABASE, IN_FORCE, PolicyLog, PolicyLogEntry

__all__ = ["in_force"]

_MOST_CHARS = 240


@policy.command(short_help="List the versions of a policy.")
@click.option("--most", type=click.IntRange(1, limits.POLICY_LOG_ENTRIES), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@edge_options
def log(most: int, as_json: bool, control: Path) -> None:
    """List versions, newest first: when, who, what came of it, why, and what it changed. No edge has to run.

    Exit code 2: there is no log.
    """
    entries = _log_of(control.parent).entries(most, texts=False)
    if as_json:
        click.echo(json.dumps([_as_json(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        when = entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        click.echo(f"{entry.version:>4}  {when}  {entry.outcome:<11}  {_one_line(entry.who)}")
        for name in ("why", "summary", "message"):
            if text := getattr(entry, name):
                click.echo(f"      {'came of it' if name == 'message' else name}: {_one_line(text)}")


@policy.command(short_help="Print the text of a version.")
@click.argument("version", type=click.IntRange(1, 2**31 - 1))
@edge_options
def show(version: int, control: Path) -> None:
    """Print the text of VERSION, as it was read. No edge has to run.

    Exit code 1: there is no such version, or it is too old to be kept; 2: there is no log.
    """
    entry = _log_of(control.parent).entry(version)
    if entry is None:
        click.echo(f"there is no version {version}; see `edgesbc policy log`", err=True)
        sys.exit(1)
    click.echo(entry.text, nl=False)


@policy.command(short_help="Keep the policy and its state in one file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--with-secrets", is_flag=True, help="Also the key of the tokens and the edge's own certificate.")
@edge_options
def backup(file: Path, with_secrets: bool, control: Path) -> None:
    """Keep the policy, the log of policies, bans, orders about destinations and the copies of databases in FILE, a
    tar that its owner alone can read.

    The edge may run meanwhile. Without --with-secrets an edge that is restored on another machine makes itself a new
    key, and does not know the calls that are alive. Certificates that the policy names by path are never in it.

    Exit code 2: it cannot be made; FILE is not touched then.
    """
    try:
        parts = make_backup(file, control.parent, _policy_text(control), with_secrets)
    except (BackupError, OSError, SQLAlchemyError) as error:
        click.echo(f"edgesbc: no backup was made: {error}", err=True)
        sys.exit(USAGE_ERROR)
    for name, size in parts:
        click.echo(f"{name}: {counted(size, 'byte')}")
    click.echo(f"{file}: {counted(len(parts), 'file')}")
    if not with_secrets:
        click.echo("without the key of the tokens and the edge's own certificate; --with-secrets has them too")


@policy.command(short_help="Put what a backup has in its place.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--policy", "to", required=True, type=click.Path(path_type=Path), help="Where the policy file is put.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="The state_dir of the policy in FILE.")
def restore(file: Path, to: Path, state_dir: Path | None) -> None:
    """Put the policy of a backup in the place that --policy names, and the rest into that policy's state_dir.

    --state-dir names that folder; it may be left out where the policy that is there now has the same one, or where
    it is the default. Everything in FILE is checked before anything is written. What was there is put aside, never
    removed. No edge may run from that state_dir.

    Exit code 2: nothing was changed, and why.
    """
    try:
        restored = restore_backup(file, to, state_dir)
    except PolicyErrors as errors:
        refuse(errors.errors, "nothing was restored")
    except (BackupError, OSError) as error:
        click.echo(f"edgesbc: nothing was restored: {error}", err=True)
        sys.exit(USAGE_ERROR)
    for path in restored.written:
        click.echo(path)
    for path in restored.aside:
        click.echo(f"what was there is now {path}")
    for name in restored.left_out:
        click.echo(f"not restored, since an edge has no such file: {name}")
    if not restored.secrets:
        click.echo("the backup has no secrets: the key of the tokens is as it was, or made anew at the start")


def in_force(state_dir: Path) -> PolicyLogEntry | None:
    """The newest version in the log of policies that was in force; None where there is no log, or none was."""
    if not (state_dir / DATABASE).is_file():
        return None
    log = _log_of(state_dir)
    newest = next((entry for entry in log.entries(limits.POLICY_LOG_ENTRIES, False) if entry.outcome in IN_FORCE), None)
    return None if newest is None else log.entry(newest.version)


def _log_of(state_dir: Path) -> PolicyLog:
    """The log in ``state_dir``; ends the program where there is none."""
    path = state_dir / DATABASE
    try:
        if not path.is_file():
            raise OSError(f"{path} is not there; name the folder with --policy FILE or --state-dir DIR")
        return PolicyLog(state_dir)
    except (OSError, SQLAlchemyError) as error:
        click.echo(f"edgesbc: no log of policies: {error}", err=True)
        sys.exit(USAGE_ERROR)


def _policy_text(control: Path) -> str:
    """The text of the policy of a running edge; where none runs, of the last one in the log of policies."""
    try:
        return str(ask(control, ControlRequest("policy running"))["text"])
    except CommandRefused as error:
        raise BackupError(f"the edge at {control} refuses: {error}") from None
    except NoAnswer:
        entry = in_force(control.parent)
        if entry is None:
            raise BackupError(f"no edge runs from {control.parent}, and no policy was kept there") from None
        return entry.text


def _as_json(entry: PolicyLogEntry) -> dict[str, Any]:
    return {
        "version": entry.version, "at": entry.at.isoformat(), "who": entry.who, "outcome": entry.outcome.value,
        "why": entry.why, "summary": entry.summary, "message": entry.message, "of": entry.of,
        "file": entry.file, "sha256": entry.sha256,
    }  # fmt: skip


def _one_line(text: str) -> str:
    """``text`` on one line, escaped where it has characters that are not printable: a pattern keeps its backslashes."""
    line = "; ".join(text.splitlines())
    return line if line.isprintable() and len(line) <= _MOST_CHARS else shown(line, _MOST_CHARS)
