"""What operators have ordered about destinations, by name, so that it holds for who comes later too. Moves no call."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from edgesbc.base import limits
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member

__all__ = ["OperatorOverrides", "Override", "Who", "who_is"]

Who = tuple[str, str, str]
"""Set, URI, and an address of it with its transport, "" for all that the URI has or will have."""


def who_is(member: Member) -> Who:
    return member.set_name, member.settings.uri, f"{member.target} {member.transport}"


class Override:
    """An order: what, by whom, why, since when (seconds, the plane's clock).

    ``gone`` is when its member was first missed, None while there is one.
    """

    __slots__ = ("by", "gone", "order", "since", "why")

    def __init__(self, order: AdminState, by: str, why: str, since: float, gone: float | None = None) -> None:
        self.order = order
        self.by = by
        self.why = why
        self.since = since
        self.gone = gone

    def __str__(self) -> str:
        return f"by order of {self.by}{f': {self.why}' if self.why else ''}"


class OperatorOverrides:
    """The orders in force. One for an address goes over one for its URI, and that over what the policy says.

    An order for who is not in the policy any more is kept for ``limits.ORDER_GONE_SECONDS``, since policies are
    changed and changed back.
    """

    __slots__ = ("_addresses", "_by_who", "version")

    def __init__(self) -> None:
        self._by_who: dict[Who, Override] = {}
        self._addresses: dict[tuple[str, str], list[str]] = {}
        """What there are orders for, by set and URI."""
        self.version = 0
        """Another number whenever something is to be kept that was not before, or the other way round."""

    def __len__(self) -> int:
        return len(self._by_who)

    def __iter__(self) -> Iterator[tuple[Who, Override]]:
        return iter(tuple(self._by_who.items()))

    def of(self, member: Member) -> Override | None:
        """The order that holds for ``member``."""
        set_name, uri, address = who_is(member)
        return self._by_who.get((set_name, uri, address)) or self._by_who.get((set_name, uri, ""))

    def has_room(self, names: Collection[Who]) -> bool:
        """Whether there may be orders for ``names`` beside, or in the place of, those there are."""
        return len(self._by_who) + sum(who not in self._by_who for who in names) <= limits.DESTINATION_ORDERS

    def put(self, who: Who, ordered: Override) -> None:
        """Give an order in the place of the one for the same; one for a URI, in that of those for its addresses too."""
        self.drop(who)
        self._by_who[who] = ordered
        self._addresses.setdefault(who[:2], []).append(who[2])
        self.version += 1

    def drop(self, who: Who) -> None:
        """Forget the order for ``who``, for a URI those for its addresses too."""
        set_name, uri, address = who
        for each in tuple(self._addresses.get((set_name, uri), ())):
            if address in ("", each):
                self._forget((set_name, uri, each))

    def apply(self, dispatcher: Dispatcher, now: float) -> None:
        """Have every member as it was ordered, and forget orders whose member has been away for too long.

        To be called whenever members may have come or gone.
        """
        for who, ordered in self:
            if ordered.gone is not None and now - ordered.gone >= limits.ORDER_GONE_SECONDS:
                self._forget(who)
        there: set[Who] = set()
        for member in dispatcher.members():
            set_name, uri, address = who_is(member)
            there |= {(set_name, uri, ""), (set_name, uri, address)}
            held = self.of(member)
            if held is not None and member.order is not held.order:
                dispatcher.order(member, held.order, now, str(held))
            if held is not None and held.order is AdminState.ENABLED and not member.settings.disabled:
                # The policy says the same, and may say something else one day, which is to hold then.
                self._forget((set_name, uri, ""), held)
        for who, ordered in self:
            if (who in there) is (ordered.gone is not None):
                ordered.gone = None if who in there else now
                self.version += 1

    def _forget(self, who: Who, only: Override | None = None) -> None:
        """Forget one order, or where ``only`` is given, that one if it is still there."""
        if who in self._by_who and only in (None, self._by_who[who]):
            del self._by_who[who]
            addresses = self._addresses[who[:2]]
            addresses.remove(who[2])
            if not addresses:
                del self._addresses[who[:2]]
            self.version += 1
