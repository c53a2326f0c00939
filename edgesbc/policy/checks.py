"""The sections of a policy held against each other: names, addresses, loops. Looks at nothing outside it."""

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
from edgesbc.policy.draft import Draft
from edgesbc.policy.model import ListenSettings, MediaAddress
from edgesbc.policy.reachability import unreachable_members
from edgesbc.routing.table import Route
from edgesbc.screen.pipeline import ScreenSettings
from edgesbc.screen.standing import Trunk
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["cross_check", "media_address"]

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")


def cross_check(draft: Draft) -> Iterator[PolicyError]:
    """Every mistake that only shows between sections, in the order of the file's keys."""
    for check in (
        _listeners, _binds, _settings_of_transports, _trunks, _screen, _databases, _sets, _members, _routes,
    ):  # fmt: skip
        for key, message in check(draft):
            yield PolicyError(draft.file, key, message)


_Found = Iterator[tuple[str, str]]


def _listen(draft: Draft) -> list[tuple[int, ListenSettings]]:
    return draft.lists["listen"]


def _destinations(draft: Draft) -> list[tuple[int, SetSettings]]:
    return draft.lists["destinations"]


def _repeated(names: Iterable[tuple[str, str]]) -> _Found:
    """(key, name) pairs whose name was there before."""
    seen: dict[str, str] = {}
    for key, name in names:
        if name in seen:
            yield key, f"expected a name of its own, found {name!r}, which {seen[name]} has"
        else:
            seen[name] = key


def _listeners(draft: Draft) -> _Found:
    found = _listen(draft)
    yield from _repeated((f"listen[{index}].name", each.name) for index, each in found)
    for index, each in found:
        if each.name in list(Zone):
            yield f"listen[{index}].name", f"expected a name, found {each.name!r}, which means a whole zone"
    if "listen" not in draft.broken:
        for zone in Zone:
            if not any(each.zone is zone for _, each in found):
                yield "listen", f'expected at least one [[listen]] with zone = "{zone}", found none'


def _binds(draft: Draft) -> _Found:
    found = _listen(draft)
    for position, (index, each) in enumerate(found):
        for earlier, other in found[:position]:
            if _collide(each, other):
                yield f"listen[{index}].bind", f"expected an address of its own, listen[{earlier}] has {other.bind}"
                break
        transport_needs_address = each.transport not in (Transport.WS, Transport.WSS)
        if transport_needs_address and each.advertise is None and ip_address(each.bind.host).is_unspecified:
            yield (
                f"listen[{index}].advertise",
                f"is missing: peers cannot be told {each.bind.host}; write the address or name that they reach",
            )


def _collide(one: ListenSettings, other: ListenSettings) -> bool:
    """Whether the kernel would refuse the second of two sockets."""
    if one.bind.port != other.bind.port or one.bind.port == 0:
        return False
    if (one.transport is Transport.UDP) is not (other.transport is Transport.UDP):
        return False
    first, second = ip_address(one.bind.host), ip_address(other.bind.host)
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


def _settings_of_transports(draft: Draft) -> _Found:
    for index, each in _listen(draft):
        here = f"listen[{index}]"
        if not each.transport.secure:
            if each.certificate is not None:
                yield f"{here}.certificate", f"is for tls and wss, and the transport is {each.transport}"
            if each.client_ca is not None:
                yield f"{here}.client_ca", f"is for tls and wss, and the transport is {each.transport}"
        if each.origins and each.transport not in (Transport.WS, Transport.WSS):
            yield f"{here}.origins", f"is for ws and wss, and the transport is {each.transport}"
        for number, origin in enumerate(each.origins):
            if not _ORIGIN.fullmatch(origin):
                yield f"{here}.origins[{number}]", f"expected a page's origin as in https://host, found {origin!r}"


def _trunks(draft: Draft) -> _Found:
    trunks: list[tuple[int, Trunk]] = draft.lists["trunk"]
    yield from _repeated((f"trunk[{index}].name", each.name) for index, each in trunks)
    for index, each in trunks:
        if not each.addresses and not each.tls_names:
            yield f"trunk[{index}]", "expected addresses or tls_names, found neither"
    for index, each in trunks:
        believed = any(listener.client_ca is not None for _, listener in _listen(draft))
        if "listen" in draft.broken:
            continue
        if each.tls_names and not believed:
            yield f"trunk[{index}].tls_names", "expected a listener with client_ca to check them, found none"
        public = sorted(listener.name for _, listener in _listen(draft) if listener.zone is Zone.PUBLIC)
        for number, name in enumerate(each.listeners):
            if name not in public:
                key = f"trunk[{index}].listeners[{number}]"
                yield key, f"expected a public listener ({', '.join(public)}), found {name!r}"


def _screen(draft: Draft) -> _Found:
    screen: ScreenSettings | None = draft.tables.get("screen")
    public = {each.name for _, each in _listen(draft) if each.zone is Zone.PUBLIC} | {Zone.PUBLIC.value}
    if screen is None or "listen" in draft.broken:
        return
    there = ", ".join(sorted(public - {Zone.PUBLIC.value}))
    for number, name in enumerate(screen.admission.open):
        if name not in public:
            key = f"screen.admission.open[{number}]"
            yield key, f"expected public or a listener of that zone ({there}), found {name!r}"
    for number, each in enumerate(screen.acl.listeners):
        if each.name not in public - {Zone.PUBLIC.value}:
            yield f"screen.acl.listeners[{number}].name", f"expected a public listener ({there}), found {each.name!r}"


