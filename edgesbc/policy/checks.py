"""Checks of a policy across its sections: names, addresses, loops of fallbacks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from edgesbc.base.address import Transport, Zone
from edgesbc.base.errors import PolicyError
from edgesbc.dispatch.settings import SetSettings, with_fallbacks
from edgesbc.inventory.databases import DRIVERS, DatabaseSettings, without_passwords
from edgesbc.inventory.peer_algorithms import PEER_ALGORITHMS
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.policy.draft import Draft
from edgesbc.policy.model import ListenSettings, MediaAddress, MediaSettings
from edgesbc.policy.reachability import unreachable_members
from edgesbc.routing.table import Route
from edgesbc.screen.pipeline import ScreenSettings
from edgesbc.screen.trunk import Trunk
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["cross_check", "media_address"]

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")


def cross_check(draft: Draft) -> Iterator[PolicyError]:
    """Every mistake in the relation of sections, in the order of the file's keys."""
    for check in (
        _listeners, _binds, _settings_of_transports, _trunks, _screen, _databases, _sets, _members, _routes,
        _rtpengines, _media,
    ):  # fmt: skip
        for key, message in check(draft):
            yield PolicyError(draft.file, key, message)


_Mistakes = Iterator[tuple[str, str]]
"""Pairs of a dotted key and what is wrong with its value."""


def _listen(draft: Draft) -> list[tuple[int, ListenSettings]]:
    return draft.lists["listen"]


def _destinations(draft: Draft) -> list[tuple[int, SetSettings]]:
    return draft.lists["destinations"]


def _repeated(names: Iterable[tuple[str, str]]) -> _Mistakes:
    """Mistakes for the (key, name) pairs whose name an earlier pair has."""
    seen: dict[str, str] = {}
    for key, name in names:
        if name in seen:
            yield key, f"expected a name of its own, found {name!r}, which {seen[name]} has"
        else:
            seen[name] = key


def _listeners(draft: Draft) -> _Mistakes:
    listeners = _listen(draft)
    yield from _repeated((f"listen[{index}].name", listener.name) for index, listener in listeners)
    for index, listener in listeners:
        if listener.name in list(Zone):
            yield f"listen[{index}].name", f"expected a name, found {listener.name!r}, which means a whole zone"
    if "listen" not in draft.broken:
        for zone in Zone:
            if not any(listener.zone is zone for _, listener in listeners):
                yield "listen", f'expected at least one [[listen]] with zone = "{zone}", found none'


def _binds(draft: Draft) -> _Mistakes:
    listeners = _listen(draft)
    for position, (index, listener) in enumerate(listeners):
        for earlier, other in listeners[:position]:
            if _collide(listener, other):
                yield f"listen[{index}].bind", f"expected an address of its own, listen[{earlier}] has {other.bind}"
                break
        transport_needs_address = listener.transport not in (Transport.WS, Transport.WSS)
        if transport_needs_address and listener.advertise is None and ip_address(listener.bind.host).is_unspecified:
            yield (
                f"listen[{index}].advertise",
                f"is missing: peers cannot be told {listener.bind.host}; write the address or name that they reach",
            )


def _collide(first: ListenSettings, second: ListenSettings) -> bool:
    """Whether the kernel would refuse the second of two sockets."""
    if first.bind.port != second.bind.port or first.bind.port == 0:
        return False
    if (first.transport is Transport.UDP) is not (second.transport is Transport.UDP):
        return False
    first_host, second_host = ip_address(first.bind.host), ip_address(second.bind.host)
    if first_host.version != second_host.version:
        return False
    return first_host == second_host or first_host.is_unspecified or second_host.is_unspecified


