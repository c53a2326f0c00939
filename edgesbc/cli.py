"""The command line, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import trio

from edgesbc import __version__
from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.observe import logs
from edgesbc.observe.asking import NoAnswer, ask
from edgesbc.observe.questions import Question, Refused
from edgesbc.policy.certificates import make_development_certificates
from edgesbc.policy.load import load_policy
from edgesbc.policy.model import CONTROL_SOCKET, Policy, default_state_dir
from edgesbc.policy.preflight import preflight
from edgesbc.replay.inside import MOODS
from edgesbc.sip import parse

__all__ = ["main"]

USAGE_ERROR = 2


def build() -> str:
    """Whether the rooms without I/O are machine code: docs/adr/0008."""
    return "compiled" if (parse.__file__ or "").endswith(".so") else "interpreted"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(f"{__version__} ({build()})", prog_name="edgesbc")
def main() -> None:
    """A security-hardened SIP edge.

    It stands between the public internet and private SIP servers: terminates TLS and SIP over
    WebSocket, drops floods, spreads calls over weighted destinations with failover, hides the inside,
    and relays the media.

    \b
    First steps:
      edgesbc demo                        see all of it at work, in a minute
      edgesbc check policies/trunk.toml   is this policy sound, and can this machine run it?
      edgesbc run policies/trunk.toml     run it

    \b
    Of an edge that runs:
      edgesbc why 192.0.2.7               what it decided about an address or a Call-ID, and why
      edgesbc reload, edgesbc drain       as SIGHUP and SIGTERM do
    """


@main.command()
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="console", show_default=True)
@click.option("--log-level", type=click.Choice(list(logs.LEVELS)), help="Overrides [observe] log of the policy.")
def run(policy: Path, log_format: Any, log_level: str | None) -> None:
    """Run the edge with the file POLICY until it is told to stop.

    \b
    Signals:
      SIGTERM, SIGINT   drain: new calls get 503, live ones [edge] grace seconds, then BYE; twice: at once
      SIGHUP            reload POLICY and certificates; one with mistakes changes nothing

    `edgesbc why`, `reload` and `drain` ask it by a socket in its [edge] state_dir, as the same user or root.
    """
    loaded = _sound(policy)
    logs.configure(sys.stderr, log_format, log_level or loaded.observe.log)
    from edgesbc.app import App

    _run(App(loaded).run)


@main.command()
@click.argument("policy", type=click.Path(path_type=Path))
def check(policy: Path) -> None:
    """Say whether POLICY is sound and this machine can run it now.

    Every mistake is printed at once, with file, key, and what was found and expected; the exit code is
    then 2. Ports and certificates are tried, and left as they were.
    """
    loaded = _sound(policy)
    members = sum(len(each.members) for each in loaded.destinations)
    click.echo(
        f"{policy}: ok: {_counted(len(loaded.listen), 'listener')}, {_counted(len(loaded.trunk), 'trunk')}, "
        f"{_counted(len(loaded.destinations), 'destination set')} with {_counted(members, 'member')}, "
        f"screening {loaded.screen.mode}: {', '.join(loaded.screen.stages)}"
    )


@main.command()
@click.option(
    "--rate",
    type=click.IntRange(1, limits.DEMO_FLOOD_RATE),
    default=20_000,
    show_default=True,
    help="INVITEs a second of the flood.",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, limits.DEMO_FLOOD_SECONDS),
    default=10,
    show_default=True,
    help="How long the flood lasts.",
)
@click.option("--stay", is_flag=True, help="Leave the edge and the PBXs running after the table, until Ctrl-C.")
def demo(rate: int, seconds: int, stay: bool) -> None:
    """See the edge at work, in about a minute, on loopback addresses only.

    Starts an edge with policies/demo.toml and two PBXs; places calls over UDP, TCP, TLS and WSS and checks
    that the audio that comes back is the audio sent; floods the edge while a trunk goes on calling; kills
    one PBX during that; prints a table. The exit code is 0 when every call completed and nothing is left
    over, otherwise 1.
    """
    from rich.console import Console

    from edgesbc.demo.run import play
    from edgesbc.demo.scene import Plan

    code = 130  # interrupted, as shells have it
    try:
        code = trio.run(play, Plan(rate, seconds), stay, Console())
    except* KeyboardInterrupt:
        click.echo("interrupted", err=True)
    sys.exit(code)


@main.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.argument("policy", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="A second policy: say what it would judge otherwise.")
@click.option(
    "--to",
    metavar="ADDRESS:PORT=LISTENER",
    multiple=True,
    help="What was captured at this address goes to that listener of POLICY; may be repeated.",
)
@click.option(
    "--inside",
    type=click.Choice(MOODS),
    default=MOODS[0],
    show_default=True,
    help="How the destinations answer: 200 at once, as the capture shows, or not at all.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Of what is left to chance: branches, tags, weights."
)
@click.option("--top", type=click.IntRange(0, 1000), default=10, show_default=True, help="Sources listed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    capture: Path,
    policy: Path,
    against: Path | None,
    to: tuple[str, ...],
    inside: str,
    seed: int,
    top: int,
    as_json: bool,
) -> None:
    """Judge the traffic in the file CAPTURE (pcap or pcapng) by POLICY, on the capture's own clock.

    What was sent to a public listener of POLICY, over UDP or plain TCP, goes into the same brain that `run` has,
    and what it says is summed up by reason and by source. Nothing is sent, and no socket is opened. The same
    capture and policies give the same output.

    \b
    What cannot be as it was:
      the inside      is played: INVITE gets 180 and 200 at once, others 200 (see --inside); a REGISTER
                      always gets the answer that the capture shows, or none
      dialogs         an ACK or BYE of a captured call gets the tag and Contact of the replayed one
      TLS, WebSocket  cannot be read; their packets are counted and left out
      media           is not relayed, and destinations are not probed
      the kernel      drops nothing: what a penalty keeps from a running edge is judged here, as banned

    \b
    Examples:
      edgesbc replay flood.pcap edge.toml
      edgesbc replay today.pcapng edge.toml --against edge-new.toml
      edgesbc replay old-edge.pcap edge.toml --to 203.0.113.10:5060=carriers

    The exit code is 0; 1 where the capture breaks off, after what stands before that was judged; 2 where
    there is nothing to judge.
    """
    from edgesbc.replay.command import judge

    sys.exit(judge(capture, policy, against, to, inside, seed, top, as_json))


def _of_running(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which running edge is meant, turned into its control socket."""

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
                state_dir = load_policy(policy).edge.state_dir
            except PolicyErrors as errors:
                _refuse([str(error) for error in errors.errors], "give --state-dir instead, or mend it")
        command(*arguments, control=(state_dir or default_state_dir()) / CONTROL_SOCKET, **more)

    return with_socket


