"""Addresses that stand in for the names of a policy's destinations in a replay. Looks nothing up."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from edgesbc.base.address import Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["stand_in"]

_FIRST = {4: ip_address("198.18.0.1"), 6: ip_address("2001:2::1")}
"""Of the networks for tests of devices, which no capture of a public network has (RFC 2544, RFC 5180)."""
_USED = (Transport.UDP, Transport.TCP, Transport.TLS)


def stand_in(dispatcher: Dispatcher, listeners: Sequence[Listener], now: float) -> None:
    """Give each name one address, which the edge can send to: what it was when the capture was made, nobody knows."""
    for number, place in enumerate(sorted(dispatcher.names(), key=str)):
        sender = _sender(place, listeners)
        if sender is not None:
            port = sender.transport.default_port if place.port is None else place.port
            host = str(_FIRST[6 if ":" in sender.host else 4] + number)
            dispatcher.resolved(place, [ResolvedAddress(Source(host, port), sender.transport)], now)


def _sender(place: ServerUri, listeners: Sequence[Listener]) -> Listener | None:
    """The listener by which a name is most likely reached: on the private side, and by UDP where that is left open."""
    transports = _USED if place.transport is None else (place.transport,)
    able = [each for each in listeners if each.transport in transports]
    return min(able, key=lambda each: (each.zone is not Zone.CORE, transports.index(each.transport)), default=None)