def _settings_of_transports(draft: Draft) -> _Mistakes:
    for index, listener in _listen(draft):
        table = f"listen[{index}]"
        if not listener.transport.secure:
            if listener.certificate is not None:
                yield f"{table}.certificate", f"is for tls and wss, and the transport is {listener.transport}"
            if listener.client_ca is not None:
                yield f"{table}.client_ca", f"is for tls and wss, and the transport is {listener.transport}"
        if listener.origins and listener.transport not in (Transport.WS, Transport.WSS):
            yield f"{table}.origins", f"is for ws and wss, and the transport is {listener.transport}"
        if listener.proxy_protocol and listener.transport is Transport.UDP:
            yield f"{table}.proxy_protocol", "is for tcp, tls, ws and wss, and the transport is udp"
        for number, prefix in enumerate(listener.proxy_protocol):
            if prefix.endswith("/0"):
                yield f"{table}.proxy_protocol[{number}]", f"expected the addresses of your balancers, found {prefix!r}"
        if listener.ping is not None and listener.transport not in (Transport.WS, Transport.WSS):
            yield f"{table}.ping", f"is for ws and wss, and the transport is {listener.transport}"
        is_public_stream = listener.zone is Zone.PUBLIC and listener.transport is not Transport.UDP
        if listener.idle_unregistered is not None and not is_public_stream:
            found = f"and this is {listener.transport} of zone {listener.zone}"
            yield f"{table}.idle_unregistered", f"is for tcp, tls, ws and wss of zone public, {found}"
        if listener.icmp_from_routers and (listener.zone, listener.transport) != (Zone.CORE, Transport.UDP):
            found = f"and this is {listener.transport} of zone {listener.zone}"
            yield f"{table}.icmp_from_routers", f"is for udp of zone core, {found}"
        for number, origin in enumerate(listener.origins):
            if not _ORIGIN.fullmatch(origin):
                yield f"{table}.origins[{number}]", f"expected a page's origin as in https://host, found {origin!r}"


def _trunks(draft: Draft) -> _Mistakes:
    trunks: list[tuple[int, Trunk]] = draft.lists["trunk"]
    yield from _repeated((f"trunk[{index}].name", trunk.name) for index, trunk in trunks)
    for index, trunk in trunks:
        if not trunk.addresses and not trunk.tls_names:
            yield f"trunk[{index}]", "expected addresses or tls_names, found neither"
    for index, trunk in trunks:
        checked = any(listener.client_ca is not None for _, listener in _listen(draft))
        if "listen" in draft.broken:
            continue
        if trunk.tls_names and not checked:
            yield f"trunk[{index}].tls_names", "expected a listener with client_ca to check them, found none"
        public = sorted(listener.name for _, listener in _listen(draft) if listener.zone is Zone.PUBLIC)
        for number, name in enumerate(trunk.listeners):
            if name not in public:
                key = f"trunk[{index}].listeners[{number}]"
                yield key, f"expected a public listener ({', '.join(public)}), found {name!r}"


def _screen(draft: Draft) -> _Mistakes:
    screen: ScreenSettings | None = draft.tables.get("screen")
    public = {acl.name for _, acl in _listen(draft) if acl.zone is Zone.PUBLIC} | {Zone.PUBLIC.value}
    if screen is None or "listen" in draft.broken:
        return
    names = ", ".join(sorted(public - {Zone.PUBLIC.value}))
    for number, name in enumerate(screen.admission.open):
        if name not in public:
            key = f"screen.admission.open[{number}]"
            yield key, f"expected public or a listener of that zone ({names}), found {name!r}"
    for number, acl in enumerate(screen.acl.listeners):
        if acl.name not in public - {Zone.PUBLIC.value}:
            yield f"screen.acl.listeners[{number}].name", f"expected a public listener ({names}), found {acl.name!r}"


def _databases(draft: Draft) -> _Mistakes:
    databases: list[tuple[int, DatabaseSettings]] = draft.lists["database"]
    yield from _repeated((f"database[{index}].name", database.name) for index, database in databases)
    for index, database in databases:
        if database.url is not None:
            yield from ((f"database[{index}].url", message) for message in _url(database.url))


