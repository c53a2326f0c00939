"""The share of a set's calls that each member gets by the policy, without regard to load and health."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.dispatch.settings import MemberSettings, SetSettings

__all__ = ["share_words", "traffic_shares"]

_Group = list[MemberSettings]


def traffic_shares(settings: SetSettings) -> dict[str, float] | None:
    """Percent of the calls by member, if all are up and have capacity; None if it depends on more than the policy.

    Only members of the best priority get calls, and no disabled ones. ``broadcast`` gives each call to all.
    """
    shares_of = _SHARES_BY_ALGORITHM.get(settings.algorithm)
    if shares_of is None or not settings.members:
        return None
    enabled = [member for member in settings.members if not member.disabled]
    best = min((member.priority for member in enabled), default=0)
    group = [member for member in enabled if member.priority == best]
    shares = dict.fromkeys((member.uri for member in settings.members), 0.0)
    shares.update(zip((member.uri for member in group), shares_of(group), strict=True))
    return shares


def share_words(percent: float) -> str:
    return "nothing" if not percent else f"{percent:g} %"


def _by_weight(group: _Group) -> list[float]:
    return _in_proportion([member.weight for member in group])


def _by_capacity(group: _Group) -> list[float]:
    """``least-loaded`` fills all members equally: by ``max_calls``, or by weight if one has none."""
    bounds = [member.max_calls for member in group]
    return _in_proportion(
        [
            member.weight if None in bounds or bound is None else bound
            for member, bound in zip(group, bounds, strict=True)
        ]
    )


def _equal(group: _Group) -> list[float]:
    return _in_proportion([1] * len(group))


def _first_only(group: _Group) -> list[float]:
    return [0.0 if position else 100.0 for position in range(len(group))]


def _all(group: _Group) -> list[float]:
    return [100.0] * len(group)


def _in_proportion(parts: list[int]) -> list[float]:
    total = sum(parts)
    return [100.0 * part / total for part in parts]


_SHARES_BY_ALGORITHM: dict[str, Callable[[_Group], list[float]]] = {
    "weighted": _by_weight,
    "hash": _by_weight,
    "least-loaded": _by_capacity,
    "fewest-calls": _equal,
    "round-robin": _equal,
    "random": _equal,
    "priority": _first_only,
    "broadcast": _all,
}
