"""RequestSender: sends the edge's requests in client transactions (RFC 3261 section 17.1)."""

from __future__ import annotations

from edgesbc.base.address import Flow, Zone
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import Identifiers
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.transactions import ClientTransaction, Transactions, TransactionUser
from edgesbc.sip.transaction import T1
from edgesbc.sip.transactions import NOBODY

__all__ = ["RequestSender"]


class RequestSender:
    """Opens client transactions, with branches that cannot be guessed."""

    __slots__ = ("_flows", "_identifiers", "_live", "_transactions")

    def __init__(self, transactions: Transactions, flows: Flows, live: LivePipeline, identifiers: Identifiers) -> None:
        self._transactions = transactions
        self._flows = flows
        self._live = live
        self._identifiers = identifiers

    def new_branch(self) -> str:
        return self._identifiers.new_branch()

    def is_open(self, flow: Flow) -> bool:
        """Whether something can be sent there: by UDP always."""
        return self._flows.is_open(flow)

    def send(
        self,
        branch: str,
        method: str,
        flow: Flow,
        data: bytes,
        user: TransactionUser,
        now: float,
        in_dialog: bool = False,
        timeout: float = 64 * T1,
    ) -> ClientTransaction:
        """Send ``data``; ``user`` gets what becomes of it within ``timeout`` seconds.

        A request inside a dialog is sent once, and by no timer again, to a public source that has not even
        acknowledged its call: its INVITE may have been forged, and a BYE would go eleven times to a third party.
        """
        repeat = not in_dialog or flow.listener.zone is Zone.CORE or not self._live.is_unproven(flow, now)
        return self._transactions.open_client(branch, method, flow, data, user, now, repeat, timeout)

    def send_cancel(self, client: ClientTransaction, data: bytes, now: float) -> None:
        """Send ``data``, the CANCEL of ``client``'s request, which then has 64*T1 for its final answer.

        The CANCEL has the branch of its INVITE, and a transaction of its own (RFC 3261 section 9.1).
        """
        self._transactions.open_client(client.branch, "CANCEL", client.flow, data, NOBODY, now)
        self._transactions.limit_wait(client, 64 * T1, now)