def _url(text: str) -> Iterator[str]:
    """What is wrong with the URL of a database. A password in it is not repeated."""
    shown = without_passwords(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        yield f"expected a URL such as postgresql://USER@HOST/DATABASE, found {shown!r}"
        return
    if url.password is not None or without_passwords(text) != text:
        yield f"expected no password in it: a policy is copied and logged; write password_file, found {shown!r}"
    if url.drivername not in DRIVERS:
        yield f"expected a URL of {', '.join(DRIVERS)}; found {url.drivername!r}"
    elif url.get_backend_name() == "sqlite" and not (url.database or "").startswith("/"):
        yield f"expected the whole path of a file as in sqlite:////var/lib/DATABASE, found {shown!r}"
    elif url.get_backend_name() != "sqlite" and not url.database:
        yield f"expected the name of a database at its end, found {shown!r}"


def _sets(draft: Draft) -> _Mistakes:
    sets = _destinations(draft)
    databases = {settings.name for _, settings in draft.lists["database"]}
    for index, settings in sets:
        if settings.database is not None and settings.database not in databases | draft.names["database"]:
            names = ", ".join(sorted(databases)) or "none"
            yield f"destinations[{index}].database", f"expected a [[database]] ({names}), found {settings.database!r}"
    yield from _peer_algorithms(draft)
    yield from _repeated((f"destinations[{index}].set", settings.set) for index, settings in sets)
    if not sets and "destinations" not in draft.broken:
        yield "destinations", "expected at least one [[destinations]], found none"
    by_name = {settings.set: settings for _, settings in sets}
    for index, settings in sets:
        key = f"destinations[{index}].fallback"
        if settings.fallback is not None and settings.fallback not in by_name and "destinations" not in draft.broken:
            yield key, f"expected a destination set ({_listed(by_name)}), found {settings.fallback!r}"
        chain = with_fallbacks(settings.set, by_name)
        if by_name.get(chain[-1], settings).fallback == settings.set:
            yield key, f"expected sets that end somewhere, found a circle: {' to '.join([*chain, settings.set])}"


def _peer_algorithms(draft: Draft) -> _Mistakes:
    """Whether the rows that a ``peer_algorithm`` is for exist, and the set selects as that algorithm does."""
    schemas = {database.name: database.schema for _, database in draft.lists["database"]}
    by_group: dict[tuple[str, str], tuple[int, int | None]] = {}
    for index, settings in _destinations(draft):
        key, number = f"destinations[{index}].peer_algorithm", settings.peer_algorithm
        if settings.database is not None:
            group = settings.database, settings.group or settings.set
            first, other = by_group.setdefault(group, (index, number))
            if other != number:
                yield key, f"expected that of destinations[{first}], which has the same rows ({other}), found {number}"
        if number is None or (settings.database is not None and settings.database not in schemas):
            continue
        schema = schemas.get(settings.database or "", "")
        algorithms = PEER_ALGORITHMS.get(schema)
        if algorithms is None:
            yield key, f"is for rows of {' and '.join(PEER_ALGORITHMS)}, and the set has none"
        elif number not in algorithms:
            numbers = ", ".join(map(str, algorithms))
            yield key, f"expected a number with a counterpart ({numbers}), found {number}"
        elif settings.algorithm not in (peer := algorithms[number]).algorithms:
            words = " or ".join(f'"{name}"' for name in peer.algorithms)
            yield f"destinations[{index}].algorithm", f'expected {words} for {key}, found "{settings.algorithm}"'
        elif settings.algorithm == "hash" and settings.hash_on != peer.hash_on:
            yield f"destinations[{index}].hash_on", f'expected "{peer.hash_on}" for {key}, found "{settings.hash_on}"'


def _members(draft: Draft) -> _Mistakes:
    listeners = [settings for _, settings in _listen(draft)]
    for index, settings in _destinations(draft):
        if bool(settings.members) is (settings.database is not None):
            present = "both" if settings.members else "neither"
            yield f"destinations[{index}]", f"expected members, or a database that has them, found {present}"
        if settings.group and settings.database is None:
            yield f"destinations[{index}].group", "is for a set whose members a database has, and none is named"
        seen: dict[ResolvedAddress | ServerUri, str] = {}
        for number, member in enumerate(settings.members):
            key = f"destinations[{index}].members[{number}]"
            address = member.target or member.server_uri
            if address in seen:
                yield f"{key}.uri", f"expected each member once, found the address of {seen[address]} again"
            seen.setdefault(address, f"members[{number}]")
            for field, message in unreachable_members(
                member, listeners, "listen" not in draft.broken, draft.names["listen"].__contains__
            ):
                yield f"{key}.{field}", message


def _routes(draft: Draft) -> _Mistakes:
    routes: list[tuple[int, Route]] = draft.lists["route"]
    sets = {settings.set for _, settings in _destinations(draft)} | draft.names["destinations"]
    places = {listener.name for _, listener in _listen(draft)} | draft.names["listen"] | set(Zone)
    yield from _repeated((f"route[{index}].name", route.name) for index, route in routes)
    for index, route in routes:
        for number, name in enumerate(route.to):
            if name not in sets:
                key = f"route[{index}].to" + (f"[{number}]" if len(route.to) > 1 else "")
                yield key, f"expected a destination set ({_listed(sets)}), found {name!r}"
        if not route.to and route.answer is None:
            yield f"route[{index}].to", "is missing: expected a destination set, or an answer to refuse with"
        trunks = {trunk.name for _, trunk in draft.lists["trunk"]}
        for number, name in enumerate(route.trunk):
            if name not in trunks and "trunk" not in draft.broken:
                yield f"route[{index}].trunk[{number}]", f"expected a trunk ({_listed(trunks)}), found {name!r}"
        yield from _resources(f"route[{index}].resources", route, draft)
        if route.from_ not in places and "listen" not in draft.broken:
            names = ", ".join(sorted(places))
            yield f"route[{index}].from", f"expected a zone or listener ({names}), found {route.from_!r}"
    if not routes and len(sets) > 1 and "route" not in draft.broken:
        yield "route", f"expected routes that say which of the {len(sets)} sets takes what, found none"


def _resources(here: str, route: Route, draft: Draft) -> _Mistakes:
    """Resources of a route that no member of its sets has: no member could take a call."""
    sets = {settings.set: settings for _, settings in _destinations(draft)}
    for number, wanted in enumerate(route.resources):
        for name in route.to:
            members = sets[name].members if name in sets else ()
            if members and not any(member.resources.get(wanted) for member in members):
                names = {resource for member in members for resource, most in member.resources.items() if most}
                message = f"expected something that a member of {name} has ({_listed(names)}), found {wanted!r}"
                yield f"{here}[{number}]", message


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _rtpengines(draft: Draft) -> _Mistakes:
    media = draft.tables.get("media")
    if media is None:
        return
    if media.engine == "rtpengine" and not media.rtpengine:
        yield "media.rtpengine", 'is missing: expected at least one [[media.rtpengine]] with engine = "rtpengine"'
    if media.engine == "rtpengine" and media.kernel is KernelMode.REQUIRE:
        yield "media.kernel", 'expected "off" or "auto", since engine = "rtpengine" relays by means of its own'
    yield from _repeated((f"media.rtpengine[{n}].address", str(one.address)) for n, one in enumerate(media.rtpengine))
    for number, one in enumerate(media.rtpengine):
        if bool(one.public) is not bool(one.core):
            yield f"media.rtpengine[{number}]", "expected the names of both interfaces, public and core, or of none"


def _media(draft: Draft) -> _Mistakes:
    media: MediaSettings | None = draft.tables.get("media")
    if media is None or "listen" in draft.broken:
        return
    bound = media_address(draft)
    for zone in Zone:
        versions = {ip_address(host).version for host in bound.of(zone)}
        for host in media.advertise.of(zone):
            if ip_address(host).version not in versions:
                families = _listed(f"IPv{version}" for version in versions)
                message = f"expected an address of a family that media of that side has ({families}), found {host!r}"
                yield f"media.advertise.{zone}", message


def media_address(draft: Draft) -> MediaAddress:
    """The media addresses of the policy. The default is, for each family of the zone's listeners, the host of the first
    one, which may be a wildcard."""
    configured: MediaAddress = draft.tables["media"].address
    return MediaAddress(
        public=configured.public or _first_hosts(draft, Zone.PUBLIC),
        core=configured.core or _first_hosts(draft, Zone.CORE),
    )


def _first_hosts(draft: Draft, zone: Zone) -> tuple[str, ...]:
    hosts = [listener.bind.host for _, listener in _listen(draft) if listener.zone is zone]
    first: dict[int, str] = {}
    for host in hosts:
        address = ip_address(host)
        # Media is not sent from a link-local address, which is none without its device.
        if not (address.version == 6 and address.is_link_local):
            first.setdefault(address.version, host)
    return tuple(first.values()) or tuple(hosts[:1])
