"""RequestSender: sends requests in client transactions (RFC 3261 section 17.1); ByeSender: ends a dialog from here."""

from __future__ import annotations

from collections.abc import Sequence

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.reasons import Reason
from edgesbc.signalling import topology
from edgesbc.signalling.call import Leg, learn_target, route_set
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import Identifiers
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.opening_connections import ConnectionWaiter
from edgesbc.signalling.transactions import ClientTransaction, Transactions, TransactionUser
from edgesbc.sip.build import request_fields
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.machines import T1
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.transaction import NOBODY

__all__ = ["ByeSender", "RequestSender"]


class RequestSender:
    """Opens client transactions, with branches that cannot be guessed."""

    __slots__ = ("_effects", "_flows", "_identifiers", "_live", "_transactions")

    def __init__(
        self,
        transactions: Transactions,
        flows: Flows,
        live: LivePipeline,
        identifiers: Identifiers,
        effects: EffectQueue,
    ) -> None:
        self._effects = effects
        self._transactions = transactions
        self._flows = flows
        self._live = live
        self._identifiers = identifiers

    def new_branch(self) -> str:
        return self._identifiers.new_branch()

    def failure(self, flow: Flow, data: bytes, has_account: bool = True) -> SendFailure | None:
        """Why ``data`` cannot be sent by ``flow``; None where it can, or is kept for its peer. ``has_account`` is
        whether its sender has one: if not, it may wait in half of the places for a connection."""
        if not flow.serial:
            return SendFailure.TOO_LARGE if len(data) > limits.DATAGRAM_BYTES else None
        if self._flows.is_crowded(flow, has_account, len(data)):
            return SendFailure.CROWDED
        return None if self._flows.is_open(flow) or flow.serial in self._effects.held else SendFailure.CLOSED

    def wait_for_connection(self, flow: Flow, waiter: ConnectionWaiter, size: int) -> bool:
        """See :meth:`edgesbc.signalling.flows.Flows.wait_for`."""
        return self._flows.wait_for(flow, waiter, size)

    def stop_waiting(self, flow: Flow, waiter: ConnectionWaiter) -> None:
        self._flows.stop_waiting(flow, waiter)

    def send(
        self,
        branch: str,
        method: str,
        flow: Flow,
        data: bytes,
        user: TransactionUser,
        now: float,
        in_dialog: bool = False,
        of_dialog: bool = False,
        timeout: float = 64 * T1,
    ) -> ClientTransaction:
        """Send ``data``; ``user`` gets the outcome within ``timeout`` seconds.

        To a public source that has not acknowledged its call, a request inside a dialog is sent once and not
        retransmitted: its INVITE may have been forged, and a BYE would go to a third party eleven times. The same
        holds for any request to a source that is known by a dialog alone (``of_dialog``), as an INVITE that replaces
        its call.
        """
        repeat = (
            not (in_dialog or of_dialog) or flow.listener.zone is Zone.CORE or not self._live.is_unproven(flow, now)
        )
        if flow.serial:
            self._flows.give(flow, len(data))
        client = self._transactions.open_client(branch, method, flow, data, user, now, repeat, timeout)
        client.persists = in_dialog  # a route that is missing for a moment must not cost a BYE
        return client

    def send_cancel(self, client: ClientTransaction, data: bytes, now: float) -> None:
        """Send ``data``, the CANCEL of ``client``'s request, which then has 64*T1 for its final answer.

        The CANCEL has the branch of its INVITE, and a transaction of its own (RFC 3261 section 9.1).
        """
        self._transactions.open_client(client.branch, "CANCEL", client.flow, data, NOBODY, now).persists = True
        self._transactions.limit_wait(client, 64 * T1, now)


class ByeSender:
    """Sends BYE in the name of one side to the other (RFC 3261 section 15.1.1)."""

    __slots__ = ("_effects", "_sender", "_tokens")

    def __init__(self, effects: EffectQueue, sender: RequestSender, tokens: ContactTokens) -> None:
        self._effects = effects
        self._sender = sender
        self._tokens = tokens

    def bye(self, call_id: str, sender: Leg, receiver: Leg, reason: Reason, now: float) -> None:
        """A BYE to ``receiver`` in the name of ``sender``."""
        flow = self._tokens.flow_to(self._tokens.target_of(receiver), now)
        if flow is None:
            return
        branch = self._sender.new_branch()
        via, cseq = topology.via(flow.listener, branch), sender.cseq + 1
        fields = request_fields("BYE", via, sender.address, receiver.address, call_id, cseq, receiver.routes)
        fields.append(("Reason", f'SIP;cause=200;text="{reason.code}"'))
        data = serialise(f"BYE {receiver.contact} SIP/2.0", fields, b"")
        self._sender.send(branch, "BYE", flow, data, NOBODY, now, in_dialog=True)

    def acknowledge(
        self, request: Request, flow: Flow, uri: str, routes: Sequence[str], response: Response, bye: bool, now: float
    ) -> None:
        """Acknowledge a 2xx that no caller waits for, and if ``bye``, end its dialog (RFC 3261 section 13.2.2.4).

        ``request`` is the INVITE as it came in; it was forwarded to ``flow`` with the Request-URI ``uri`` and the Route
        set ``routes``. Both go where requests in the dialog go: by the route set of the 2xx to its Contact (section
        12.2.1.1). A 2xx inside a dialog changes the target alone (section 12.2.1.2).
        """
        callee, caller = Leg(flow), Leg(flow)
        callee.address = response.get("To") or ""
        callee.contact = uri
        callee.routes = tuple(routes) if request.in_dialog else route_set(response)
        learn_target(callee, response)
        where = self._tokens.flow_to(self._tokens.target_of(callee), now) or flow
        via = topology.via(where.listener, self._sender.new_branch())
        self._effects.send(where, topology.refusal_ack(callee.contact, callee.routes, via, request, response))
        if bye:
            caller.address = request.get("From") or ""
            caller.cseq = request.cseq
            self.bye(request.call_id, caller, callee, Reason.SET_UP_TIMEOUT, now)
