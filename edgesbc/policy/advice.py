"""Advice about a sound policy: what it leaves open that it could close. ``edgesbc check`` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from edgesbc.base.address import Zone
from edgesbc.policy.model import ListenSettings, Policy
from edgesbc.routing.domains import HostSet, plain_host
from edgesbc.signalling.core_sources import is_private

__all__ = ["advice"]


def advice(policy: Policy) -> Iterator[str]:
    """A sentence for each."""
    for listener in policy.listen:
        if listener.zone is Zone.CORE and not policy.core.allow and not is_private(listener.bind.host):
            yield (
                f"the core listener {listener.name} has no private address, and accepts destinations alone;"
                " name your other servers in [core] allow"
            )
    yield from _open_devices(policy)
    yield from _families_without_media(policy)
    yield from _media_behind_nat(policy)
    yield from _rtpengines(policy)
    for prefix in policy.core.allow:
        if prefix.endswith("/0"):
            yield f"[core] allow has {prefix}: anybody who reaches a core listener may assert any identity"
    if not policy.domains.names:
        yield (
            "[domains] names no domain: trunks and registered users may ask private servers for any host;"
            " name those that the servers serve"
        )
    yield from _routes_of_unlisted_hosts(policy)


def _routes_of_unlisted_hosts(policy: Policy) -> Iterator[str]:
    """Routes of the public side for hosts that ``[domains]`` does not name: what asks for them is refused before."""
    if not policy.domains.names:
        return
    served = {plain_host(name) for name in policy.domains.names}
    public = {"public"}
    for listener in policy.listen:
        if listener.zone is Zone.PUBLIC:
            public.add(listener.name)
        served.add(plain_host(listener.bind.host))
        if listener.advertise is not None:
            served.add(plain_host(listener.advertise.host))
    for route in policy.route:
        for name in route.request_host if route.from_ in public else ():
            hosts = HostSet([name])
            if not any(host in hosts for host in served):
                yield (
                    f"the route {route.name} is for {name}, which is not in [domains] names: requests of the public"
                    f" side for it get {policy.domains.answer}; name it there"
                )


def _open_devices(policy: Policy) -> Iterator[str]:
    """Core listeners that packets may reach by the public device, because the edge does not know which that is: see
    :mod:`edgesbc.transport.interfaces`. Loopback is not reached from outside."""
    wildcards = [listener.name for listener in policy.listen if listener.zone is Zone.PUBLIC and _is_wildcard(listener)]
    for listener in policy.listen:
        if listener.zone is not Zone.CORE or listener.device:
            continue
        if _is_wildcard(listener):
            yield (
                f"the core listener {listener.name} is bound to a wildcard, and takes packets by the public device too;"
                ' bind it to an address, or to a device: device = "eth1"'
            )
        elif wildcards and not ip_address(listener.bind.host).is_loopback:
            yield (
                f"packets by the public device may reach the core listener {listener.name}, because the public listener"
                f" {wildcards[0]} is bound to a wildcard; bind that to an address, or {listener.name} to a device:"
                ' device = "eth1"'
            )


def _families_without_media(policy: Policy) -> Iterator[str]:
    """Listeners of a family that the media of their zone does not have: one listener for each."""
    if policy.media.engine == "none":
        return
    for zone in Zone:
        versions = {ip_address(host).version for host in policy.media.address.of(zone)}
        for listener in policy.listen:
            version = ip_address(listener.bind.host).version
            if listener.zone is zone and version not in versions:
                versions.add(version)
                yield (
                    f"the {zone} listener {listener.name} has IPv{version} and media of that side has not, so that"
                    f" calls with media over IPv{version} get 488; name an address of it in [media.address] {zone}"
                )


def _rtpengines(policy: Policy) -> Iterator[str]:
    """What is different where rtpengines are the media plane."""
    if policy.media.engine != "rtpengine":
        if policy.media.rtpengine:
            yield f'[[media.rtpengine]] has no effect with [media] engine = "{policy.media.engine}"'
        return
    yield (
        "rtpengines relay the media by settings of their own: [media] ports, hold_timeout, one_way, one_way_timeout,"
        " kernel, relays, unknown_profiles and latch (also of trunks and sets) have no effect, a side that falls silent"
        " ends no call, and calls from before a restart of signalling keep their media only until both sides are silent"
    )
    for engine in policy.media.rtpengine:
        if not is_private(engine.address.host):
            yield (
                f"the rtpengine {engine.address} has no private address: its protocol has neither passwords nor"
                " encryption, and who can send to it can redirect media"
            )


def _media_behind_nat(policy: Policy) -> Iterator[str]:
    """The first public listener that advertises another address, where descriptions show the private one of media."""
    if policy.media.engine != "builtin":
        return
    shown = {ip_address(host).version: host for host in policy.media.address.public}
    shown |= {ip_address(host).version: host for host in policy.media.advertise.public}
    for listener in policy.listen:
        if listener.zone is not Zone.PUBLIC or listener.advertise is None or is_private(listener.advertise.host):
            continue
        host = shown.get(ip_address(listener.bind.host).version, "")
        if host and not ip_address(host).is_unspecified and is_private(host):
            yield (
                f"the public listener {listener.name} advertises {listener.advertise.host}, and descriptions show the"
                f" private address {host}, to which peers outside send no media; name the address that they reach in"
                " [media.advertise] public"
            )
            return


def _is_wildcard(listener: ListenSettings) -> bool:
    return ip_address(listener.bind.host).is_unspecified
