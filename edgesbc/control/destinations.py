"""The commands about destinations: list, drain, disable, enable, left and audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.control.destination_rows import (
    BY_ADDRESS,
    DestinationRow,
    destination_row,
    display_name,
    select_members,
)
from edgesbc.control.protocol import CommandRefused, Commands, ControlRequest
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override, OverrideKey, override_key
from edgesbc.observe.text import shown
from edgesbc.signalling.edge import Edge

__all__ = ["CallsLeft", "DestinationCommands", "DestinationList", "LeaseAuditReport", "OrderGiven"]

_ORDERS = {"enable": AdminState.ENABLED, "drain": AdminState.DRAINING, "disable": AdminState.DISABLED}


class DestinationList(TypedDict):
    """Members of destination sets; ``left_out`` more are not in the list."""

    members: list[DestinationRow]
    left_out: int


class OrderGiven(TypedDict):
    """An order that is in force. ``members``: names, with ``left_out`` more; ``calls``: live ones on all of them;
    ``without``: sets in which no member takes new calls."""

    members: list[str]
    left_out: int
    calls: int
    without: list[str]


class CallsLeft(TypedDict):
    """Live calls on some members; how many of the members take new ones."""

    calls: int
    enabled: int


class LeaseAuditReport(TypedDict):
    """Leases at destinations, those held by calls and by other requests, and each difference between the two."""

    places: int
    of_calls: int
    of_requests: int
    differences: list[str]
    left_out: int


class DestinationCommands:
    """The commands of one edge about destinations. Methods raise :class:`CommandRefused`, and change nothing then.

    A ``selector`` is SET/URI, a URI (in all sets that have it), a SET, or an address and port. ``by`` and ``why`` of an
    order are cut at ``limits.LEDGER_TEXT_CHARS``. ``overrides`` keeps the orders, ``clock`` gives the time of the
    signalling plane (seconds), ``record`` takes decisions.
    """

    def __init__(
        self,
        edge: Edge,
        overrides: OperatorOverrides,
        clock: Callable[[], float],
        record: Callable[[Decision], None],
    ) -> None:
        self._edge = edge
        self._overrides = overrides
        self._clock = clock
        self._record = record

    def list(self, selector: str | None = None) -> DestinationList:
        """All members, or those that ``selector`` selects; at most ``limits.DESTINATIONS_LISTED``."""
        members = [*self._edge.dispatcher.members()]
        if selector is not None:
            _, members = select_members(selector, members)
        now, in_answer = self._clock(), members[: limits.DESTINATIONS_LISTED]
        return {
            "members": [destination_row(member, self._overrides.of(member), now) for member in in_answer],
            "left_out": len(members) - len(in_answer),
        }

    def enable(self, selector: str, *, by: str, why: str = "") -> OrderGiven:
        """Give the members new calls again, as their health allows."""
        return self._order(AdminState.ENABLED, selector, by, why)

    def drain(self, selector: str, *, by: str, why: str = "") -> OrderGiven:
        """Give the members no new calls. Live calls and probes go on; :meth:`left` says how many calls there are."""
        return self._order(AdminState.DRAINING, selector, by, why)

    def disable(self, selector: str, *, by: str, why: str = "") -> OrderGiven:
        """Give the members no new calls, and do not probe them. Live calls go on."""
        return self._order(AdminState.DISABLED, selector, by, why)

    def left(self, selector: str) -> CallsLeft:
        """The live calls of the members that ``selector`` selects, of those that a reload has removed as well."""
        dispatcher = self._edge.dispatcher
        carrying = {id(lease.member): lease.member for lease in dispatcher.live_leases()}
        carrying.update((id(member), member) for member in dispatcher.members())
        try:
            _, members = select_members(selector, carrying.values())
        except CommandRefused:
            members = []  # a reload has removed it, and its last call has ended
        enabled = sum(member.admin_state is AdminState.ENABLED and not member.removed for member in members)
        return {"calls": sum(member.load for member in members), "enabled": enabled}

    def audit(self) -> LeaseAuditReport:
        """Compare the leases that are counted at destinations with those that calls and requests hold."""
        audit = self._edge.audit_leases()
        in_answer = audit.differences[: limits.DIFFERENCES_LISTED]
        return {
            "places": audit.places,
            "of_calls": audit.of_calls,
            "of_requests": audit.of_requests,
            "differences": [shown(difference, 2 * limits.LEDGER_TEXT_CHARS) for difference in in_answer],
            "left_out": len(audit.differences) - len(in_answer),
        }

    def _order(self, state: AdminState, selector: str, by: str, why: str) -> OrderGiven:
        dispatcher, now = self._edge.dispatcher, self._clock()
        kind, members = select_members(selector, dispatcher.members())
        override = Override(state, by[: limits.LEDGER_TEXT_CHARS], why[: limits.LEDGER_TEXT_CHARS], now)
        self._keep(members, kind, override)
        for member in members:
            self._carry_out(member, override, now)
        self._overrides.apply(dispatcher, now)
        sets = dict.fromkeys(member.set_name for member in members)
        return {
            "members": [display_name(member) for member in members[: limits.DESTINATIONS_NAMED]],
            "left_out": max(len(members) - limits.DESTINATIONS_NAMED, 0),
            "calls": sum(member.load for member in members),
            "without": [name for name in sets if not dispatcher.usable(name)],
        }

    def _keep(self, members: Iterable[Member], kind: str, override: Override) -> None:
        """Keep the order where it changes something. Raises :class:`CommandRefused` before anything is done."""
        overrides = self._overrides
        names = {_key(member, kind): member for member in members}
        if override.admin_state is not AdminState.ENABLED and not overrides.has_room(names):
            raise CommandRefused(f"{limits.OPERATOR_OVERRIDES} orders may be kept; enable some destinations first")
        for key, member in names.items():
            overrides.drop(key)
            if (
                override.admin_state is not AdminState.ENABLED
                or member.settings.disabled
                or overrides.of(member) is not None
            ):
                overrides.put(key, override)

    def _carry_out(self, member: Member, override: Override, now: float) -> None:
        state_before = member.state
        self._edge.dispatcher.set_admin_state(member, override.admin_state, now, str(override))
        if member.state is state_before:  # otherwise the dispatcher has recorded the change
            detail = f"{display_name(member)}: stays {state_before}: {override}"
            self._record(Decision(now, Reason.HEALTH, str(member.target), stage="operator", detail=detail))

    # --- on the control socket ---------------------------------------------------------------------------

    @property
    def table(self) -> Commands:
        """The commands by their names on the control socket."""
        return {
            "destinations list": self._listed,
            "destinations order": self._ordered,
            "destinations left": lambda request: self.left(request.text("who")),
            "destinations audit": lambda request: self.audit(),
        }

    def _listed(self, request: ControlRequest) -> DestinationList:
        """Optional ``who``."""
        return self.list(None if request.arguments.get("who") is None else request.text("who"))

    def _ordered(self, request: ControlRequest) -> OrderGiven:
        """``order`` (enable, drain or disable), ``who``, ``by``; optional ``why``."""
        word = request.text("order")
        if word not in _ORDERS:
            raise CommandRefused(f"expected enable, drain or disable as order; found {shown(word, 40)!r}")
        selector, by = request.text("who"), request.text("by")
        return self._order(_ORDERS[word], selector, by, request.optional_text("why"))


def _key(member: Member, kind: str) -> OverrideKey:
    """The key of an order: a URI with all its addresses, or one address where that was selected."""
    set_name, uri, address = override_key(member)
    return set_name, uri, address if kind == BY_ADDRESS and member.settings.server_uri.target is None else ""
