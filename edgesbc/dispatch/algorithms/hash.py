"""Hash: the same key goes to the same member, by weighted rendezvous with bounded load."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil, frexp, log1p
from struct import Struct

from edgesbc.dispatch.algorithms.algorithm import Able, Algorithm
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import SetSettings

__all__ = ["Hash"]

_MASK = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15
_RINGS = 256
"""Rings that keys are spread over: with 256, a member's share of the keys is within about 3% of its weight."""
_PROBES = 3
"""Points that each key has, each on one of the rings."""
_KEY_NUMBERS = Struct(f"<{2 * _PROBES}Q")
_PATIENCE = 64
"""Members that are not able, after which the search examines every member once instead of going on along the rings."""
_GRAIN = 2.0**-53
"""Points are fractions of a ring, in steps that a float has everywhere between 0 and 1."""
_LONGEST = 1 - _GRAIN
_CLASS_BITS = 4
"""Weights of one class are within a factor of 2^4 of each other, so that a search examines few points of a ring."""


class Hash(Algorithm):
    """For each key every member has a pseudo-random score, scaled by its weight; the lowest score wins.

    This is rendezvous hashing (Thaler and Ravishankar; weights by Schindelhauer): when a member is removed, only its
    own keys move, and they spread over all others by weight. So that a thousand scores need not be computed for each
    key, a score is derived from the distance between the key's point and the member's point on a ring. The lowest
    score is that of the next member on the ring, or of a heavier one soon after it; to keep that search short, members
    share rings with members of about their own weight.

    A member with ``hash_bound`` times its fair share of the calls is skipped (Mirrokni, Thorup and Zadimoghaddam).
    """

    __slots__ = ("_classes", "_load", "_rings", "_share")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        # By name, not by index: another order in the policy, or another edge, makes the same choice.
        by_size: dict[int, list[tuple[int, Member]]] = {}
        for member in self._all:
            by_size.setdefault(frexp(member.weight)[1] // _CLASS_BITS, []).append((member.seed, member))
        # The heaviest first: after a low score there, the search of lighter members ends soon.
        self._classes = [members_of_class for _, members_of_class in sorted(by_size.items())[::-1]]
        self._rings: list[list[_Ring]] = [[] for _ in range(_RINGS)]
        self._load = sum(member.load for member in self._all)
        self._share = 0.0

    def _rebuild(self) -> None:
        weight = sum(member.weight for member in self._usable)
        self._share = self._settings.hash_bound / weight if weight else 0.0

    def load_changed(self, member: Member, calls: int) -> None:
        self._load += calls

    def _choose(self, able: Able, selection: SelectionRequest) -> Member | None:
        key_numbers = _KEY_NUMBERS.unpack(blake2b(selection.key, digest_size=_KEY_NUMBERS.size).digest())
        fair = self._share * (self._load + 1)

        def bounded(member: Member) -> bool:
            return member.load < ceil(fair * member.weight) and able(member)

        return (fair and self._closest(key_numbers, bounded)) or self._closest(key_numbers, able)

    def _closest(self, key_numbers: tuple[int, ...], able: Able) -> Member | None:
        """The able member with the lowest score for a key; ``key_numbers`` are the numbers of its rings and of its
        points."""
        best, lowest, patience = None, float("inf"), _PATIENCE
        for number, point in _places(key_numbers):
            for points, owners, heaviest in self._rings[number] or self._make_rings(number):
                count = len(points)
                position = bisect_left(points, point)
                for _ in range(count):
                    if position == count:
                        position = 0
                    distance = points[position] - point
                    if distance < 0.0:
                        distance += 1.0
                    if distance >= lowest * heaviest:  # no later score is lower: see _score
                        break
                    owner = owners[position]
                    # The score is at least distance / weight, so most scores need not be computed.
                    if distance < lowest * owner.weight and (score := _score(distance, owner)) < lowest:
                        if able(owner):
                            best, lowest = owner, score
                        elif patience:
                            patience -= 1
                        else:
                            return self._closest_of_few(key_numbers, able)
                    position += 1
        return best

    def _closest_of_few(self, key_numbers: tuple[int, ...], able: Able) -> Member | None:
        """The same if few members are able: compute the scores of all able members."""
        best, lowest = None, float("inf")
        places = [(_salt(number), point) for number, point in _places(key_numbers)]
        for members in self._classes:
            for seed, member in members:
                if able(member):
                    distances = [_fraction(_mix(seed ^ salt)) - point for salt, point in places]
                    score = min(
                        _score(distance if distance >= 0.0 else distance + 1.0, member) for distance in distances
                    )
                    if score < lowest:
                        best, lowest = member, score
        return best

    def _make_rings(self, number: int) -> list[_Ring]:
        """The rings of one number, with points in order and their members. They are made for the first key on them."""
        salt, rings = _salt(number), self._rings[number]
        for members in self._classes:
            placed = sorted(((_fraction(_mix(seed ^ salt)), member) for seed, member in members), key=_point)
            heaviest = max(member.weight for _, member in members)
            rings.append((array("d", [point for point, _ in placed]), [member for _, member in placed], heaviest))
        return rings


_Ring = tuple["array[float]", list["Member"], float]
"""Points in order, their members, and the highest weight among those."""


def _places(key_numbers: tuple[int, ...]) -> list[tuple[int, float]]:
    """Rings by number, and the key's point on each."""
    return [
        (ring % _RINGS, (point >> 11) * _GRAIN)
        for ring, point in zip(key_numbers[:_PROBES], key_numbers[_PROBES:], strict=True)
    ]


def _score(distance: float, member: Member) -> float:
    """The time of the first arrival of a Poisson process with the member's weight as its rate; at least distance /
    weight."""
    return -log1p(-min(distance, _LONGEST)) / member.weight


def _fraction(number: int) -> float:
    return (number >> 11) * _GRAIN


def _salt(ring: int) -> int:
    """A number that makes the points of one ring independent of those of another."""
    return _mix((ring + 1) * _STRIDE & _MASK)


def _point(placed: tuple[float, Member]) -> float:
    return placed[0]


def _mix(value: int) -> int:
    """The final mix of splitmix64: every bit of the input changes half of the output."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
