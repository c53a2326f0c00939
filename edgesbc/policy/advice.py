"""Advice about a sound policy: what it leaves open that it could close. ``edgesbc check`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.policy.model import Policy

__all__ = ["advice"]


def advice(policy: Policy) -> Iterator[str]:
    """A sentence for each."""
    if not policy.domains.names:
        yield (
            "[domains] names no domain: trunks and registered users may ask private servers for any host;"
            " name those that the servers serve"
        )
