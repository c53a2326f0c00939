"""Routing table, header rules, core sources and trunks for the signalling core, from a policy."""

from __future__ import annotations

from edgesbc.base.address import Source, Zone
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.validation import listed_address
from edgesbc.dispatch.settings import with_fallbacks
from edgesbc.policy.model import Policy
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.standing import Standing
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.bodies import BodyRules
from edgesbc.signalling.core_sources import CoreRules
from edgesbc.signalling.header_rules import HeaderRules

__all__ = ["core_rules_of", "header_rules_of", "routing_of", "trunks_of"]

_REDIRECTED = {"registered": Standing.REGISTERED, "trunk": Standing.TRUNK}


def routing_of(policy: Policy) -> RoutingTable:
    """The routes of the policy, over its destination sets, and its domains."""
    return RoutingTable(policy.route, [settings.set for settings in policy.destinations], policy.domains)


def header_rules_of(policy: Policy) -> HeaderRules:
    """The rules for header fields that go inward, for bodies and for redirections, with what the policy adds."""
    headers, bodies = policy.headers, policy.bodies
    return HeaderRules(
        headers.unregistered,
        headers.registered,
        headers.trunk,
        BodyRules(bodies.unregistered, bodies.registered, bodies.trunk),
        [_REDIRECTED[word] for word in headers.redirects],
    )


def core_rules_of(policy: Policy) -> CoreRules:
    """Who is on the private side: the prefixes of the policy, and all sets but those for requests from there only."""
    outward = _sets_of(policy, Zone.CORE) - _sets_of(policy, Zone.PUBLIC)
    names = [settings.set for settings in policy.destinations]
    return CoreRules(policy.core.allow, [name for name in names if name not in outward])


def _sets_of(policy: Policy, zone: Zone) -> set[str]:
    """The sets that routes for requests from ``zone`` lead to, with their fallbacks."""
    zones = {listener.name: listener.zone for listener in policy.listen}
    sets = {settings.set: settings for settings in policy.destinations}
    return {
        name
        for route in policy.route
        if zones.get(route.from_, route.from_) == zone
        for start in route.to
        for name in with_fallbacks(start, sets)
    }


def trunks_of(policy: Policy) -> list[Trunk]:
    """The trunks of the policy, and the destinations on the public side, which the operator named as well.

    A destination whose address a trunk has is that trunk, with its limits. Where a trunk lists a prefix, the address
    alone would be the longer match.
    """
    listed = list(policy.trunk)
    networks = [listed_address(text) for trunk in policy.trunk for text in trunk.addresses]
    of_trunks = PrefixSet(str(network) for network in networks if not isinstance(network, Source))
    outward_sets = _sets_of(policy, Zone.CORE)
    for settings in policy.destinations:
        if settings.set in outward_sets:
            targets = [member.target for member in settings.members]
            hosts = tuple(sorted({target.source.host for target in targets if target is not None}))
            hosts = tuple(host for host in hosts if host not in of_trunks)
            if hosts:
                listed.append(Trunk(f"destinations-{settings.set}", hosts))
    return listed
