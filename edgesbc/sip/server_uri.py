"""Host, port and transport of a destination's URI (RFC 3263 section 4), and the addresses that they resolve to."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

from edgesbc.base.address import Source, Transport, host_port
from edgesbc.base.errors import WireError
from edgesbc.sip.uri import Uri, parse_uri

__all__ = ["ResolvedAddress", "ServerUri", "parse_server_uri"]

_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?\.?\Z")
"""RFC 3261 section 25.1 *hostname*."""
_TRANSPORTS = ("udp", "tcp", "tls")


class ResolvedAddress(NamedTuple):
    """One address of a destination. Of several, those with the lowest ``priority`` come first, and share by ``weight``
    (RFC 2782, where a weight may be 0). ``host`` is the name that has the address, "" for the name of the URI."""

    source: Source
    transport: Transport
    priority: int = 0
    weight: int = 1
    host: str = ""


class ServerUri(NamedTuple):
    """The part of a URI that decides where a request goes (RFC 3263 section 4).

    ``host`` is a literal address in its usual form, without brackets, or a name in lower case; ``port`` and
    ``transport`` are None where the URI names none and the name's records may decide.
    """

    host: str
    port: int | None
    transport: Transport | None
    secure: bool

    @property
    def target(self) -> ResolvedAddress | None:
        """The one address of a literal; None for a name."""
        if not _is_literal(self.host):
            return None
        transport = self.transport or (Transport.TLS if self.secure else Transport.UDP)
        port = transport.default_port if self.port is None else self.port
        return ResolvedAddress(Source(self.host, port), transport)

    def __str__(self) -> str:
        where = self.host if self.port is None else host_port(self.host, self.port)
        return where if self.transport is None else f"{where} over {self.transport}"


def parse_server_uri(uri: str) -> ServerUri:
    """Where ``uri`` leads (RFC 3261 section 19.1.1). Raises ``ValueError`` that says what was found and expected."""
    try:
        parsed = parse_uri(uri)
    except WireError as error:
        raise ValueError(f"expected a SIP URI as in sip:10.0.0.11:5060, found {uri!r} ({error})") from None
    if parsed.scheme not in ("sip", "sips"):
        raise ValueError(f"expected a sip: or sips: URI, found {uri!r}")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ValueError(f"expected a port from 1 to 65535, found {parsed.port} in {uri!r}")
    return ServerUri(_host(parsed.host), parsed.port, _transport(parsed), parsed.scheme == "sips")


def _transport(uri: Uri) -> Transport | None:
    named = (uri.param("transport") or "").lower()
    if named and named not in _TRANSPORTS:
        raise ValueError(f"expected transport udp, tcp or tls, found {named!r} in {str(uri)!r}")
    if uri.scheme == "sips":
        if named == "udp":
            raise ValueError(f"a sips: URI cannot go over udp, found {str(uri)!r}")
        return Transport.TLS  # sips over tcp means TLS over TCP (RFC 3261 section 26.2.2)
    return Transport(named) if named else None


def _host(host: str) -> str:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        name = host.lower()
        if not _NAME.match(name):
            raise ValueError(f"expected a literal IP address or a host name, found {host!r}") from None
        return name.removesuffix(".")
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"expected the address of one host, found {host!r}")
    return str(address)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
