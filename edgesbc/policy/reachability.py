"""Whether a member of a set can be reached from the listeners that there are. Tries nothing."""

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
    """The fields of ``member`` that are wrong for these listeners, and what is wrong with each.

    ``all_known`` is False where some listeners could not be read; ``broken`` tells their names.
    """
    place = parse_server_uri(member.uri)
    target = place.target
    for listener in listeners:
        if target is not None and _is_listener(target, listener):
            yield "uri", f"is the listener {listener.name} of this edge: calls would go round"
            break
    wanted = _way_to(place)
    named = {each.name: each for each in listeners}
    if member.socket is None:
        usable = any(each.zone is Zone.CORE and _reaches(each, place) for each in listeners)
        if not usable and all_known:
            yield "uri", f"needs a [[listen]] of zone core with {wanted} to send from, found none"
    elif member.socket in named:
        listener = named[member.socket]
        if not _reaches(listener, place):
            found = f"{listener.transport} over IPv{ip_address(listener.bind.host).version}"
            yield "socket", f"expected a listener with {wanted}, found {member.socket!r} with {found}"
    elif not broken(member.socket):
        yield "socket", f"expected the name of a listener, found {member.socket!r}"


def fit_for(listeners: Sequence[ListenSettings]) -> Fit:
    """The same of members that come from a table."""
    return lambda member: unreachable_members(member, listeners)


def sockets_of(listeners: Sequence[ListenSettings]) -> dict[str, str]:
    """Listeners by their addresses, as Kamailio and OpenSIPS write them: ``udp:10.0.0.1:5060``."""
    return {f"{each.transport}:{each.bind.host}:{each.bind.port}": each.name for each in listeners}


def _is_listener(target: ResolvedAddress, listener: ListenSettings) -> bool:
    source = target.source
    other_kind = (target.transport is Transport.UDP) is not (listener.transport is Transport.UDP)
    if listener.bind.port != source.port or other_kind:
        return False
    bound, host = ip_address(listener.bind.host), ip_address(source.host)
    return bound == host or (bound.is_unspecified and host.is_loopback and bound.version == host.version)


def _way_to(place: ServerUri) -> str:
    if place.target is not None:
        return f"{place.target.transport} over IPv{ip_address(place.host).version}"
    return str(place.transport or "udp, tcp or tls")


def _reaches(listener: ListenSettings, place: ServerUri) -> bool:
    """Whether it can send there; of a name, as far as that is known before it is looked up."""
    target = place.target
    if target is None:
        usable = (Transport.UDP, Transport.TCP, Transport.TLS)
        return listener.transport is place.transport if place.transport else listener.transport in usable
    same_version = ip_address(listener.bind.host).version == ip_address(place.host).version
    return same_version and listener.transport is target.transport
