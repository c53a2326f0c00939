"""CallSetup: what becomes of a call while its INVITE has no final answer, as its response context reports it."""

from __future__ import annotations

from edgesbc.dispatch.leases import Lease
from edgesbc.signalling.call import Call, CallState
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.leg import Leg
from edgesbc.signalling.next_hop import NextHop
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Response

__all__ = ["CallSetup"]


class CallSetup:
    """Moves one call through its states; the response context of its INVITE calls it."""

    __slots__ = ("_calls", "call")

    def __init__(self, calls: Calls, call: Call) -> None:
        self._calls = calls
        self.call = call

    def on_sent(self, hop: NextHop) -> None:
        """The INVITE is about to be sent to ``hop``: the call owns the lease there from now on."""
        if hop.lease is not None:
            self.call.leases.append(hop.lease)
        self.call.callee = Leg(hop.flow)

    def takes(self, response: Response, server: ServerTransaction) -> bool:
        """Whether an answer may still go to the caller.

        It may not once the call has ended; and a caller whose address may be forged gets the 2xx of one fork only.
        """
        call = self.call
        if call.state is CallState.ENDED:
            return False
        return not server.repeated or not 200 <= response.status < 300 or call.has_fork(response.to_tag)

    def on_answered(self, lease: Lease | None, now: float) -> None:
        """The caller has a 2xx, from the member of ``lease``."""
        self._calls.establish(self.call, lease, now)

    def on_failed(self, outcome: str) -> None:
        """The caller has a refusal, or is gone."""
        self._calls.end(self.call, outcome)
