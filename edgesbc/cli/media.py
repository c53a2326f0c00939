"""``edgesbc media``: the media plane alone, for SIP proxies that control an rtpengine."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.cli.group import main
from edgesbc.cli.output import USAGE_ERROR
from edgesbc.ng.interfaces import NamedInterface, parse_interface
from edgesbc.observe import logs

__all__ = ["media"]


def _interfaces(_context: Any, _parameter: Any, texts: tuple[str, ...]) -> list[NamedInterface]:
    return [_read(parse_interface, text) for text in texts]


def _sources(_context: Any, _parameter: Any, texts: tuple[str, ...]) -> list[Source]:
    return [_read(_literal_source, text) for text in texts]


def _prefixes(_context: Any, _parameter: Any, texts: tuple[str, ...]) -> list[str]:
    return [str(_read(partial(ipaddress.ip_network, strict=False), text)) for text in texts]


def _ports(_context: Any, _parameter: Any, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    first, last = (int(match[1]), int(match[2])) if match is not None else (0, 0)
    if not 1024 <= first <= last <= 65535 or last - first < 7:
        raise click.BadParameter(f"expected FIRST-LAST with at least 8 ports between 1024 and 65535, found {text!r}")
    return first, last


def _read(read: Any, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _literal_source(text: str) -> Source:
    host, port = split_host_port(text, 2223)
    return Source(str(ipaddress.ip_address(host.strip("[]"))), port)


@main.command(short_help="Run the media plane alone, controlled as an rtpengine is.")
@click.option(
    "--ng", "addresses", multiple=True, metavar="ADDRESS:PORT", callback=_sources,
    help="Serve the NG protocol over UDP here; may be given again.",
)  # fmt: skip
@click.option("--unix", type=click.Path(path_type=Path), metavar="PATH", help="Serve it at a Unix socket as well.")
@click.option(
    "--interface", "interfaces", multiple=True, required=True, metavar="NAME/ADDRESS[!ADVERTISED]",
    callback=_interfaces, help="Receive media at this address; the first name is the default.",
)  # fmt: skip
@click.option(
    "--private", multiple=True, metavar="NAME",
    help="The peers of this interface are your own servers: they may use any address and port.",
)  # fmt: skip
@click.option(
    "--deny", multiple=True, metavar="PREFIX", callback=_prefixes,
    help="Send no media of other peers to these addresses, as those of the inside.",
)  # fmt: skip
@click.option("--ports", default="30000-39999", show_default=True, metavar="FIRST-LAST", callback=_ports)
@click.option(
    "--allow", multiple=True, metavar="PREFIX", callback=_prefixes,
    help="Take commands from these addresses; without it, from this machine.",
)  # fmt: skip
@click.option("--timeout", type=click.FloatRange(5, 3600), default=60.0, show_default=True, metavar="SECONDS",
              help="End a session that has had no packet for so long.")  # fmt: skip
@click.option("--max-sessions", type=click.IntRange(1, limits.CALLS_MOST), default=limits.MEDIA_SESSIONS,
              show_default=True)  # fmt: skip
@click.option("--relays", type=click.IntRange(0, 64), metavar="NUMBER",
              help="Processes that relay packets; 0: a thread. Default: one for every two cores.")  # fmt: skip
@click.option("--http", metavar="ADDRESS:PORT", help="Serve /metrics and /healthz at this loopback address.")
@click.option("--log-format", type=click.Choice(logs.FORMATS), default="console", show_default=True)
@click.option("--log-level", type=click.Choice(list(logs.LEVELS)), default="info", show_default=True)
def media(
    addresses: list[Source],
    unix: Path | None,
    interfaces: list[NamedInterface],
    private: tuple[str, ...],
    deny: list[str],
    ports: tuple[int, int],
    allow: list[str],
    timeout: float,
    max_sessions: int,
    relays: int | None,
    http: str | None,
    log_format: Any,
    log_level: str,
) -> None:
    """Run the media plane alone. A SIP proxy controls it by the NG protocol, as Kamailio's and OpenSIPS's rtpengine
    modules speak it, until SIGTERM or SIGINT ends it.

    \b
    One network:
      edgesbc media --ng 127.0.0.1:2223 --interface 192.0.2.1
    Two networks, which the proxy calls "pub" and "priv" (direction=pub direction=priv):
      edgesbc media --ng 127.0.0.1:2223 --interface pub/203.0.113.5 --interface priv/10.0.0.5 \\
          --private priv --deny 10.0.0.0/8
    Behind a one-to-one NAT, controlled from another machine:
      edgesbc media --ng 10.0.0.5:2223 --allow 10.0.0.4 --interface 10.0.0.5!203.0.113.5

    In Kamailio:  modparam("rtpengine", "rtpengine_sock", "udp:127.0.0.1:2223")
    Which flags have an effect here, and which are refused: docs/reference/ng.md.
    """
    from edgesbc.cli.media_serving import MediaService, serve_media
    from edgesbc.processes.until_drained import raise_descriptor_limit

    if not addresses and unix is None:
        raise click.UsageError("expected --ng ADDRESS:PORT or --unix PATH: nobody could control it")
    open_to_others = [str(source) for source in addresses if not ipaddress.ip_address(source.host).is_loopback]
    if open_to_others and not allow:
        raise click.UsageError(
            f"{open_to_others[0]} can be reached from other machines: expected --allow PREFIX, who may control it"
        )
    logs.configure(sys.stderr, log_format, log_level)
    raise_descriptor_limit()
    try:
        number = max(1, len(os.sched_getaffinity(0)) // 2) if relays is None else relays
        service = MediaService(interfaces, private, deny, ports, timeout, max_sessions, number)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        trio.run(partial(serve_media, service, addresses, unix, allow, http))
    except* (OSError, ValueError) as errors:
        error_: BaseException = errors
        while isinstance(error_, BaseExceptionGroup):
            error_ = error_.exceptions[0]
        click.echo(f"edgesbc: {error_}", err=True)
        sys.exit(USAGE_ERROR)
