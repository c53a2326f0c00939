"""How much of a set's calls each of its members gets, as far as the policy alone says. Knows no load and no health."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.dispatch.settings import MemberSettings, SetSettings

__all__ = ["share_words", "traffic_shares"]

_Group = list[MemberSettings]


def traffic_shares(settings: SetSettings) -> dict[str, float] | None:
    """Percent of the calls by member, while all are up and have room; None where that depends on more than the policy.

    Only those of the best priority count; what is disabled gets nothing. ``broadcast`` gives each call to all.
    """
    share_out = _WAYS.get(settings.algorithm)
    if share_out is None or not settings.members:
        return None
    able = [each for each in settings.members if not each.disabled]
    best = min((each.priority for each in able), default=0)
    group = [each for each in able if each.priority == best]
    given = dict.fromkeys((each.uri for each in settings.members), 0.0)
    given.update(zip((each.uri for each in group), share_out(group), strict=True))
    return given


def share_words(percent: float) -> str:
    return "nothing" if not percent else f"{percent:g} %"


def _by_weight(group: _Group) -> list[float]:
    return _in_proportion([each.weight for each in group])


def _by_room(group: _Group) -> list[float]:
    """``least-loaded`` fills all alike: by ``max_calls``, or by weight where one has none."""
    bounds = [each.max_calls for each in group]
    return _in_proportion(
        [each.weight if None in bounds or bound is None else bound for each, bound in zip(group, bounds, strict=True)]
    )


def _alike(group: _Group) -> list[float]:
    return _in_proportion([1] * len(group))


def _the_first(group: _Group) -> list[float]:
    return [0.0 if place else 100.0 for place in range(len(group))]


def _all(group: _Group) -> list[float]:
    return [100.0] * len(group)


def _in_proportion(parts: list[int]) -> list[float]:
    total = sum(parts)
    return [100.0 * part / total for part in parts]


_WAYS: dict[str, Callable[[_Group], list[float]]] = {
    "weighted": _by_weight,
    "hash": _by_weight,
    "least-loaded": _by_room,
    "round-robin": _alike,
    "random": _alike,
    "priority": _the_first,
    "broadcast": _all,
}
