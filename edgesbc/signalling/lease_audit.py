"""audit_leases: compares the leases that the dispatcher counts with those that live calls and requests hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.signalling.call import Call, CallState
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.transactions import Transactions

__all__ = ["LeaseAudit", "audit_leases"]


class LeaseAudit(NamedTuple):
    """How many leases are live, how many of them calls and requests hold, and each difference, in words.

    Texts of peers stand in the words as they came: they are escaped where they are shown.
    """

    places: int
    of_calls: int
    of_requests: int
    differences: list[str]


def audit_leases(calls: Calls, transactions: Transactions, dispatcher: Dispatcher) -> LeaseAudit:
    """Compare leases, loads and totals with the calls and requests alive. Between two messages, nothing may differ.

    Changes nothing. Takes some microseconds a call.
    """
    of_calls = [(call, lease) for call in calls for lease in call.leases if lease.live]
    of_requests = [(context, lease) for context in _contexts(transactions) for lease in context.leases()]
    holders = [*((f"call {call.call_id}", lease) for call, lease in of_calls)]
    holders += [(f"{context.request.method} {context.request.call_id}", lease) for context, lease in of_requests]
    live = list(dispatcher.live_leases())
    differences = [
        *_held(holders, live),
        *_loads(dispatcher, live),
        *(difference for call in calls if (difference := _of_answered(call))),
        *_admitted(calls),
    ]
    return LeaseAudit(len(live), len(of_calls), len(of_requests), differences)


def _contexts(transactions: Transactions) -> Iterator[ResponseContext]:
    return (user for user in transactions.server_users() if isinstance(user, ResponseContext))


def _held(holders: list[tuple[str, Lease]], live: list[Lease]) -> Iterator[str]:
    """Check that each lease has one holder."""
    holder_of: dict[int, str] = {}
    for holder, lease in holders:
        if id(lease) in holder_of:
            yield f"a place at {_name(lease.member)} is held twice: by {holder_of[id(lease)]} and by {holder}"
        holder_of[id(lease)] = holder
    for lease in live:
        if holder_of.pop(id(lease), None) is None:
            yield f"a place at {_name(lease.member)} is taken, and nothing that lives holds it"


def _loads(dispatcher: Dispatcher, live: list[Lease]) -> Iterator[str]:
    """Check that each member's load, and its use of each resource, is the number of its leases that count for it."""
    members: dict[int, Member] = {id(member): member for member in dispatcher.members()}
    members.update((id(lease.member), lease.member) for lease in live)
    taken = Counter(id(lease.member) for lease in live if lease.call)
    used = Counter((id(lease.member), name) for lease in live for name in lease.needs)
    for number, member in members.items():
        if member.load != taken[number]:
            yield f"{_name(member)} is said to carry {member.load}, and {taken[number]} of its places are taken"
        for name in sorted({*member.used, *member.settings.resources}):
            if member.used.get(name, 0) != used[number, name]:
                counted, real = member.used.get(name, 0), used[number, name]
                yield f"{_name(member)} is said to have {counted} {name} in use, and has {real}"


def _of_answered(call: Call) -> str:
    """Check that an answered call has one lease left, that of the member that answered."""
    if call.state is not CallState.ESTABLISHED or not call.leases:
        return ""
    places = sum(lease.live for lease in call.leases)
    return "" if places == 1 else f"call {call.call_id} is answered, and holds {places} places"


def _admitted(calls: Calls) -> Iterator[str]:
    """Check that the number of a trunk's calls, which ``max_calls`` bounds, is right."""
    real = Counter(call.trunk for call in calls if call.trunk)
    counted: Counter[Hashable] = Counter(calls.by_trunk)
    for trunk in sorted({*real, *calls.by_trunk}):
        if real[trunk] != counted[trunk]:
            yield f"trunk {trunk} is said to have {counted[trunk]} calls, and has {real[trunk]}"


def _name(member: Member) -> str:
    return f"{member.set_name}/{member.name}"
