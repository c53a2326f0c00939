"""Hash: the same key goes to the same member, by weighted rendezvous."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING

from edgesbc.dispatch.algorithms.shape import Able, Algorithm

if TYPE_CHECKING:
    from edgesbc.dispatch.member import Member

__all__ = ["Hash"]

_MASK = (1 << 64) - 1


class Hash(Algorithm):
    """The member with the highest score for the key wins (Thaler and Ravishankar; weights by Schindelhauer).

    When a member goes, only its own keys move, and they spread over all the others by weight; nobody
    inherits them alone, as a neighbour does where the hash is taken modulo the number of members.
    """

    __slots__ = ("_seeds",)

    def __init__(self, members: Sequence[Member], random: Callable[[], float]) -> None:
        super().__init__(members, random)
        # By name, not by place: another order in the policy, or another edge, gives the same choice.
        self._seeds = [(_digest(member.name.encode()), member) for member in self._members]

    def choose(self, able: Able, key: bytes) -> Member | None:
        seed = _digest(key)
        best, highest = None, float("-inf")
        for of_member, member in self._seeds:
            unit = (_mix(seed ^ of_member) + 0.5) / 2.0**64  # strictly between 0 and 1
            score = member.settings.weight / -log(unit) if unit < 1.0 else float("inf")
            if score > highest and able(member):
                best, highest = member, score
        return best


def _digest(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest())


def _mix(value: int) -> int:
    """The finisher of splitmix64: every bit of the input moves half of the output."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
