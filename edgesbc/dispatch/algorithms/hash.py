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
"""Looks that each key takes, at three places."""
_LOOKS = Struct(f"<{2 * _PROBES}Q")
_PATIENCE = 64
"""Members on the way that are not able, after which all are asked: each once, and not once on each ring."""
_GRAIN = 2.0**-53
"""Points are fractions of a ring, in steps that a float has everywhere between 0 and 1."""
_LONGEST = 1 - _GRAIN
_CLASS_BITS = 4
"""Weights of one class are within a factor of 2^4 of each other, so that few on a ring are passed on the way."""


class Hash(Algorithm):
    """For each key every member has a score, drawn anew and scaled by its weight; the lowest wins.

    That is rendezvous hashing (Thaler and Ravishankar; weights by Schindelhauer), so when a member goes, only its
    own keys move, and they spread over all the others by weight; nobody inherits them alone, as a neighbour does
    where the hash is taken modulo the number of members. So that a thousand scores need not be worked out for each
    key, the draws are made to be found: member m's is the way from a key's point to m's on a ring, of which each key
    has some of many. The lowest score is that of the next on the ring, or of one soon after it that weighs more; so
    that this is not far, members have rings with those of about their own weight.

    Who has ``hash_bound`` times its fair share of the calls is passed over (Mirrokni, Thorup and Zadimoghaddam).
    """

    __slots__ = ("_classes", "_load", "_rings", "_share")

    def __init__(self, members: Sequence[Member], settings: SetSettings, random: Callable[[], float]) -> None:
        super().__init__(members, settings, random)
        # By name, not by place: another order in the policy, or another edge, gives the same choice.
        by_size: dict[int, list[tuple[int, Member]]] = {}
        for member in self._all:
            by_size.setdefault(frexp(member.weight)[1] // _CLASS_BITS, []).append((member.seed, member))
        # The heaviest first: where it has a low score, the others are soon known to have none that is lower.
        self._classes = [those for _, those in sorted(by_size.items())[::-1]]
        self._rings: list[list[_Ring]] = [[] for _ in range(_RINGS)]
        self._load = sum(member.load for member in self._all)
        self._share = 0.0

    def _gathered(self) -> None:
        weight = sum(member.weight for member in self._usable)
        self._share = self._settings.hash_bound / weight if weight else 0.0

    def loaded(self, member: Member, calls: int) -> None:
        self._load += calls

    def _choose(self, able: Able, demand: SelectionRequest) -> Member | None:
        looks = _LOOKS.unpack(blake2b(demand.key, digest_size=_LOOKS.size).digest())
        fair = self._share * (self._load + 1)

        def bounded(member: Member) -> bool:
            return member.load < ceil(fair * member.weight) and able(member)

        return (fair and self._closest(looks, bounded)) or self._closest(looks, able)

    def _closest(self, looks: tuple[int, ...], able: Able) -> Member | None:
        """The able member with the lowest score for a key; ``looks`` has a ring and a point for each look."""
        best, lowest, patience = None, float("inf"), _PATIENCE
        for number, point in _places(looks):
            for points, owners, heaviest in self._rings[number] or self._make_rings(number):
                count = len(points)
                place = bisect_left(points, point)
                for _ in range(count):
                    if place == count:
                        place = 0
                    way = points[place] - point
                    if way < 0.0:
                        way += 1.0
                    if way >= lowest * heaviest:  # from here on nobody's score is lower: see _score
                        break
                    owner = owners[place]
                    # The score is at least the way by the weight, so that most need not be worked out.
                    if way < lowest * owner.weight and (score := _score(way, owner)) < lowest:
                        if able(owner):
                            best, lowest = owner, score
                        elif patience:
                            patience -= 1
                        else:
                            return self._closest_of_few(looks, able)
                    place += 1
        return best

    def _closest_of_few(self, looks: tuple[int, ...], able: Able) -> Member | None:
        """The same, where nearly nobody is able: the scores of those who are, one by one."""
        best, lowest = None, float("inf")
        places = [(_salt(number), point) for number, point in _places(looks)]
        for those in self._classes:
            for seed, member in those:
                if able(member):
                    ways = [_fraction(_mix(seed ^ salt)) - point for salt, point in places]
                    score = min(_score(way if way >= 0.0 else way + 1.0, member) for way in ways)
                    if score < lowest:
                        best, lowest = member, score
        return best

    def _make_rings(self, number: int) -> list[_Ring]:
        """The points of the rings of one number in order, and whose they are; made when the first key comes to them."""
        salt, rings = _salt(number), self._rings[number]
        for those in self._classes:
            placed = sorted(((_fraction(_mix(seed ^ salt)), member) for seed, member in those), key=_point)
            heaviest = max(member.weight for _, member in those)
            rings.append((array("d", [point for point, _ in placed]), [member for _, member in placed], heaviest))
        return rings


_Ring = tuple["array[float]", list["Member"], float]
"""Points in order, whose they are, and the heaviest of those."""


def _places(looks: tuple[int, ...]) -> list[tuple[int, float]]:
    """Rings by number, and the key's point on each."""
    return [
        (look % _RINGS, (point >> 11) * _GRAIN) for look, point in zip(looks[:_PROBES], looks[_PROBES:], strict=True)
    ]


def _score(way: float, member: Member) -> float:
    """When the first arrival of a process of the member's rate comes; at least the way by the weight."""
    return -log1p(-min(way, _LONGEST)) / member.weight


def _fraction(number: int) -> float:
    return (number >> 11) * _GRAIN


def _salt(ring: int) -> int:
    """What makes points on a ring others than on the next; not by size, since another weight is no reason for that."""
    return _mix((ring + 1) * _STRIDE & _MASK)


def _point(placed: tuple[float, Member]) -> float:
    return placed[0]


def _mix(value: int) -> int:
    """The finisher of splitmix64: every bit of the input moves half of the output."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
