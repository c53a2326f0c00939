"""Checks that calls go only to members that may get them, within the members' limits."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import SetSettings
from edgesbc.signalling.edge import Edge
from edgesbc.sip.message import Request, Response

__all__ = ["Finding", "Tries"]

_NO_FAILOVER = frozenset({404, 486, 600, 603})
"""Final responses after which no other member is tried, whatever ``failover_on`` of a set is."""
_LONGEST_TRANSACTION = 32.0
_SHORTEST_TRY = 0.5
"""The shortest ``try_timeout`` of a set, in seconds: a response within that time must be used."""


class Finding(Exception):
    """A check failed."""


@attrs.define
class _Try:
    """An INVITE of one branch at one member."""

    at: Source
    since: float


class Tries:
    """Checks INVITEs that begin calls at members of ``sets``, and their responses. It has its own record of
    the operator's orders."""

    def __init__(self, edge: Edge, sets: list[SetSettings]) -> None:
        self._edge = edge
        self.further = 0
        """Tries after the first one of their call."""
        self._by_call: dict[str, dict[str, _Try]] = {}
        self._settled: dict[str, str] = {}
        self._ever: set[Source] = set()
        self._away: dict[Source, str] = {}
        """Members that get no new calls, and why."""
        self.reloaded(sets)

    # --- the operator ------------------------------------------------------------------------------------

    def ordered(self, at: Source, out: str) -> None:
        """By order a member gets no calls, for the reason ``out``, or is in use if that is empty."""
        self._away.pop(at, None)
        if out:
            self._away[at] = out

    def reloaded(self, sets: list[SetSettings]) -> None:
        now = {member.target.source for settings in sets for member in settings.members if member.target is not None}
        self._away.update((at, "removed") for at in self._ever - now)
        self._ever |= now

    # --- during the run ----------------------------------------------------------------------------------

    def forget(self) -> None:
        """All requests of before have ended; the next INVITE of a call begins another."""
        self._by_call.clear()
        self._settled.clear()

    def sent(self, flow: Flow, request: Request, now: float) -> None:
        """An INVITE goes to a member."""
        call, branch, at = request.call_id, request.via.branch, flow.peer
        if at not in self._ever or request.in_dialog or request.cseq > 1:
            return  # an INVITE to a callee of RFC 2543 has no tag in To inside a dialog either
        if request.get("Replaces"):
            return  # it goes to the server that has the call, whose bounds are for calls that another could take
        tries = self._by_call.setdefault(call, {})
        if branch in tries:
            return  # it is repeated
        if call in self._settled:
            raise Finding(f"{call} is tried at {at} after {self._settled[call]}")
        # After 64*T1 the transaction of the caller has ended; what a slow one repeats then begins another call.
        if any(one.at == at and now - one.since < _LONGEST_TRANSACTION for one in tries.values()):
            raise Finding(f"{call} is tried at {at} again")
        if at in self._away:
            raise Finding(f"{call} is tried at {at}, which is {self._away[at]}")
        tries[branch] = _Try(at, now)
        self.further += len(tries) > 1
        if len(tries) > limits.FORK_BRANCHES:
            raise Finding(f"{call} is tried at {len(tries)} places, {limits.FORK_BRANCHES} may be")
        self._bounds(flow, now)

    def _bounds(self, flow: Flow, now: float) -> None:
        """With this call the member is within its limits."""
        member = self._edge.dispatcher.member_at(flow.peer, flow.listener.transport)
        if member is None:
            raise Finding(f"a call goes to {flow}, where no member is")
        settings = member.settings
        if settings.max_calls is not None and member.load > settings.max_calls:
            raise Finding(f"{member} has more calls than its {settings.max_calls}")
        needs = {
            name for lease in self._edge.dispatcher.live_leases() if _new(lease, member, now) for name in lease.needs
        }
        for name in needs:
            if member.used[name] > settings.resources.get(name, 0):
                raise Finding(f"{member} has {member.used[name]} calls with {name}, {settings.resources} may be")

    def received(self, response: Response, now: float) -> None:
        """A response of a member to an INVITE. It must be used, unless the call has left the member before."""
        tries = self._by_call.get(response.call_id, {})
        tried = tries.get(response.via.branch)
        if tried is None or response.status not in _NO_FAILOVER:
            return
        latest = max(one.since for one in tries.values())
        if tried.since == latest and now - latest < _SHORTEST_TRY:
            self._settled[response.call_id] = f"{tried.at} said {response.status}"


def _new(lease: Lease, member: Member, now: float) -> bool:
    return lease.member is member and lease.since == now
