"""Whether the edge has a listener from which it can send to a member of a destination set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address

from edgesbc.base.address import Transport, Zone
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.inventory.tables import Fit
from edgesbc.policy.model import ListenSettings
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri, parse_server_uri

__all__ = ["fit_for", "sockets_of", "unreachable_members"]


def unreachable_members(
    member: MemberSettings,
    listeners: Sequence[ListenSettings],
    all_known: bool = True,
    broken: Callable[[str], bool] = lambda name: False,
) -> Iterator[tuple[str, str]]:
    """The fields of ``member`` that do not fit these listeners, each with the reason.

    ``all_known`` is False if some listeners are invalid; ``broken`` says whether a name is one of theirs.
    """
    server_uri = parse_server_uri(member.uri)
    target = server_uri.target
    for listener in listeners:
        if target is not None and _is_listener(target, listener):
            yield "uri", f"is the listener {listener.name} of this edge: calls would go round"
            break
    needed = _transport_to(server_uri)
    by_name = {candidate.name: candidate for candidate in listeners}
    if member.socket is None:
        usable = any(candidate.zone is Zone.CORE and _reaches(candidate, server_uri) for candidate in listeners)
        if not usable and all_known:
            yield "uri", f"needs a [[listen]] of zone core with {needed} to send from, found none"
    elif member.socket in by_name:
        listener = by_name[member.socket]
        if not _reaches(listener, server_uri):
            offered = f"{listener.transport} over IPv{ip_address(listener.bind.host).version}"
            yield "socket", f"expected a listener with {needed}, found {member.socket!r} with {offered}"
    elif not broken(member.socket):
        yield "socket", f"expected the name of a listener, found {member.socket!r}"


def fit_for(listeners: Sequence[ListenSettings]) -> Fit:
    """:func:`unreachable_members` as the check of members from a table."""
    return lambda member: unreachable_members(member, listeners)


def sockets_of(listeners: Sequence[ListenSettings]) -> dict[str, str]:
    """Names of listeners by address, in the notation of Kamailio and OpenSIPS: ``udp:10.0.0.1:5060``."""
    return {f"{listener.transport}:{listener.bind.host}:{listener.bind.port}": listener.name for listener in listeners}


def _is_listener(target: ResolvedAddress, listener: ListenSettings) -> bool:
    source = target.source
    other_kind = (target.transport is Transport.UDP) is not (listener.transport is Transport.UDP)
    if listener.bind.port != source.port or other_kind:
        return False
    bound, host = ip_address(listener.bind.host), ip_address(source.host)
    return bound == host or (bound.is_unspecified and host.is_loopback and bound.version == host.version)


def _transport_to(server_uri: ServerUri) -> str:
    if server_uri.target is not None:
        return f"{server_uri.target.transport} over IPv{ip_address(server_uri.host).version}"
    return str(server_uri.transport or "udp, tcp or tls")


def _reaches(listener: ListenSettings, server_uri: ServerUri) -> bool:
    """Whether ``listener`` can send to ``server_uri``; for a name, as far as known before it is looked up."""
    target = server_uri.target
    if target is None:
        usable = (Transport.UDP, Transport.TCP, Transport.TLS)
        return listener.transport is server_uri.transport if server_uri.transport else listener.transport in usable
    same_version = ip_address(listener.bind.host).version == ip_address(server_uri.host).version
    return same_version and listener.transport is target.transport
