"""The nonces that registrars and servers have given to a flow, which whoever forges its address has not seen."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base import limits
from edgesbc.base.address import FlowKey

__all__ = ["FlowNonces"]


class FlowNonces:
    """Hashes of nonces: to which flow each of the last ones was given, and for each registered UDP flow those of the
    last challenges that were sent to it, and of the last credentials that were accepted. The accepted ones are kept
    apart: requests with a forged address cause challenges too.

    A nonce that was given to several flows, as by a server that gives all the same within a second, is no secret of any
    of them. Accepted credentials show nothing about their nonce: who has an account sends them from a forged address,
    with a nonce that it was given itself.
    """

    __slots__ = ("_accepted", "_challenges", "_given")

    def __init__(self) -> None:
        self._accepted: dict[FlowKey, tuple[int, ...]] = {}
        self._challenges: dict[FlowKey, tuple[int, ...]] = {}
        self._given: dict[int, FlowKey | None] = {}
        """By nonce, the latest last; None for one that several flows were given."""

    def __len__(self) -> int:
        """The number of registered flows of which nonces are remembered."""
        return len(self._accepted.keys() | self._challenges.keys())

    def given(self, key: FlowKey, nonces: Iterable[str]) -> None:
        """A response with these nonces goes to the flow, whatever its standing is."""
        table = self._given
        for nonce in nonces:
            number = hash(nonce)
            other = table.pop(number, key)
            table[number] = key if other == key else None
        while len(table) > limits.GIVEN_NONCES:
            del table[next(iter(table))]

    def challenged(self, key: FlowKey, nonces: Iterable[str]) -> None:
        """A challenge with these nonces goes to a registered flow."""
        nonces = tuple(nonces)
        self.given(key, nonces)
        self._challenges[key] = _with(self._challenges.get(key, ()), map(hash, nonces), limits.CHALLENGES_OF_FLOW)

    def accepted(self, key: FlowKey, nonces: Iterable[str]) -> None:
        """A server has accepted credentials of the flow with these nonces; those that it was not given do not count."""
        numbers = [hash(nonce) for nonce in nonces if self.has(key, nonce)]
        if numbers:
            self._accepted[key] = _with(self._accepted.get(key, ()), numbers, limits.ACCEPTED_NONCES_OF_FLOW)

    def has(self, key: FlowKey, nonce: str) -> bool:
        """Whether the flow has been given that nonce, and no other has."""
        number = hash(nonce)
        if number in self._given:
            return self._given[number] == key
        return number in self._accepted.get(key, ()) or number in self._challenges.get(key, ())

    def forget(self, key: FlowKey) -> None:
        """The flow is no longer registered."""
        self._accepted.pop(key, None)
        self._challenges.pop(key, None)

    def copy(self) -> FlowNonces:
        other = FlowNonces()
        other._accepted = dict(self._accepted)
        other._challenges = dict(self._challenges)
        other._given = dict(self._given)
        return other


def _with(before: tuple[int, ...], added: Iterable[int], most: int) -> tuple[int, ...]:
    """The last ``most`` of ``before`` and ``added``, the newest last."""
    numbers = dict.fromkeys(before)
    for number in added:
        numbers.pop(number, None)
        numbers[number] = None
    return tuple(numbers)[-most:]
