"""What a policy's tables become for the core: routes and trunks. Opens nothing, and knows no running edge."""

from __future__ import annotations

from edgesbc.base.address import Zone
from edgesbc.dispatch.settings import with_fallbacks
from edgesbc.policy.model import Policy
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.standing import Trunk

__all__ = ["routing_of", "trunks_of"]


def routing_of(policy: Policy) -> RoutingTable:
    """The routes of the policy, over its destination sets."""
    return RoutingTable(policy.route, [each.set for each in policy.destinations])


def trunks_of(policy: Policy) -> list[Trunk]:
    """The trunks of the policy, and the destinations on the public side: the operator named them as well."""
    listed = list(policy.trunk)
    listeners = {each.name: each.zone for each in policy.listen}
    sets = {each.set: each for each in policy.destinations}
    outward = {
        name
        for route in policy.route
        if listeners.get(route.from_, route.from_) == Zone.CORE
        for first in route.to
        for name in with_fallbacks(first, sets)
    }
    for each in policy.destinations:
        if each.set in outward:
            targets = [member.target for member in each.members]
            hosts = tuple(sorted({target.source.host for target in targets if target is not None}))
            if hosts:
                listed.append(Trunk(f"destinations-{each.set}", hosts))
    return listed
