"""The flows that are registered as each account, bounded by account: what one account can take of a table of all."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import FlowKey
from edgesbc.base.prefixes import source_key

__all__ = ["AccountFlows"]


class AccountFlows:
    """The flows of each account, in the order of their last registration. An account is a number, a hash of its name.

    One account has at most ``limits.FLOWS_OF_ACCOUNT`` flows, at most ``limits.ADDRESSES_OF_ACCOUNT`` addresses among
    them; beyond that its oldest ones are dropped. A user may open connections without end, and repeat accepted
    credentials in datagrams from forged sources.
    """

    __slots__ = ("_by_size", "_flows")

    def __init__(self) -> None:
        self._flows: dict[int, dict[FlowKey, None]] = {}
        self._by_size: dict[int, dict[int, None]] = {}
        """Accounts by the number of their flows: a full table asks for the account with the most."""

    def __len__(self) -> int:
        return len(self._flows)

    def add(self, account: int, key: FlowKey) -> list[FlowKey]:
        """Add a flow, as the newest of its account. Returns those that the account loses by it."""
        flows = self._flows.setdefault(account, {})
        before = len(flows)
        flows.pop(key, None)
        flows[key] = None
        self._count(account, before, len(flows))
        return self._excess(flows)

    @staticmethod
    def _excess(flows: dict[FlowKey, None]) -> list[FlowKey]:
        excess = [next(iter(flows))] if len(flows) > limits.FLOWS_OF_ACCOUNT else []
        if len(flows) > limits.ADDRESSES_OF_ACCOUNT:
            hosts = list(dict.fromkeys(source_key(key[1]) for key in reversed(flows)))
            dropped = hosts[limits.ADDRESSES_OF_ACCOUNT :]
            excess += [key for key in flows if source_key(key[1]) in dropped and key not in excess]
        return excess

    def remove(self, account: int, key: FlowKey) -> None:
        """Remove a flow; without effect where it is none of the account."""
        flows = self._flows.get(account)
        if flows is None or key not in flows:
            return
        del flows[key]
        self._count(account, len(flows) + 1, len(flows))
        if not flows:
            del self._flows[account]

    def _count(self, account: int, before: int, after: int) -> None:
        if before == after:
            return
        if before:
            accounts = self._by_size[before]
            del accounts[account]
            if not accounts:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[account] = None

    def oldest_of_largest(self) -> FlowKey | None:
        """The oldest flow of the account with the most flows; None where no account has more than one."""
        most = max(self._by_size, default=0)  # of some dozens of sizes
        if most < 2:
            return None
        return next(iter(self._flows[next(iter(self._by_size[most]))]))

    def copy(self) -> AccountFlows:
        other = AccountFlows()
        other._flows = {account: dict(flows) for account, flows in self._flows.items()}
        other._by_size = {size: dict(accounts) for size, accounts in self._by_size.items()}
        return other
