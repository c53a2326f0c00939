"""Bans and exemptions that an operator set, by prefix. The edge's own bans are in ``penalties``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgesbc.base import limits
from edgesbc.base.prefixes import PrefixMap, network_key

__all__ = ["OperatorBan", "OperatorBans"]


class OperatorBan:
    """A ban on a prefix, or with ``exempt`` an exemption: its sources are never banned.

    ``until`` is in seconds on the plane's clock, None for no end. ``by`` names the operator who set it, "policy" where
    it is in the policy file; ``hits`` counts the messages dropped under it.
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
    """The operator's bans and exemptions in force; the one for the longest prefix counts.

    There are at most ``limits.OPERATOR_BANS`` besides the exemptions of the policy. Those do not count, so that a new
    policy with many exemptions never displaces what an operator has set.
    """

    __slots__ = ("_by_prefix", "_map", "_of_policy", "version")

    def __init__(self, exempt: Iterable[str] = ()) -> None:
        self._by_prefix: dict[tuple[int, int, int], OperatorBan] = {}
        self._map: PrefixMap[OperatorBan] = PrefixMap(limits.REMEMBERED_ADDRESSES)
        self.version = 0
        """Changes with every change of the table."""
        for prefix in exempt:
            self._enter(OperatorBan(prefix, True, 0.0, None, "policy", ""))
        self._of_policy = len(self._by_prefix)

    def __bool__(self) -> bool:
        return bool(self._by_prefix)

    def __iter__(self) -> Iterator[OperatorBan]:
        return iter(tuple(self._by_prefix.values()))

    def put(self, ban: OperatorBan) -> None:
        """Set a ban or exemption; it replaces one for the same prefix. Raises ``ValueError`` for a full table or
        a text that is no prefix."""
        full = len(self._by_prefix) - self._of_policy >= limits.OPERATOR_BANS
        if full and network_key(ban.prefix) not in self._by_prefix:
            raise ValueError(f"there are {limits.OPERATOR_BANS} orders already; remove some first")
        self._enter(ban)

    def _enter(self, ban: OperatorBan) -> None:
        self._by_prefix[network_key(ban.prefix)] = ban
        self._map.put(ban.prefix, ban)
        self.version += 1

    def drop(self, prefix: str) -> bool:
        """Remove the ban or exemption of exactly this prefix; false if there was none. Raises ``ValueError`` for a text
        that is no prefix."""
        if self._by_prefix.pop(network_key(prefix), None) is None:
            return False
        self._map.remove(prefix)
        self.version += 1
        return True

    def of(self, host: str, now: float) -> OperatorBan | None:
        """The ban or exemption that counts for an address at ``now``; those that have ended are removed."""
        ban = self._map.get(host)
        while ban is not None and ban.until is not None and ban.until <= now:
            self.drop(ban.prefix)
            ban = self._map.get(host)
        return ban

    def exempts(self, host: str, now: float) -> bool:
        """Whether an address is exempt from bans."""
        ban = self.of(host, now) if self._by_prefix else None
        return ban is not None and ban.exempt

    def take_over(self, previous: OperatorBans) -> None:
        """Take over what operators have set under the previous policy, without the exemptions of that policy."""
        for key, ban in previous._by_prefix.items():
            if ban.by != "policy" and key not in self._by_prefix:
                self._enter(ban)
        self.version = previous.version + 1

    def copy_from(self, live: OperatorBans) -> None:
        """Replace the copied bans and exemptions by those that operators have set in ``live``. Hits are counted
        separately."""
        for ban in self:
            if ban.by != "policy":
                self.drop(ban.prefix)
        for key, ban in live._by_prefix.items():
            if ban.by != "policy" and key not in self._by_prefix:
                self._enter(OperatorBan(ban.prefix, ban.exempt, ban.since, ban.until, ban.by, ban.why))
