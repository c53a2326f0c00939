"""Whether what is counted is what lives: places at destinations, held against who holds them. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.signalling.calls import Call, CallState
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.switchboard import Switchboard

__all__ = ["LeaseAudit", "audit_leases"]


class LeaseAudit(NamedTuple):
    """How many places were looked at, who holds them, and each thing that is not as it should be, in words.

    What a peer wrote stands in the words as it came: who shows them escapes them.
    """

    places: int
    of_calls: int
    of_requests: int
    differences: list[str]


def audit_leases(board: Switchboard) -> LeaseAudit:
    """Hold leases, loads and totals against the calls and requests alive. Between two messages, nothing may differ.

    Takes some microseconds a call.
    """
    of_calls = [(call, lease) for call in board.calls for lease in call.leases if lease.live]
    of_requests = [(context, lease) for context in _contexts(board) for lease in context.places()]
    holders = [*((f"call {call.call_id}", lease) for call, lease in of_calls)]
    holders += [(f"{each.request.method} {each.request.call_id}", lease) for each, lease in of_requests]
    live = list(board.dispatcher.live_leases())
    differences = [
        *_held(holders, live),
        *_loads(board, live),
        *(found for call in board.calls if (found := _of_answered(call))),
        *_admitted(board),
    ]
    return LeaseAudit(len(live), len(of_calls), len(of_requests), differences)


def _contexts(board: Switchboard) -> Iterator[ResponseContext]:
    return (context for context in board.transactions.contexts() if isinstance(context, ResponseContext))


def _held(holders: list[tuple[str, Lease]], live: list[Lease]) -> Iterator[str]:
    """Each place that is taken has one holder."""
    by: dict[int, str] = {}
    for who, lease in holders:
        if id(lease) in by:
            yield f"a place at {_named(lease.member)} is held twice: by {by[id(lease)]} and by {who}"
        by[id(lease)] = who
    for lease in live:
        if by.pop(id(lease), None) is None:
            yield f"a place at {_named(lease.member)} is taken, and nothing that lives holds it"


def _loads(board: Switchboard, live: list[Lease]) -> Iterator[str]:
    """A member's load is the number of its places that are taken; what it has in use of a resource, likewise."""
    members: dict[int, Member] = {id(member): member for member in board.dispatcher.members()}
    members.update((id(lease.member), lease.member) for lease in live)
    taken = Counter(id(lease.member) for lease in live if lease.call)
    used = Counter((id(lease.member), name) for lease in live for name in lease.needs)
    for number, member in members.items():
        if member.load != taken[number]:
            yield f"{_named(member)} is said to carry {member.load}, and {taken[number]} of its places are taken"
        for name in sorted({*member.used, *member.settings.resources}):
            if member.used.get(name, 0) != used[number, name]:
                said, real = member.used.get(name, 0), used[number, name]
                yield f"{_named(member)} is said to have {said} {name} in use, and has {real}"


def _of_answered(call: Call) -> str:
    """A call that is answered has given back all places but the one of who answered."""
    if call.state is not CallState.ESTABLISHED or not call.leases:
        return ""
    places = sum(lease.live for lease in call.leases)
    return "" if places == 1 else f"call {call.call_id} is answered, and holds {places} places"


def _admitted(board: Switchboard) -> Iterator[str]:
    """What trunks are said to have, for their ``max_calls``, is what they have."""
    calls = Counter(call.trunk for call in board.calls if call.trunk)
    said: Counter[Hashable] = Counter(board.calls.by_trunk)
    for trunk in sorted({*calls, *board.calls.by_trunk}):
        if calls[trunk] != said[trunk]:
            yield f"trunk {trunk} is said to have {said[trunk]} calls, and has {calls[trunk]}"


def _named(member: Member) -> str:
    return f"{member.set_name}/{member.name}"
