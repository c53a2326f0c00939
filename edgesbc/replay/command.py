"""The command `edgesbc replay` after its options are parsed: reads files, prints the report, returns the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import click

from edgesbc.base.address import Source, Zone, split_host_port
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy.load import load_policy
from edgesbc.policy.model import Policy
from edgesbc.replay.capture import CaptureError
from edgesbc.replay.listeners import check_mapping
from edgesbc.replay.replayer import Replayer, replay
from edgesbc.replay.report import lines

__all__ = ["judge"]

WHOLE, BROKEN, NOTHING = 0, 1, 2


def judge(
    capture: Path,
    policy: Path,
    against: Path | None,
    to: Iterable[str],
    inside: str,
    seed: int,
    top: int,
    as_json: bool,
) -> int:
    """Replay ``capture`` and print the result. Returns the exit code."""
    try:
        live = load_policy(policy)
        other = load_policy(against) if against is not None else None
        player = Replayer(live, other, check_mapping(map(_parse_mapping, to), live), inside, seed)
        with _progress(capture) as progress:
            result = replay(capture, player, progress, top)
    except OSError as error:
        return _refuse(f"{capture}: cannot be read: {error.strerror}")
    except CaptureError as error:
        return _refuse(f"{capture}: {error}")
    except PolicyErrors as errors:
        return _refuse(*(str(error) for error in errors.errors))
    except ValueError as error:
        return _refuse(f"--to {error}")
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    else:
        for line in lines(result):
            click.echo(line)
    if result.broken:
        click.echo(f"{capture}: {result.broken}", err=True)
        return BROKEN
    return WHOLE if result.went_in else _refuse(f"{capture}: {_nothing_for(live)}")


def _nothing_for(policy: Policy) -> str:
    """Why no packet of the capture was used, and what the operator can do."""
    public = ", ".join(
        f"{settings.name} {settings.transport.value} {settings.bind}"
        for settings in policy.listen
        if settings.zone is Zone.PUBLIC
    )
    return (
        f"nothing in it was sent over UDP or plain TCP to a public listener of the policy ({public}); what was "
        "captured at another address goes in with --to ADDRESS:PORT=LISTENER"
    )


def _parse_mapping(text: str) -> tuple[Source, str]:
    """Parse ``ADDRESS:PORT=LISTENER``. Raises ``ValueError`` that says what was expected."""
    address, _, name = text.partition("=")
    try:
        source = split_host_port(address)
        return Source(str(ip_address(source.host)), source.port), name
    except ValueError:
        raise ValueError(f"{text}: expected ADDRESS:PORT=LISTENER, as in 203.0.113.10:5060=carriers") from None


def _refuse(*messages: str) -> int:
    for message in messages:
        click.echo(message, err=True)
    return NOTHING


@contextmanager
def _progress(capture: Path) -> Iterator[Callable[[int], None] | None]:
    """A progress bar if stderr is a terminal: yields a function that takes the number of bytes read, or None."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=capture.stat().st_size, label="judging", file=sys.stderr) as bar:
        yield lambda position: bar.update(position - bar.pos)
