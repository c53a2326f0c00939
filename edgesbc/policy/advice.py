"""Advice about a sound policy: what it leaves open that it could close. ``edgesbc check`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.base.address import Zone
from edgesbc.policy.model import Policy
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
    for prefix in policy.core.allow:
        if prefix.endswith("/0"):
            yield f"[core] allow has {prefix}: anybody who reaches a core listener may assert any identity"
    if not policy.domains.names:
        yield (
            "[domains] names no domain: trunks and registered users may ask private servers for any host;"
            " name those that the servers serve"
        )
