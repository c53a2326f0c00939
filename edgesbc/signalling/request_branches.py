"""RequestBranches: sends one request to its hops (RFC 3261 section 16.6), and keeps the branches that may answer yet.

Which answer the sender of the request gets is decided in ``response_context.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgesbc.base import limits
from edgesbc.base.address import family_of
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.leases import Lease
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.bodies import crossing_body, lost_requirement
from edgesbc.signalling.branch import Branch, BranchListener
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.peers import Peers
from edgesbc.signalling.targets import NextHop, TargetSet
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.delivery import SendFailure

__all__ = ["RequestBranches"]


class RequestBranches:
    """Branches of one request, and what sends it to more hops.

    ``on_hop`` is called with a hop and the time before the request is sent there. The other arguments are those of
    :class:`~edgesbc.signalling.response_context.ResponseContext`. That is the ``listener`` of new branches, which each
    method is given: were it kept here, the two would refer to each other, and only the garbage collector would free
    them.

    ``sdp`` takes the place of the request's SDP; b"" removes it, None leaves it. ``pending`` are the branches without a
    final answer so far. ``tried`` is the number of hops so far.
    """

    __slots__ = (
        "_chosen", "_evidence", "_mark", "_on_hop", "_parts", "_peers", "_request", "_server", "_standing",
        "_targets", "pending", "sdp", "tried",
    )  # fmt: skip

    def __init__(
        self,
        parts: ContextParts,
        server: ServerTransaction,
        targets: TargetSet,
        peers: Peers,
        standing: Standing,
        on_hop: Callable[[NextHop, float], None] | None,
        mark: str,
        evidence: bool,
    ) -> None:
        self._parts = parts
        self._server = server
        self._request = server.request
        self._targets = targets
        self._peers = peers
        self._standing = standing
        self._on_hop = on_hop
        self._mark = mark
        self._evidence = evidence
        self.sdp: bytes | None = None
        self._chosen: list[Branch] = []  # those that were not sent yet
        self.pending: list[Branch] = []
        self.tried = 0

    # --- forward -----------------------------------------------------------------------------------------

    @property
    def breadth_used_up(self) -> bool:
        """Whether Max-Breadth lets the request go to no other hop (RFC 5393 section 5.3.3)."""
        return self._request.get("Max-Breadth") is not None and not self._limit()

    def _limit(self) -> int:
        """How many hops may be tried at once now."""
        limit = limits.FORK_BRANCHES - self.tried
        return limit if self._request.get("Max-Breadth") is None else min(limit, topology.breadth(self._request))

    def choose_next(self, listener: BranchListener, now: float) -> bool:
        """Choose the next target group (RFC 3261 section 16.6), one hop or several at once; False if there is none."""
        limit = self._limit()
        hops = self._targets.next_group(now, limit) if limit else ()
        if not hops:
            return False
        self.tried += len(hops)
        # All branches are made before the first is sent, so that their leases are released whatever happens then.
        self._chosen = [self._new_branch(hop, listener) for hop in hops]
        self.pending += self._chosen
        if self._on_hop is not None:
            for hop in hops:
                self._on_hop(hop, now)
        return True

    @property
    def family(self) -> str:
        """The address family of the hops that were chosen: that of the first, if they have both; "" where it may become
        the other one, because connections to both addresses of a host race (RFC 8305)."""
        hop = self._chosen[0].hop
        return "" if self._targets.may_race(hop) else family_of(hop.flow.peer[0])

    def send_chosen(self, now: float) -> None:
        """Send to the hops that were chosen."""
        branches, self._chosen = self._chosen, []
        for branch in branches:
            if branch in self.pending:
                self._send(branch, len(branches), now)

    def _new_branch(self, hop: NextHop, listener: BranchListener) -> Branch:
        has_account = self._standing >= Standing.REGISTERED
        return Branch(self._parts.branches, listener, self._request, hop, self._evidence, has_account)

    def _send(self, branch: Branch, count: int, now: float) -> None:
        """Send one of ``count`` branches that are tried at once."""
        request, hop = self._request, branch.hop
        listener = hop.flow.listener
        branch.id = self._parts.branches.sender.new_branch() + self._mark
        fields = self._peers.request_fields(hop.flow, now)
        if count > 1 or request.get("Max-Breadth") is not None:
            fields = [*fields, ("Max-Breadth", str(topology.breadth(request) // count))]
        crossing = self._parts.live.crossing(self._standing, hop.flow, now, hop.lease is not None)
        rule = self._parts.live.body_rule(self._standing, hop.flow, now, hop.lease is not None)
        if lost_requirement(request, rule):
            branch.fail(SendFailure.BODY, now)
            return
        body = crossing_body(request, self.sdp, rule)
        request = self._peers.request_for(hop.flow, now)
        data = topology.forward_request(request, listener, branch.id, hop.uri, crossing, hop.routes, body, fields)
        branch.send(data, now)

    # --- races of connections (RFC 8305) -----------------------------------------------------------------

    def race(self, branch: Branch, listener: BranchListener, now: float) -> None:
        """The connection of a branch is not open yet: ask for one to another address of the same host as well (RFC 8305
        section 5)."""
        other_hop = self._targets.alternative(branch.hop, now) if self.tried < limits.FORK_BRANCHES else None
        if other_hop is None:
            return
        self.tried += 1
        if self._on_hop is not None:
            self._on_hop(other_hop, now)
        other = self._new_branch(other_hop, listener)
        other.race = branch.race = branch.race or branch.id
        forked = sum(pending.race != branch.race for pending in self.pending) + 1
        self.pending.append(other)
        self._send(other, forked, now)

    def end_race(self, branch: Branch, now: float) -> None:
        """A branch is sent now: those that were to be sent if their connection were open first are not."""
        lease = branch.hop.lease
        if branch.race and lease is not None:
            detail = f"{lease.member.set_name} {lease.member.name}: its connection is open first"
            self._parts.effects.record(now, Reason.ROUTED, self._server.source, self._request.call_id, detail)
            for other in [other for other in self.pending if other.race == branch.race and other is not branch]:
                self.remove(other)
                other.abandon(now)

    # --- the end of branches -----------------------------------------------------------------------------

    def remove(self, branch: Branch) -> None:
        """A branch has its final answer, or will get none."""
        if branch in self.pending:
            self.pending.remove(branch)

    def cancel(self, branch: Branch, now: float, reasons: Sequence[str]) -> None:
        """Cancel a branch; one that was not sent yet is left out."""
        if branch.waiting:
            self.remove(branch)
            branch.abandon(now)
        else:
            branch.cancel(now, reasons)

    def cancel_all(self, now: float, reasons: Sequence[str]) -> None:
        """Cancel every branch without a final answer; ``reasons`` are the Reason fields of the CANCEL (RFC 3326)."""
        for branch in tuple(self.pending):
            self.cancel(branch, now, reasons)

    def abandon_all(self, now: float) -> None:
        """From now on, no answer is wanted."""
        self._chosen = []
        branches, self.pending = self.pending, []
        for branch in branches:
            branch.abandon(now)

    def leases(self) -> list[Lease]:
        """The leases of the branches without a final answer."""
        leases = [branch.hop.lease for branch in self.pending]
        return [lease for lease in leases if lease is not None and lease.live]

    # --- why no hop was found ----------------------------------------------------------------------------

    def refusal(self) -> tuple[int, int]:
        """See :meth:`edgesbc.signalling.targets.TargetSet.refusal`."""
        return self._targets.refusal()

    def describe(self) -> str:
        """The sets that hops were taken from, and how many were tried."""
        names = self._targets.set_names()
        return f"{names}{': ' if names else ''}{self.tried} tried"
