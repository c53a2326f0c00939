"""What becomes of a request says something of the member that it was sent to. Decides nothing of the request."""

from __future__ import annotations

from collections.abc import Hashable

from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.member import Member
from edgesbc.signalling.calls import Call
from edgesbc.signalling.next_hop import NextHop
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Response
from edgesbc.sip.values import parse_retry_after

__all__ = ["HealthFeedback"]


class HealthFeedback:
    """Of one request. What went to no member, as a token or a registration led it, says nothing."""

    __slots__ = ("_board", "_call", "_server")

    def __init__(self, board: Switchboard, server: ServerTransaction, call: Call | None) -> None:
        self._board = board
        self._server = server
        self._call = call

    def alive(self, hop: NextHop, now: float) -> None:
        """The member answered, and with its own word."""
        if hop.lease is not None:
            self._board.dispatcher.watch.succeeded(hop.lease.member, now)

    def refused(self, hop: NextHop, response: Response, now: float) -> None:
        """The member answered something for which the next one is tried. Only a 503 speaks against its health."""
        if hop.lease is not None:
            member, status = hop.lease.member, response.status
            if status == 503 and not self._rests(member, response, now):
                self._failed(member, "answered 503", self._caller, now)
            self._left(member, f"answered {status}", now)

    def gone(self, hop: NextHop, timeout: bool, now: float) -> None:
        """The member gave no answer in time or (``timeout`` False) could not be reached, and the next one is tried."""
        if hop.lease is not None:
            why = _words(timeout)
            self._failed(hop.lease.member, why, self._caller if timeout else None, now)
            self._left(hop.lease.member, why, now)

    def silent(self, hop: NextHop, now: float) -> None:
        """The member gave no answer in time, and nobody else is tried."""
        if hop.lease is not None:
            self._failed(hop.lease.member, _words(timeout=True), self._caller, now)

    @property
    def _caller(self) -> Hashable:
        """Whose request it is, where a member may have been silent to it for that; a trunk's are many people's."""
        return self._server.flow.peer.host if self._call is None else self._call.source

    def _rests(self, member: Member, response: Response, now: float) -> bool:
        """Whether a member asks for a rest in its 503, and gets it (RFC 3261 section 21.5.4): it is alive, then."""
        written = response.get("Retry-After")
        if written is None:
            return False
        try:
            seconds = parse_retry_after(written).seconds
        except WireError:
            return False
        return seconds > 0 and self._board.dispatcher.rest(member, seconds, now)

    def _failed(self, member: Member, why: str, caller: Hashable, now: float) -> None:
        self._board.dispatcher.watch.failed(member, now, why, caller)

    def _left(self, member: Member, why: str, now: float) -> None:
        detail = f"{member.name} {why}"
        self._board.record(now, Reason.FAILOVER, self._server.source, self._server.request.call_id, detail)


def _words(timeout: bool) -> str:
    return "gave no answer in time" if timeout else "could not be reached"