@main.command()
@click.argument("of", metavar="CALL-ID|ADDRESS")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of sentences.")
@_of_running
def why(of: str, as_json: bool, control: Path) -> None:
    """Say what a running edge decided about a call or an address, and why.

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
    answer = _asked(control, Question("why", {"of": of}))
    decisions, left_out = answer["decisions"], answer["left_out"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif left_out:
        click.echo(f"{_counted(left_out, 'earlier decision')} not shown")
    if not decisions:
        click.echo(f"nothing is known of {of!r}, neither as a Call-ID nor as an address", err=True)
        sys.exit(1)
    if not as_json:
        for decision in decisions:
            click.echo(decision["sentence"])


@main.command()
@_of_running
def reload(control: Path) -> None:
    """Have a running edge read its policy and certificates again, as SIGHUP does.

    A policy with mistakes changes nothing: they are printed, and the exit code is 1. Exit code 2: no edge
    answers.
    """
    reloaded = _asked(control, Question("reload"))
    if reloaded["mistakes"]:
        _refuse(reloaded["mistakes"], "the old policy goes on", code=1)
    click.echo("reloaded")
    if reloaded["needs_restart"]:
        click.echo(f"needs a restart: {', '.join(reloaded['needs_restart'])}")


@main.command()
@_of_running
def drain(control: Path) -> None:
    """Tell a running edge to drain and end, as SIGTERM does.

    New calls get 503, live ones [edge] grace seconds, then BYE. Returns at once. Exit code 2: no edge answers.
    """
    draining = _asked(control, Question("drain"))
    click.echo(f"draining: {_counted(draining['calls'], 'call')} alive, {draining['grace']:g} s of grace")


def _asked(control: Path, question: Question) -> Any:
    """What the edge at ``control`` answers; ends the program where none does."""
    try:
        return ask(control, question)
    except NoAnswer as error:
        click.echo(f"edgesbc: {error}", err=True)
        click.echo(
            "Is it running, as this user, and with this state_dir? Name it with --policy FILE or --state-dir DIR.",
            err=True,
        )
    except Refused as error:
        click.echo(f"edgesbc: the edge at {control} refuses: {error}", err=True)
    sys.exit(USAGE_ERROR)


@main.group()
def certs() -> None:
    """Certificates."""


@certs.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", "names", multiple=True, help="A DNS name or address for the certificate; may be repeated.")
@click.option("--force", is_flag=True, help="Replace what is there.")
def dev(folder: Path, names: tuple[str, ...], force: bool) -> None:
    """Make a small authority and a certificate for development in FOLDER.

    Writes ca.pem (give it to clients), fullchain.pem and privkey.pem (the folder is what `certificate` of
    a listener names). localhost, 127.0.0.1 and ::1 are always among the names.
    """
    try:
        paths = make_development_certificates(folder, names, force)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    for path in paths:
        click.echo(path)


def _sound(path: Path) -> Policy:
    """The policy in ``path``; ends the program with every mistake where there is one."""
    try:
        policy = load_policy(path)
    except PolicyErrors as errors:
        _refuse([str(error) for error in errors.errors])
    mistakes = preflight(policy)
    if mistakes:
        _refuse([str(error) for error in mistakes])
    return policy


def _refuse(lines: list[str], so: str = "nothing was started", code: int = USAGE_ERROR) -> Any:
    for line in lines:
        click.echo(line, err=True)
    click.echo(f"{_counted(len(lines), 'mistake')}; {so}", err=True)
    sys.exit(code)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _run(function: Callable[..., Any]) -> None:
    """Run until it ends; what the machine refuses is said in a line and not as a traceback."""
    try:
        trio.run(function)
    except* OSError as group:
        for error in group.exceptions:
            click.echo(f"edgesbc: {error}", err=True)
        sys.exit(USAGE_ERROR)
