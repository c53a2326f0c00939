"""The nonces that registrars and servers have given to a flow, which whoever forges its address has not seen."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base import limits
from edgesbc.base.address import FlowKey

__all__ = ["FlowNonces"]


class FlowNonces:
    """For each registered UDP flow, hashes of the nonces of the last challenges that were sent to it, and of the last
    credentials that were accepted. The accepted ones are kept apart: requests with a forged address cause challenges
    too.
    """

    __slots__ = ("_accepted", "_challenges")

    def __init__(self) -> None:
        self._accepted: dict[FlowKey, tuple[int, ...]] = {}
        self._challenges: dict[FlowKey, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._accepted.keys() | self._challenges.keys())

    def challenged(self, key: FlowKey, nonces: Iterable[str]) -> None:
        """A challenge with these nonces goes to the flow."""
        self._challenges[key] = _with(self._challenges.get(key, ()), nonces, limits.CHALLENGES_OF_FLOW)

    def accepted(self, key: FlowKey, nonces: Iterable[str]) -> None:
        """A server has accepted credentials of the flow with these nonces."""
        self._accepted[key] = _with(self._accepted.get(key, ()), nonces, limits.ACCEPTED_NONCES_OF_FLOW)

    def has(self, key: FlowKey, nonce: str) -> bool:
        """Whether the flow has been given that nonce."""
        number = hash(nonce)
        return number in self._accepted.get(key, ()) or number in self._challenges.get(key, ())

    def forget(self, key: FlowKey) -> None:
        """The flow is no longer registered."""
        self._accepted.pop(key, None)
        self._challenges.pop(key, None)

    def copy(self) -> FlowNonces:
        other = FlowNonces()
        other._accepted = dict(self._accepted)
        other._challenges = dict(self._challenges)
        return other


def _with(before: tuple[int, ...], nonces: Iterable[str], most: int) -> tuple[int, ...]:
    """The last ``most`` of ``before`` and ``nonces``, the newest last."""
    numbers = dict.fromkeys(before)
    for nonce in nonces:
        number = hash(nonce)
        numbers.pop(number, None)
        numbers[number] = None
    return tuple(numbers)[-most:]
