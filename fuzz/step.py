"""One input of the edge, with the state before it."""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.transactions import ClientTransaction, ServerTransaction
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import salvage_response
from fuzz.reading import read

__all__ = ["Step"]


class Step:
    """One input of the edge.

    ``message`` is what was received; of a response that cannot be parsed, what the edge can make of it.

    ``flow`` and ``data`` are those of a message, or None and b"" for time, a media reply or a closed connection.
    ``server`` is the transaction to which the message belonged when it arrived: for an ACK or CANCEL, that of
    its INVITE. ``client`` is the request of the edge that a response matches, if it comes from the right source.
    ``unproven`` is whether the source was unproven.
    """

    __slots__ = (
        "_counts_before", "banned", "busy", "client", "data", "edge", "flow", "malformed", "message", "passed",
        "server", "state", "unproven",
    )  # fmt: skip

    def __init__(self, edge: Edge, flow: Flow | None, data: bytes, unproven: bool = False) -> None:
        self.edge = edge
        self.flow = flow
        self.data = data
        self.unproven = unproven
        self.message: Request | Response | None = None
        self.server: ServerTransaction | None = None
        self.client: ClientTransaction | None = None
        self.state: TransactionState | None = None
        self.busy = len(edge.parts.transactions) + edge.calls
        self.passed = self.banned = self.malformed = False
        self._counts_before = (0, 0, 0)
        if flow is not None:
            self._read(flow, data)
            self._counts_before = self._count()

    def _read(self, flow: Flow, data: bytes) -> None:
        self.message = read(data) or salvage_response(data)
        transactions = self.edge.parts.transactions
        if isinstance(self.message, Request):
            method = self.message.method
            self.server = transactions.find_server(
                self.message, flow, "INVITE" if method in ("ACK", "CANCEL") else method
            )
            self.state = self.server.state if self.server is not None else None
        elif self.message is not None:
            client = transactions._clients.get((self.message.via.branch, self.message.cseq_method))
            if client is not None and client.flow.listener is flow.listener and client.flow.peer[0] == flow.peer[0]:
                self.client = client
                self.state = client.state

    def _count(self) -> tuple[int, int, int]:
        """The numbers of refusals by the screen, of refusals under a ban, and of malformed messages."""
        counts = self.edge.pipeline.counts
        return sum(counts.values()), counts.get(("penalties", "banned"), 0), sum(self.edge.counters.malformed.values())

    def finish(self) -> None:
        """Note what the edge did with the input, after it processed it."""
        if self.flow is None:
            return
        now, previous = self._count(), self._counts_before
        self.banned = now[1] > previous[1]
        self.malformed = now[2] > previous[2]
        self.passed = now == previous and (isinstance(self.message, Request) or self.client is not None)
