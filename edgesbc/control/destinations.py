"""What operators ask and order about destinations over the control socket. Picks no member, and ends no call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.control.destination_rows import meant, named, row
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override, Who, who_is
from edgesbc.observe.text import shown
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.lease_audit import audit_leases

__all__ = ["DestinationCommands"]

_ORDERS = {"enable": AdminState.ENABLED, "drain": AdminState.DRAINING, "disable": AdminState.DISABLED}


class DestinationCommands:
    """Answers ``destinations list``, ``order``, ``left`` and ``audit`` for one edge.

    ``orders`` keeps what is ordered; ``clock`` is the plane's (seconds), ``record`` takes decisions.
    """

    def __init__(
        self,
        edge: Callable[[], Edge],
        orders: OperatorOverrides,
        clock: Callable[[], float],
        record: Callable[[Decision], None],
    ) -> None:
        self._edge = edge
        self._orders = orders
        self._clock = clock
        self._record = record

    @property
    def commands(self) -> Mapping[str, Callable[[ControlRequest], dict[str, Any]]]:
        """By the name that they are asked for by."""
        return {
            "destinations list": self.show,
            "destinations order": self.order,
            "destinations left": self.left,
            "destinations audit": self.audit,
        }

    def show(self, asked: ControlRequest) -> dict[str, Any]:
        """The members, or those that ``who`` means where it is given; at most ``limits.DESTINATIONS_LISTED``."""
        members = list(self._edge().dispatcher.members())
        if asked.arguments.get("who") is not None:
            _, members = meant(asked.text("who"), members)
        now, shown_ones = self._clock(), members[: limits.DESTINATIONS_LISTED]
        return {
            "members": [row(each, self._orders.of(each), now) for each in shown_ones],
            "left_out": len(members) - len(shown_ones),
        }

    def order(self, asked: ControlRequest) -> dict[str, Any]:
        """``order`` (enable, drain or disable) to ``who``, with ``by`` and where given ``why``.

        ``without`` are the sets that have nobody left who takes new calls.
        """
        word, dispatcher, now = asked.text("order"), self._edge().dispatcher, self._clock()
        if word not in _ORDERS:
            raise CommandRefused(f"expected enable, drain or disable as order; found {shown(word, 40)!r}")
        way, members = meant(asked.text("who"), dispatcher.members())
        ordered = Override(_ORDERS[word], asked.text("by")[: limits.LEDGER_TEXT_CHARS], _why(asked), now)
        self._keep(members, way, ordered)
        for each in members:
            self._obey(each, ordered, now)
        self._orders.apply(dispatcher, now)
        sets = dict.fromkeys(each.set_name for each in members)
        return {
            "members": [named(each) for each in members[: limits.DESTINATIONS_NAMED]],
            "left_out": max(len(members) - limits.DESTINATIONS_NAMED, 0),
            "calls": sum(each.load for each in members),
            "without": [name for name in sets if not dispatcher.usable(name)],
        }

    def left(self, asked: ControlRequest) -> dict[str, Any]:
        """How many calls ``who`` still has, on members that a reload took away too; and how many take new ones."""
        dispatcher = self._edge().dispatcher
        carrying = {id(lease.member): lease.member for lease in dispatcher.live_leases()}
        carrying.update((id(each), each) for each in dispatcher.members())
        try:
            _, members = meant(asked.text("who"), carrying.values())
        except CommandRefused:
            members = []  # a reload took it away, and its last call has ended
        enabled = sum(each.order is AdminState.ENABLED and not each.removed for each in members)
        return {"calls": sum(each.load for each in members), "enabled": enabled}

    def audit(self, asked: ControlRequest) -> dict[str, Any]:
        """Whether the places that are taken at destinations are those that calls and requests hold."""
        found = audit_leases(self._edge().board)
        told = found.differences[: limits.DIFFERENCES_LISTED]
        return {
            "places": found.places,
            "of_calls": found.of_calls,
            "of_requests": found.of_requests,
            "differences": [shown(each, 2 * limits.LEDGER_TEXT_CHARS) for each in told],
            "left_out": len(found.differences) - len(told),
        }

    def _keep(self, members: list[Member], way: str, ordered: Override) -> None:
        """Keep the order where it changes something. Raises :class:`CommandRefused` before anything is done."""
        orders = self._orders
        names = {_who(each, way): each for each in members}
        if ordered.order is not AdminState.ENABLED and not orders.has_room(names):
            raise CommandRefused(f"{limits.DESTINATION_ORDERS} orders may be kept; enable some destinations first")
        for who, member in names.items():
            orders.drop(who)
            if ordered.order is not AdminState.ENABLED or member.settings.disabled or orders.of(member) is not None:
                orders.put(who, ordered)

    def _obey(self, member: Member, ordered: Override, now: float) -> None:
        was = member.state
        self._edge().dispatcher.order(member, ordered.order, now, str(ordered))
        if member.state is was:  # otherwise the dispatcher has told of it
            detail = f"{named(member)}: stays {was}: {ordered}"
            self._record(Decision(now, Reason.HEALTH, str(member.target), stage="operator", detail=detail))


def _who(member: Member, way: str) -> Who:
    """What an order is kept for: a URI with all its addresses, unless one of several was meant."""
    set_name, uri, address = who_is(member)
    return set_name, uri, address if way == "an address" and member.settings.place.target is None else ""


def _why(asked: ControlRequest) -> str:
    value = asked.arguments.get("why", "")
    if not isinstance(value, str):
        raise CommandRefused(f"expected a text as why; found {value!r}")
    return value[: limits.LEDGER_TEXT_CHARS]
