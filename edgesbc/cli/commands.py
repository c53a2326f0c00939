"""The commands that need no running edge: run, check, replay, demo and certs."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
import trio

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.cli.changes import waiting
from edgesbc.cli.databases import check_databases
from edgesbc.cli.group import main
from edgesbc.cli.output import USAGE_ERROR, counted, refuse
from edgesbc.ng.engines import rtpengines_that_reply
from edgesbc.observe import logs
from edgesbc.policy.advice import advice
from edgesbc.policy.certificates import make_development_certificates
from edgesbc.policy.load import load_policy
from edgesbc.policy.model import Policy
from edgesbc.policy.preflight import MediaCapacity, descriptors_needed, media_capacity, preflight, served
from edgesbc.replay.simulated_destinations import MODES
from edgesbc.sip.server_uri import parse_server_uri

__all__ = ["main"]


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
    loaded = _sound_policy(policy, take_over=True)
    level = log_level or loaded.observe.log
    logs.configure(_standard_error(), log_format, level)
    from edgesbc.cli.serving import LogSettings, raise_descriptor_limit, serve_until_signal

    raise_descriptor_limit()
    _run(partial(serve_until_signal, loaded, LogSettings(log_format, level)))


@main.command()
@click.argument("policy", type=click.Path(path_type=Path))
def check(policy: Path) -> None:
    """Say whether POLICY is sound and this machine can run it now.

    Every mistake is printed at once, with file, key, and what was found and expected; the exit code is
    then 2. Ports and certificates are tried, and left as they were. Where an edge runs from the policy's
    state_dir, ports in use are taken for its own, and what it would take up only at a restart is named;
    all that would change says `edgesbc policy diff`. Names of destinations are not looked up: what they
    lead to now says little of later. Databases are read, and every row that is wrong is a mistake; what of
    their rows has no counterpart here is said as well. Advice names what the policy leaves open; it is no mistake.
    """
    sound = _sound_policy(policy, beside=True)
    mistakes, notes, in_databases = check_databases(sound)
    for note in notes:
        click.echo(f"{policy}: {note}", err=True)
    if mistakes:
        refuse(mistakes)
    members = in_databases + sum(len(settings.members) for settings in sound.destinations)
    click.echo(
        f"{policy}: ok: {counted(len(sound.listen), 'listener')}, {counted(len(sound.trunk), 'trunk')}, "
        f"{counted(len(sound.destinations), 'destination set')} with {counted(members, 'member')}, "
        f"screening {sound.screen.mode}: {', '.join(sound.screen.stages)}"
    )
    server_uris = {parse_server_uri(member.uri) for settings in sound.destinations for member in settings.members}
    for sentence in advice(sound):
        click.echo(f"advice: {sentence}")
    names = sorted(str(server_uri) for server_uri in server_uris if server_uri.target is None)
    if names:
        click.echo(f"not looked up: {', '.join(names)}")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    click.echo(_descriptors(descriptors_needed(sound), most))
    for line in _rtpengines(sound):
        click.echo(line)
    capacity = media_capacity(sound, None if most == resource.RLIM_INFINITY else most)
    if capacity is not None:
        click.echo(_calls(capacity, sound.edge.max_calls))
    if served(sound):
        click.echo(f"an edge runs from {sound.edge.state_dir}: ports in use are taken for its own")
        for line in waiting(sound):
            click.echo(line)


@main.command(short_help="See the edge at work, in about a minute.")
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

    from edgesbc.demo.run import run_demo
    from edgesbc.demo.scenario import ScenarioPlan

    code = 130  # interrupted, as shells have it
    try:
        code = trio.run(run_demo, ScenarioPlan(rate, seconds), stay, Console())
    except* KeyboardInterrupt:
        click.echo("interrupted", err=True)
    sys.exit(code)


@main.command(short_help="Judge the traffic in a capture by a policy.")
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
    type=click.Choice(MODES),
    default=MODES[0],
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

    What was sent to a public listener of POLICY, over UDP or plain TCP, goes into the same signalling core
    that `run` has, and its decisions are summed up by reason and by source. Nothing is sent, and no socket is
    opened. The same capture and policies give the same output.

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
    there is nothing to judge, or nothing that was sent to a public listener.
    """
    from edgesbc.replay.command import judge

    sys.exit(judge(capture, policy, against, to, inside, seed, top, as_json))


@main.group()
def certs() -> None:
    """Certificates for trying things out."""


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


def _descriptors(needed: int, most: int) -> str:
    """What a policy needs, and what a process of this user may have: the hard limit, to which `run` raises its own."""
    line = f"descriptors: all connections and calls need {needed}, a process may have "
    if most == resource.RLIM_INFINITY:
        return f"{line}any number"
    short = ": beyond that they are refused; raise RLIMIT_NOFILE"
    return f"{line}{most}{short if most < needed else ''}"


def _calls(capacity: MediaCapacity, max_calls: int) -> str:
    """How many calls with one audio stream a policy carries."""
    found = capacity.descriptors
    descriptors = "any number" if found is None else f"{found}, or {2 * found} with rtcp-mux"
    return (
        f"calls with media: ports for {capacity.ports}, descriptors for {descriptors}, max_calls {max_calls}: "
        f"about {math.ceil(capacity.memory / 2**20)} MiB"
    )


def _standard_error() -> TextIO:
    """Standard error; where it was closed before the program began, the null device in its place.

    Otherwise the next socket would get the number of standard error, to which libraries may write.
    """
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - it is open until the program ends
    return sys.stderr


def _sound_policy(path: Path, beside: bool = False, take_over: bool = False) -> Policy:
    """The policy in ``path``; if it has mistakes, prints them and ends the program.

    With ``beside``, it is no mistake that an edge already runs it; with ``take_over``, that processes are left of one
    whose supervisor was killed.
    """
    try:
        policy = load_policy(path)
    except PolicyErrors as errors:
        refuse(errors.errors)
    mistakes = preflight(policy, beside, take_over and policy.edge.planes == "processes" and _processes_left(policy))
    if mistakes:
        refuse(mistakes)
    return policy


def _rtpengines(policy: Policy) -> Iterator[str]:
    """Whether the rtpengines that relay the media reply to this machine."""
    if policy.media.engine != "rtpengine":
        return
    addresses = [settings.address for settings in policy.media.rtpengine]
    replying = rtpengines_that_reply(addresses, limits.NG_TRY_SECONDS)
    for address in addresses:
        is_there = "replies" if address in replying else "does not reply, and gets no calls until it does"
        yield f"rtpengine {address}: {is_there}"


def _processes_left(policy: Policy) -> bool:
    from edgesbc.processes.succession import processes_left

    return processes_left(policy.edge.state_dir)


def _run(function: Callable[..., Any]) -> None:
    """Run until it ends; an error of the operating system is printed as a line and not as a traceback."""
    try:
        trio.run(function)
    except* OSError as group:
        for error in group.exceptions:
            click.echo(f"edgesbc: {error}", err=True)
        sys.exit(USAGE_ERROR)
