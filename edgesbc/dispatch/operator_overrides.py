"""Operator overrides of destinations: the state that an operator set, by set and URI, also for members added later."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgesbc.base import limits
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member

__all__ = ["OperatorOverrides", "Override", "OverrideKey", "override_key"]

OverrideKey = tuple[str, str, str]
"""Set, URI, and one address of it with its transport; "" for all addresses that the URI has or will have."""


def override_key(member: Member) -> OverrideKey:
    """The key of an override for this member's address alone."""
    return member.set_name, member.settings.uri, f"{member.target} {member.transport}"


class Override:
    """The state that an operator set, by whom, why and since when (seconds, the plane's clock).

    ``missing_since`` is since when no member matches it, None while one does.
    """

    __slots__ = ("admin_state", "by", "missing_since", "since", "why")

    def __init__(
        self, admin_state: AdminState, by: str, why: str, since: float, missing_since: float | None = None
    ) -> None:
        self.admin_state = admin_state
        self.by = by
        self.why = why
        self.since = since
        self.missing_since = missing_since

    def __str__(self) -> str:
        return f"by order of {self.by}{f': {self.why}' if self.why else ''}"


class OperatorOverrides:
    """The overrides in force. One for an address goes before one for its URI, and that before the policy.

    An override that matches no member of the policy is kept for ``limits.OVERRIDE_GONE_SECONDS``, because a policy is
    often changed and changed back.
    """

    __slots__ = ("_addresses", "_by_key", "version")

    def __init__(self) -> None:
        self._by_key: dict[OverrideKey, Override] = {}
        self._addresses: dict[tuple[str, str], list[str]] = {}
        """The addresses with an override, by set and URI."""
        self.version = 0
        """Changes when the overrides to be saved change."""

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[tuple[OverrideKey, Override]]:
        return iter(tuple(self._by_key.items()))

    def of(self, member: Member) -> Override | None:
        """The override for ``member``, if any."""
        set_name, uri, address = override_key(member)
        return self._by_key.get((set_name, uri, address)) or self._by_key.get((set_name, uri, ""))

    def has_room(self, keys: Collection[OverrideKey]) -> bool:
        """Whether overrides for ``keys`` would keep the table within ``limits.OPERATOR_OVERRIDES``."""
        return len(self._by_key) + sum(key not in self._by_key for key in keys) <= limits.OPERATOR_OVERRIDES

    def put(self, key: OverrideKey, override: Override) -> None:
        """Set an override. It replaces the one for the same key; one for a URI also those for its addresses."""
        self.drop(key)
        self._by_key[key] = override
        self._addresses.setdefault(key[:2], []).append(key[2])
        self.version += 1

    def drop(self, key: OverrideKey) -> None:
        """Remove the override for ``key``; for a URI also those for its addresses."""
        set_name, uri, dropped = key
        for address in tuple(self._addresses.get((set_name, uri), ())):
            if dropped in ("", address):
                self._remove((set_name, uri, address))

    def apply(self, dispatcher: Dispatcher, now: float) -> None:
        """Set every member to its override, and remove overrides that have matched no member for too long.

        To be called whenever members may have been added or removed.
        """
        for key, override in self:
            if override.missing_since is not None and now - override.missing_since >= limits.OVERRIDE_GONE_SECONDS:
                self._remove(key)
        present: set[OverrideKey] = set()
        for member in dispatcher.members():
            set_name, uri, address = override_key(member)
            present |= {(set_name, uri, ""), (set_name, uri, address)}
            own = self.of(member)
            if own is not None and member.admin_state is not own.admin_state:
                dispatcher.set_admin_state(member, own.admin_state, now, str(own))
            if own is not None and own.admin_state is AdminState.ENABLED and not member.settings.disabled:
                # The policy has the same state already: a later change of the policy is to have effect.
                self._remove((set_name, uri, ""), own)
        for key, override in self:
            if (key in present) is (override.missing_since is not None):
                override.missing_since = None if key in present else now
                self.version += 1

    def _remove(self, key: OverrideKey, only: Override | None = None) -> None:
        """Remove the override for ``key``; with ``only``, if it is that one."""
        if key in self._by_key and only in (None, self._by_key[key]):
            del self._by_key[key]
            addresses = self._addresses[key[:2]]
            addresses.remove(key[2])
            if not addresses:
                del self._addresses[key[:2]]
            self.version += 1