def _databases(draft: Draft) -> _Found:
    found: list[tuple[int, DatabaseSettings]] = draft.lists["database"]
    yield from _repeated((f"database[{index}].name", each.name) for index, each in found)
    for index, each in found:
        if each.url is not None:
            yield from ((f"database[{index}].url", message) for message in _url(each.url))


def _url(text: str) -> Iterator[str]:
    """What is wrong with the URL of a database. A password in it is never repeated."""
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


def _sets(draft: Draft) -> _Found:
    found = _destinations(draft)
    databases = {each.name for _, each in draft.lists["database"]}
    for index, each in found:
        if each.database is not None and each.database not in databases | draft.names["database"]:
            there = ", ".join(sorted(databases)) or "none"
            yield f"destinations[{index}].database", f"expected a [[database]] ({there}), found {each.database!r}"
    yield from _repeated((f"destinations[{index}].set", each.set) for index, each in found)
    if not found and "destinations" not in draft.broken:
        yield "destinations", "expected at least one [[destinations]], found none"
    by_name = {each.set: each for _, each in found}
    for index, each in found:
        key = f"destinations[{index}].fallback"
        if each.fallback is not None and each.fallback not in by_name and "destinations" not in draft.broken:
            yield key, f"expected a destination set ({_listed(by_name)}), found {each.fallback!r}"
        chain = with_fallbacks(each.set, by_name)
        if by_name.get(chain[-1], each).fallback == each.set:
            yield key, f"expected sets that end somewhere, found a circle: {' to '.join([*chain, each.set])}"


def _members(draft: Draft) -> _Found:
    listeners = [each for _, each in _listen(draft)]
    for index, each in _destinations(draft):
        if bool(each.members) is (each.database is not None):
            found = "both" if each.members else "neither"
            yield f"destinations[{index}]", f"expected members, or a database that has them, found {found}"
        if each.group and each.database is None:
            yield f"destinations[{index}].group", "is for a set whose members a database has, and none is named"
        seen: dict[ResolvedAddress | ServerUri, str] = {}
        for number, member in enumerate(each.members):
            here = f"destinations[{index}].members[{number}]"
            place = member.place
            target = place.target
            if (target or place) in seen:
                yield f"{here}.uri", f"expected each member once, found the address of {seen[target or place]} again"
            seen.setdefault(target or place, f"members[{number}]")
            for field, message in unreachable_members(
                member, listeners, "listen" not in draft.broken, draft.names["listen"].__contains__
            ):
                yield f"{here}.{field}", message


def _routes(draft: Draft) -> _Found:
    routes: list[tuple[int, Route]] = draft.lists["route"]
    sets = {each.set for _, each in _destinations(draft)} | draft.names["destinations"]
    places = {each.name for _, each in _listen(draft)} | draft.names["listen"] | set(Zone)
    yield from _repeated((f"route[{index}].name", each.name) for index, each in routes)
    for index, each in routes:
        for number, name in enumerate(each.to):
            if name not in sets:
                here = f"route[{index}].to" + (f"[{number}]" if len(each.to) > 1 else "")
                yield here, f"expected a destination set ({_listed(sets)}), found {name!r}"
        if not each.to and each.answer is None:
            yield f"route[{index}].to", "is missing: expected a destination set, or an answer to refuse with"
        trunks = {trunk.name for _, trunk in draft.lists["trunk"]}
        for number, name in enumerate(each.trunk):
            if name not in trunks and "trunk" not in draft.broken:
                yield f"route[{index}].trunk[{number}]", f"expected a trunk ({_listed(trunks)}), found {name!r}"
        yield from _resources(f"route[{index}].resources", each, draft)
        if each.from_ not in places and "listen" not in draft.broken:
            there = ", ".join(sorted(places))
            yield f"route[{index}].from", f"expected a zone or listener ({there}), found {each.from_!r}"
    if not routes and len(sets) > 1 and "route" not in draft.broken:
        yield "route", f"expected routes that say which of the {len(sets)} sets takes what, found none"


def _resources(here: str, route: Route, draft: Draft) -> _Found:
    """A thing that no member of a route's sets has is misspelt: nobody could take a call."""
    sets = {each.set: each for _, each in _destinations(draft)}
    for number, wanted in enumerate(route.resources):
        for name in route.to:
            members = sets[name].members if name in sets else ()
            if members and not any(member.resources.get(wanted) for member in members):
                there = {resource for member in members for resource, most in member.resources.items() if most}
                message = f"expected something that a member of {name} has ({_listed(there)}), found {wanted!r}"
                yield f"{here}[{number}]", message


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def media_address(draft: Draft) -> MediaAddress:
    """The media addresses as given; one that is not is the first listener's of that zone, or empty for a wildcard."""
    given: MediaAddress = draft.tables["media"].address
    return MediaAddress(
        public=given.public or _first_host(draft, Zone.PUBLIC), core=given.core or _first_host(draft, Zone.CORE)
    )


def _first_host(draft: Draft, zone: Zone) -> str:
    host = next((each.bind.host for _, each in _listen(draft) if each.zone is zone), "")
    return "" if not host or ip_address(host).is_unspecified else host
