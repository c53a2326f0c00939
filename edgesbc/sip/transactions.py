"""The table of all transactions: matching, retransmission and deadlines (RFC 3261 section 17).

The machines and the transactions are in :mod:`edgesbc.sip.transaction`; here is what drives them. Time is an
argument, bytes go out through a callable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.deadlines import Deadlines
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import (
    LATE_TRYING_SECONDS,
    T1,
    T2,
    T4,
    TRYING_SECONDS,
    Action,
    ClientTransaction,
    Event,
    ServerKey,
    ServerTransaction,
    State,
    Transaction,
    TransactionUser,
)

__all__ = [
    "COOKIE",
    "NOBODY",
    "ClientTransaction",
    "ServerTransaction",
    "Transaction",
    "TransactionUser",
    "Transactions",
    "server_key",
]

COOKIE = "z9hG4bK"
"""Begins every branch made after RFC 3261 (section 8.1.1.7)."""


class Transactions:
    """Every transaction alive, and their deadlines in the calendar that the signalling core shares among its tables.

    ``send`` takes a flow and bytes. ``limit`` bounds servers and clients each.
    """

    __slots__ = ("_clients", "_deadlines", "_limit", "_of_connection", "_send", "_servers", "retransmissions")

    def __init__(self, send: Callable[[Flow, bytes], None], deadlines: Deadlines, limit: int) -> None:
        self._send = send
        self._deadlines = deadlines
        self._limit = limit
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._clients: dict[tuple[str, str], ClientTransaction] = {}  # by branch and method
        self._of_connection: dict[int, dict[Transaction, None]] = {}  # by the flow's serial number, in their order
        self.retransmissions = 0  # of requests and final answers, by our timers

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def requesting(self) -> bool:
        """Whether a request of ours still waits for its final answer."""
        return any(client.timeout_at is not None for client in self._clients.values())

    def contexts(self) -> Iterator[object]:
        """Whose the requests are that came in and are not forgotten yet; None for one that was answered from here."""
        return (server.context for server in self._servers.values())

    @property
    def half_full(self) -> bool:
        return 2 * max(len(self._servers), len(self._clients)) >= self._limit

    @property
    def full(self) -> bool:
        return len(self._servers) >= self._limit or len(self._clients) >= self._limit

    # --- server side -------------------------------------------------------------------------------------

    def find_server(self, request: Request, method: str | None = None) -> ServerTransaction | None:
        """The transaction that the request belongs to; ``method`` stands in for CANCEL's and ACK's own."""
        return self._servers.get(server_key(request, method or request.method))

    def absorb(self, request: Request, now: float, size: float = math.inf) -> bool:
        """Deal with a retransmission of ``size`` bytes, or the ACK of a refusal; False where it is neither.

        Of a sender that is not proven, one that is shorter than the request was draws no answer: small packets
        with a forged source would have a long one sent again and again.
        """
        if request.method == "ACK":
            server = self._servers.get(server_key(request, "INVITE"))
            if server is None or server.state is State.ACCEPTED:
                return False  # the ACK of a 2xx belongs to the dialog (section 13.3.1.4)
            self._fire(server, Event.ACK, now)
            return True
        server = self._servers.get(server_key(request, request.method))
        if server is None:
            return False
        if server.proven or size >= server.size:
            self._fire(server, Event.REQUEST, now)
        return True

    def open_server(self, request: Request, source: Flow, flow: Flow) -> ServerTransaction:
        """Begin a transaction for a request that came by ``source``; its answers go to ``flow``."""
        key = server_key(request, request.method)
        server = self._servers[key] = ServerTransaction(key, request, source, flow)
        self._file(server)
        return server

    def respond(self, server: ServerTransaction, status: int, data: bytes, now: float) -> None:
        """Send an answer; one that the state does not allow (a second final) is not sent.

        A repeated 2xx goes once to a sender that is not proven, as a loss may need it, and no more often.
        """
        if server.state is State.ACCEPTED and not server.proven:
            if server.repeated:
                return
            server.repeated = True
        event = Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
        self._fire(server, event, now, data=data)
        if status >= 200 and server.method != "INVITE":
            server.context = None  # it has said all; the bytes are kept for repetition

    def expect(self, server: ServerTransaction, trying: Callable[[], bytes], now: float) -> None:
        """Send what ``trying`` makes, a 100, to a request that has had no answer for some time.

        That is 200 ms for an INVITE (section 17.2.1), and 3.5 s for others (RFC 4320 section 4.1).
        """
        server.trying = trying
        server.resend_at = now + (TRYING_SECONDS if server.method == "INVITE" else LATE_TRYING_SECONDS)
        self._deadlines.schedule(server, server.next_due)

    # --- client side -------------------------------------------------------------------------------------

    def open_client(
        self,
        branch: str,
        method: str,
        flow: Flow,
        data: bytes,
        user: TransactionUser,
        now: float,
        repeat: bool = True,
        timeout: float = 64 * T1,
    ) -> ClientTransaction:
        """Send ``data`` and wait ``timeout`` seconds (Timer B, Timer F) for its answer.

        ``repeat`` False: no timer sends it again, since the peer may be one that never asked for anything.
        """
        client = self._clients[branch, method] = ClientTransaction(branch, method, flow, data, user)
        self._file(client)
        client.timeout_at = now + timeout
        if repeat and not flow.reliable:
            client.resend_at = now + T1
        self._deadlines.schedule(client, client.next_due)
        self._send(flow, data)
        return client

    def receive(self, response: Response, flow: Flow, now: float) -> ClientTransaction | None:
        """Give a response to its transaction; None where there is none, or where it comes from elsewhere.

        The branch proves that its sender saw our request; the address must match too, so that a probe's
        branch that leaked is of no use to a third party.
        """
        client = self._clients.get((response.via.branch, response.cseq_method))
        if client is None:
            return None
        if flow.listener is not client.flow.listener or flow.peer[0] != client.flow.peer[0]:
            return None
        status = response.status
        event = Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
        self._fire(client, event, now, response=response)
        return client

    def fail(self, client: ClientTransaction, now: float) -> None:
        """The transport cannot carry the request (section 17.1.4)."""
        self._fire(client, Event.TRANSPORT, now)

    def fail_connection(self, serial: int, now: float) -> list[object]:
        """The connection is gone: its unanswered requests fail, its answers have nowhere to go.

        Returns the contexts of the requests that came by it and had no final answer yet.
        """
        unanswered = []
        for transaction in tuple(self._of_connection.get(serial, ())):
            if isinstance(transaction, ServerTransaction) and not transaction.answered:
                unanswered.append(transaction.context)
            self._fire(transaction, Event.TRANSPORT, now)
        return unanswered

    def fail_peer(self, listener: Listener, peer: Source, now: float) -> None:
        """The network says that nobody listens at a UDP address (ICMP port unreachable).

        Looks at every request under way: to be called for destinations only, never at a stranger's wish.
        """
        flow = Flow(listener, peer)
        for client in [client for client in self._clients.values() if client.flow == flow]:
            self._fire(client, Event.TRANSPORT, now)

    def limit_wait(self, client: ClientTransaction, timeout: float, now: float) -> None:
        """Expect a final answer within ``timeout`` seconds from now (after CANCEL: section 9.1).

        Without effect on a transaction that has its final answer.
        """
        if (client.state, Event.TIMEOUT) in client.machine:
            client.timeout_at = now + timeout
            self._deadlines.schedule(client, client.next_due)

    def forget(self, server: ServerTransaction) -> None:
        """End a transaction without an answer (RFC 4320 section 4.2)."""
        self._terminate(server)

    # --- time --------------------------------------------------------------------------------------------

    def expire(self, transaction: Transaction, now: float) -> None:
        """Fire the timers of ``transaction`` that are due. Called by who takes it out of the shared calendar."""
        if transaction.linger_at is not None and transaction.linger_at <= now:
            self._fire(transaction, Event.LINGER, now)
        elif transaction.timeout_at is not None and transaction.timeout_at <= now:
            self._fire(transaction, Event.TIMEOUT, now)
        elif transaction.resend_at is not None and transaction.resend_at <= now:
            transaction.resend_at = None
            silent = isinstance(transaction, ServerTransaction) and not transaction.answered
            self._fire(transaction, Event.SILENCE if silent else Event.RETRANSMIT, now)
        else:
            self._deadlines.schedule(transaction, transaction.next_due)

    # --- the engine --------------------------------------------------------------------------------------

    def _fire(
        self,
        transaction: Transaction,
        event: Event,
        now: float,
        data: bytes = b"",
        response: Response | None = None,
    ) -> None:
        step = transaction.machine.get((transaction.state, event))
        if step is None:
            return
        transaction.state, actions = step
        inform: TransactionUser | None = None
        timed = False
        for action in actions:
            if action is Action.SEND:
                transaction.data = data
                self._say(transaction)
            elif action is Action.PASS or action is Action.INFORM:
                inform = transaction.user if isinstance(transaction, ClientTransaction) else None
            elif action is Action.RESEND:
                if transaction.data:
                    self.retransmissions += event is Event.RETRANSMIT
                    self._send(transaction.flow, transaction.data)
            elif action is Action.TRYING:
                self._say_trying(transaction)
                timed = True
            elif action is Action.ACK:
                self._acknowledge(transaction, response)
            else:
                self._set_timer(transaction, action, now)
                timed = True
        if transaction.state is State.TERMINATED:
            self._terminate(transaction)
        elif timed:
            if transaction.linger_at is not None and transaction.linger_at <= now:
                self._terminate(transaction)  # a linger of zero: nothing can come again
            else:
                self._deadlines.schedule(transaction, transaction.next_due)
        # Last, since the user may act on the transaction.
        if inform is not None and isinstance(transaction, ClientTransaction):
            if response is not None:
                inform.on_response(transaction, response, now)
            else:
                inform.on_failure(transaction, event is Event.TIMEOUT, now)

    def _say(self, transaction: Transaction) -> None:
        """Send what there is to say: an answer that would be too large for who asked is b"", and counts as said."""
        if transaction.data:
            self._send(transaction.flow, transaction.data)

    def _say_trying(self, transaction: Transaction) -> None:
        if isinstance(transaction, ServerTransaction) and transaction.trying is not None and not transaction.data:
            transaction.data = transaction.trying()
            self._say(transaction)

    def _acknowledge(self, transaction: Transaction, response: Response | None) -> None:
        assert isinstance(transaction, ClientTransaction)  # noqa: S101 - the table has ACK in one machine only
        if transaction.ack is not None and response is not None:
            self._send(transaction.flow, transaction.ack(response))

    @staticmethod
    def _set_timer(transaction: Transaction, action: Action, now: float) -> None:
        if action is Action.BACK_OFF:
            # Timer A doubles without bound (section 17.1.1.2), the others up to T2; a non-INVITE request
            # that has a provisional answer waits T2 at once (section 17.1.2.2).
            doubled = 2 * transaction.interval
            if transaction.state is State.PROCEEDING:
                doubled = T2
            transaction.interval = doubled if transaction.state is State.CALLING else min(doubled, T2)
            transaction.resend_at = now + transaction.interval
        elif action is Action.START_RETRANSMIT:
            # Only a server has this action.
            proven = isinstance(transaction, ServerTransaction) and transaction.proven
            repeats = proven and not transaction.flow.reliable
            transaction.resend_at = now + T1 if repeats else None  # Timer G
        elif action is Action.START_TIMEOUT:
            transaction.timeout_at = now + 64 * T1  # Timer H
        elif action is Action.STOP_TIMERS:
            transaction.resend_at = transaction.timeout_at = transaction.linger_at = None
        elif action is Action.LINGER:
            if transaction.state is State.ACCEPTED:
                transaction.linger_at = now + 64 * T1  # Timers L and M
            elif transaction.state is State.CONFIRMED:
                transaction.linger_at = now + min(transaction.linger, T4)  # Timer I
            else:
                transaction.linger_at = now + transaction.linger  # Timers D, J and K

    def _terminate(self, transaction: Transaction) -> None:
        transaction.state = State.TERMINATED
        self._deadlines.schedule(transaction, None)
        # A key may by now stand for another transaction, which goes on.
        if isinstance(transaction, ServerTransaction):
            if self._servers.get(transaction.key) is transaction:
                del self._servers[transaction.key]
            # Its user knows it and it knows its user: apart, both go without the garbage collector.
            transaction.context = transaction.trying = None
        elif isinstance(transaction, ClientTransaction):
            key = (transaction.branch, transaction.method)
            if self._clients.get(key) is transaction:
                del self._clients[key]
            transaction.user = NOBODY
            transaction.ack = None
        serial = transaction.flow.serial
        if serial:
            others = self._of_connection.get(serial)
            if others is not None:
                others.pop(transaction, None)
                if not others:
                    del self._of_connection[serial]

    def _file(self, transaction: Transaction) -> None:
        if transaction.flow.serial:
            self._of_connection.setdefault(transaction.flow.serial, {})[transaction] = None


class _Nobody:
    """The user of a transaction that has ended, and of a request whose answer changes nothing."""

    __slots__ = ()

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None: ...

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None: ...


NOBODY = _Nobody()


def server_key(request: Request, method: str) -> ServerKey:
    """What makes two requests the same transaction (section 17.2.3).

    With a branch of RFC 3261: branch, sent-by and method. Without: the fields that RFC 2543 compared,
    less the To tag, which the ACK of a refusal has and its INVITE has not.
    """
    via = request.via
    if via.branch[:7] == COOKIE and len(via.branch) > 7:
        return (via.branch, via.sent_by, method)
    return (str(request.uri), request.from_tag, request.call_id, str(request.cseq), str(via), method)
