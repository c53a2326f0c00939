"""What the operator has ordered about addresses: bans and exemptions, by prefix. Knows no evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgesbc.base import limits
from edgesbc.base.prefixes import PrefixMap, network_key

__all__ = ["OperatorBan", "OperatorBans"]


class OperatorBan:
    """A ban, or with ``exempt`` the opposite: never penalised, whatever it does.

    ``until`` is in seconds on the plane's clock, None for good. ``by`` is who gave it, "policy" where it is
    in the file; ``hits`` is what was dropped under it.
    """

    __slots__ = ("by", "exempt", "hits", "prefix", "since", "until", "why")

    def __init__(self, prefix: str, exempt: bool, since: float, until: float | None, by: str, why: str) -> None:
        self.prefix = prefix
        self.exempt = exempt
        self.since = since
        self.until = until
        self.by = by
        self.why = why
        self.hits = 0


class OperatorBans:
    """The orders in force; the one for the longest prefix counts.

    At most ``limits.ORDERS`` beside those of the policy, which is bounded by its file: so that whatever a new
    policy has, and in whichever order they come, all that was ordered has its place.
    """

    __slots__ = ("_by_prefix", "_map", "_of_policy", "version")

    def __init__(self, exempt: Iterable[str] = ()) -> None:
        self._by_prefix: dict[tuple[int, int, int], OperatorBan] = {}
        self._map: PrefixMap[OperatorBan] = PrefixMap(limits.REMEMBERED_ADDRESSES)
        self.version = 0
        """Another number whenever an order has come or gone."""
        for prefix in exempt:
            self._enter(OperatorBan(prefix, True, 0.0, None, "policy", ""))
        self._of_policy = len(self._by_prefix)

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def __iter__(self) -> Iterator[OperatorBan]:
        return iter(tuple(self._by_prefix.values()))

    def put(self, order: OperatorBan) -> None:
        """Give an order, in the place of the one for the same prefix. Raises ``ValueError``."""
        full = len(self._by_prefix) - self._of_policy >= limits.ORDERS
        if full and network_key(order.prefix) not in self._by_prefix:
            raise ValueError(f"there are {limits.ORDERS} orders already; remove some first")
        self._enter(order)

    def _enter(self, order: OperatorBan) -> None:
        self._by_prefix[network_key(order.prefix)] = order
        self._map.put(order.prefix, order)
        self.version += 1

    def drop(self, prefix: str) -> bool:
        """Take the order for exactly this prefix back; whether there was one. Raises ``ValueError``."""
        if self._by_prefix.pop(network_key(prefix), None) is None:
            return False
        self._map.drop(prefix)
        self.version += 1
        return True

    def of(self, host: str, now: float) -> OperatorBan | None:
        """The order that counts for an address at ``now``."""
        order = self._map.get(host)
        while order is not None and order.until is not None and order.until <= now:
            self.drop(order.prefix)
            order = self._map.get(host)
        return order

    def exempts(self, host: str, now: float) -> bool:
        """Whether an address is never to be penalised."""
        order = self.of(host, now) if self._by_prefix else None
        return order is not None and order.exempt

    def succeed(self, previous: OperatorBans) -> None:
        """Take over what was ordered while ``previous`` was in force; what was in its policy is not."""
        for key, order in previous._by_prefix.items():
            if order.by != "policy" and key not in self._by_prefix:
                self._enter(order)
        self.version = previous.version + 1

    def resemble(self, live: OperatorBans) -> None:
        """Have what was ordered in ``live``, besides what the own policy says; what is dropped under an order is
        counted there alone."""
        for order in self:
            if order.by != "policy":
                self.drop(order.prefix)
        for key, order in live._by_prefix.items():
            if order.by != "policy" and key not in self._by_prefix:
                self._enter(OperatorBan(order.prefix, order.exempt, order.since, order.until, order.by, order.why))
