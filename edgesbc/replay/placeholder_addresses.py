"""Placeholder addresses for the host names of a policy's destinations, which a replay does not resolve."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from edgesbc.base.address import Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["assign_placeholders"]

_FIRST = {4: ip_address("198.18.0.1"), 6: ip_address("2001:2::1")}
"""The first addresses of benchmarking networks, which are not in captures of public networks (RFC 2544, RFC 5180)."""
_USED = (Transport.UDP, Transport.TCP, Transport.TLS)


def assign_placeholders(dispatcher: Dispatcher, listeners: Sequence[Listener], now: float) -> None:
    """Give each host name one address that the edge can send to: the real one at the time of the capture is unknown."""
    for number, server_uri in enumerate(sorted(dispatcher.names(), key=str)):
        sender = _sender(server_uri, listeners)
        if sender is not None:
            port = sender.transport.default_port if server_uri.port is None else server_uri.port
            host = str(_FIRST[6 if ":" in sender.host else 4] + number)
            dispatcher.resolved(server_uri, [ResolvedAddress(Source(host, port), sender.transport)], now)


def _sender(server_uri: ServerUri, listeners: Sequence[Listener]) -> Listener | None:
    """The most likely listener for a name: on the private side, and over UDP unless the name has a transport."""
    transports = _USED if server_uri.transport is None else (server_uri.transport,)
    able = [listener for listener in listeners if listener.transport in transports]
    return min(
        able,
        key=lambda listener: (listener.zone is not Zone.CORE, transports.index(listener.transport)),
        default=None,
    )
