"""The table of all transactions: matching, retransmission and timers (RFC 3261 section 17), without I/O.

:mod:`edgesbc.sip.machines` has the steps of a transaction; the methods here take them. The caller's loop:

- a datagram or framed message comes in: parse it. Give a response to :meth:`Transactions.receive`. Give a request to
  :meth:`Transactions.absorb`, which deals with retransmissions and with the ACK of a refusal; if it returns False the
  request is new: :meth:`Transactions.open_server`, unless it is an ACK (which belongs to a dialog), and answer it with
  :meth:`Transactions.respond` now or later. A CANCEL is a request of its own:
  ``find_server(request, source, "INVITE")`` finds what it cancels;
- the caller sends a request by :meth:`Transactions.open_client`; its user gets responses and failures;
- at :meth:`Transactions.deadline`, and not later, call :meth:`Transactions.expire`. Ask for the deadline again after
  each call of any method: every one may change it;
- the transport fails: :meth:`Transactions.fail_connection`, :meth:`Transactions.fail` or, where it has not sent a
  request, :meth:`Transactions.not_sent`. If the peer of a closed connection is expected to connect again:
  :meth:`Transactions.suspend_connection` and :meth:`Transactions.move_connection`.

``now`` is in seconds of any clock that does not run backwards. Bytes leave by the ``send`` callable during these calls;
it must not call back into the table. The user is called last in a step and may. Nothing here blocks, reads a clock,
or raises for what a peer sent. The table has no bound of its own: before ``open_server``, look at
:attr:`Transactions.full` or, for senders that share half of it, at :meth:`Transactions.has_place_in_half`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic

from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.limits import TRANSACTION_PARTS
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.limits import DEFAULT_LIMITS, Limits
from edgesbc.sip.machines import (
    LATE_TRYING_SECONDS,
    T1,
    TRYING_SECONDS,
    TransactionAction,
    TransactionEvent,
    TransactionState,
)
from edgesbc.sip.message import Request, Response
from edgesbc.sip.server_table import ServerTable
from edgesbc.sip.transaction import (
    NOBODY,
    ClientTransaction,
    EndpointT,
    ServerTransaction,
    ServerUser,
    Transaction,
    TransactionUser,
    server_key,
)

__all__ = ["Transactions"]

_REPLACED_AT_ONCE: Final = 64  # short messages that leave their places to a long one: about half a millisecond


class _Share:
    """What one sender has of the table: server transactions, and the bytes of their messages."""

    __slots__ = ("count", "stored")

    def __init__(self) -> None:
        self.count = 0
        self.stored = 0


class Transactions(Generic[EndpointT]):
    """Every transaction alive, over endpoints of one type.

    ``send`` takes an endpoint and bytes. ``reopen`` takes the endpoint that a request came by and the request, once
    that connection has closed; it returns where the responses may go instead, or None. ``again`` takes the endpoint of
    a connection that has closed, and a request that was sent by it; it returns a new connection to the same server, why
    that one takes no more requests, or None. ``related`` takes the
    endpoints of two connections; it says whether they are of one sender although their addresses differ.

    ``limits.transactions`` is the number of servers, and of clients, from which :attr:`full` is true, and
    ``limits.transaction_bytes`` that of the bytes of their messages. ``deadlines`` is
    a calendar that is shared with other objects: its owner then calls ``expire`` of each item that is due, and
    :meth:`deadline` and :meth:`expire` here are not used.
    """

    __slots__ = (
        "_again", "_clients", "_deadlines", "_expire_one", "_limit", "_of_connection", "_reopen", "_send", "_servers",
        "_shares", "_stored", "_stored_limit", "retransmissions",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[EndpointT, bytes], None],
        deadlines: Deadlines[Expiring] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        reopen: Callable[[EndpointT, Request], EndpointT | None] | None = None,
        again: Callable[[EndpointT, ClientTransaction[EndpointT]], EndpointT | SendFailure | None] | None = None,
        related: Callable[[EndpointT, EndpointT], bool] | None = None,
    ) -> None:
        self._again = again
        self._send = send
        self._reopen = reopen
        self._deadlines: Deadlines[Expiring] = Deadlines() if deadlines is None else deadlines
        self._limit = limits.transactions
        self._stored_limit = limits.transaction_bytes
        self._stored = 0
        self._shares: dict[Hashable, _Share] = {}
        self._servers = ServerTable[EndpointT](related)
        self._clients: dict[tuple[str, str], ClientTransaction[EndpointT]] = {}  # by branch and method
        self._of_connection: dict[int, dict[Transaction[EndpointT], None]] = {}  # by serial, in order of opening
        self._expire_one: Callable[[Transaction[EndpointT], float], None] = self._fire_due
        self.retransmissions = 0  # of requests and final responses, by timers

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def requesting(self) -> bool:
        """Whether a client transaction still waits for its final response."""
        return any(client.timeout_at is not None for client in self._clients.values())

    def server_users(self) -> Iterator[ServerUser]:
        """The user of each server transaction that has one still."""
        return (server.user for server in self._servers if server.user is not None)

    @property
    def connections(self) -> int:
        """The number of connections that transactions belong to; of datagrams there is none."""
        return len(self._of_connection)

    def has_place_in_half(self) -> bool:
        """Whether a request may have a transaction whose sender shares half of the limits with others. If servers, or
        the bytes of all messages, have reached that half, the oldest ones end that are ``replaceable``, are no INVITE,
        and only wait for repetitions of their request (Timer J): a repetition is a new request then."""
        if 2 * len(self._clients) >= self._limit:
            return False
        if 2 * len(self._servers) >= self._limit and not self._replace_oldest():
            return False
        for _ in range(_REPLACED_AT_ONCE):
            if 2 * self._stored < self._stored_limit or not self._replace_oldest():
                break
        return 2 * self._stored < self._stored_limit

    def _replace_oldest(self) -> bool:
        oldest = self._servers.oldest_replaceable()
        if oldest is None:
            return False
        self._terminate(oldest)
        return True

    @property
    def full(self) -> bool:
        """Whether servers or clients, or the bytes of their messages, have reached the limit: a new request is to be
        refused, without a transaction."""
        count = max(len(self._servers), len(self._clients))
        return count >= self._limit or self._stored >= self._stored_limit

    def has_place_for(self, holder: Hashable) -> bool:
        """Whether a sender that has no more than a part of the limits may have one more transaction: it has one part of
        ``base.limits.TRANSACTION_PARTS`` for itself, and all such senders leave one to the others."""
        parts = TRANSACTION_PARTS
        count = max(len(self._servers), len(self._clients))
        if parts * count >= (parts - 1) * self._limit or parts * self._stored >= (parts - 1) * self._stored_limit:
            return False
        share = self._shares.get(holder)
        return share is None or (parts * share.count < self._limit and parts * share.stored < self._stored_limit)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the messages that transactions keep: requests, and what a retransmission sends."""
        return self._stored

    # --- server side -------------------------------------------------------------------------------------

    def find_server(
        self, request: Request, source: EndpointT, method: str | None = None
    ) -> ServerTransaction[EndpointT] | None:
        """The transaction of the request from ``source`` (section 17.2.3); ``method`` replaces its own, for CANCEL and
        ACK."""
        return self._servers.find(request, method or request.method, source)

    def find_datagram_server(
        self, branch: str, sent_by: str, method: str, source: EndpointT
    ) -> ServerTransaction[EndpointT] | None:
        """The transaction of a datagram from ``source`` whose first Via has this branch and sent-by, the latter as
        :attr:`edgesbc.sip.headers.Via.sent_by` writes it."""
        return self._servers.at((branch, sent_by, method), source)

    def unanswered_servers(self, response: Response) -> list[ServerTransaction[EndpointT]]:
        """The transactions without a final response whose request has the Call-ID, the tag in From and the CSeq of
        ``response``. It searches the whole table: for a fault of the program, and not for every message."""
        return [
            server
            for server in self._servers
            if not server.answered
            and server.request.call_id == response.call_id
            and server.request.cseq == response.cseq
            and server.method == response.cseq_method
            and server.request.from_tag == response.from_tag
        ]

    def absorb(self, request: Request, source: EndpointT, now: float, size: float = math.inf) -> bool:
        """Deal with a retransmission of ``size`` bytes from ``source``, or with the ACK of a refusal; False where it is
        neither.

        If the sender is not proven, a retransmission shorter than the request causes no response: otherwise small
        packets with a forged source would have a long response sent to the victim again and again.
        """
        if request.method == "ACK":
            server = self._servers.find(request, "INVITE", source)
            if server is None or server.state is TransactionState.ACCEPTED:
                return False  # the ACK of a 2xx belongs to the dialog (section 13.3.1.4)
            self._fire(server, TransactionEvent.ACK, now)
            return True
        server = self._servers.find(request, request.method, source)
        if server is None:
            return False
        if server.proven or size >= server.size:
            self._fire(server, TransactionEvent.REQUEST, now)
        return True

    def open_server(
        self,
        request: Request,
        source: EndpointT,
        flow: EndpointT | None = None,
        size: int = 0,
        holder: Hashable = None,
    ) -> ServerTransaction[EndpointT]:
        """Begin a transaction for a new request of ``size`` bytes from ``source``; its responses go to ``flow``, by
        default the source. It is counted for ``holder``, unless that is None (:meth:`has_place_for`).

        Where responses go is section 18.2.2: with *rport*, and on a stream, the source; else the port of the Via.
        """
        key = server_key(request, request.method)
        server = ServerTransaction(key, request, source, source if flow is None else flow, self._expire_one, size)
        if holder is not None:
            server.holder = holder
            self._shares.setdefault(holder, _Share()).count += 1
        self._count(server)
        self._servers.add(server)
        self._index_connection(server)
        return server

    def respond(self, server: ServerTransaction[EndpointT], status: int, data: bytes, now: float) -> None:
        """Send ``data``, a response with ``status``; one that the state does not allow (a second final) is not sent.

        The user repeats a 2xx to INVITE until its ACK is there (section 13.3.1.4). To a sender that is not proven it
        is repeated once only.
        """
        if server.state is TransactionState.ACCEPTED and not server.proven:
            if server.repeated:
                return
            server.repeated = True
        if server.disconnected and server.state is TransactionState.ACCEPTED and 200 <= status < 300:
            self._move(server)  # the ACK has not come: the 2xx may have been lost with the connection
        self._fire(server, _event_of(status), now, data=data)
        if status >= 200 and server.method != "INVITE":
            server.user = None  # nothing can follow; the bytes are kept for retransmission
            if server.replaceable and server.state is TransactionState.COMPLETED:
                self._servers.make_replaceable(server)

    def schedule_trying(self, server: ServerTransaction[EndpointT], trying: Callable[[], bytes], now: float) -> None:
        """Send the 100 that ``trying`` builds, unless a response is sent before.

        That is after 200 ms for an INVITE (section 17.2.1), and after 3.5 s for others (RFC 4320 section 4.1).
        """
        server.trying = trying
        server.resend_at = now + (TRYING_SECONDS if server.method == "INVITE" else LATE_TRYING_SECONDS)
        self._deadlines.schedule(server, server.next_due)

    # --- client side -------------------------------------------------------------------------------------

    def open_client(
        self,
        branch: str,
        method: str,
        flow: EndpointT,
        data: bytes,
        user: TransactionUser[EndpointT],
        now: float,
        repeat: bool = True,
        timeout: float = 64 * T1,
    ) -> ClientTransaction[EndpointT]:
        """Send the request ``data`` to ``flow`` and wait ``timeout`` seconds (Timer B, Timer F) for its response.

        ``branch`` and ``method`` are those of the request. ``user`` gets the outcome, :data:`NOBODY` ignores it.
        With ``repeat`` False no timer sends it again: for a peer that is not known to exist. After an INVITE, set
        ``ack`` of the result.
        """
        client = self._clients[branch, method] = ClientTransaction(branch, method, flow, data, user, self._expire_one)
        self._count(client)
        self._index_connection(client)
        client.timeout_at = now + timeout
        if repeat and not flow.reliable:
            client.resend_at = now + T1
        self._deadlines.schedule(client, client.next_due)
        self._send(flow, data)
        return client

    def receive(self, response: Response, flow: EndpointT, now: float) -> ClientTransaction[EndpointT] | None:
        """Give a response to its transaction (section 17.1.3); None where there is none, or for another peer.

        The branch shows that the sender saw the request; the peer must match too, so that a branch that leaked is of
        no use to a third party.
        """
        client = self._clients.get((response.via.branch, response.cseq_method))
        if client is None or not flow.same_peer(client.flow):
            return None
        self._fire(client, _event_of(response.status), now, response=response)
        return client

    def fail(self, client: ClientTransaction[EndpointT], now: float) -> None:
        """The transport cannot carry the request (section 17.1.4)."""
        self._fire(client, TransactionEvent.TRANSPORT, now)

    def not_sent(self, branch: str, method: str, failure: SendFailure, now: float) -> None:
        """The transport has not sent a copy of a request, or of its retransmission.

        Where no other copy was sent, the request fails at once, except for a cause that may pass: the timer then sends
        it again. If it persists, that is so for the lack of a route too. Without effect where there is no such
        transaction.
        """
        client = self._clients.get((branch, method))
        if client is None:
            return
        client.unsent += 1
        if client.unsent < client.copies:
            return  # a copy is on its way: the response or the time-out tells
        client.failure = failure
        passes = failure is SendFailure.NO_RESOURCES or (client.persists and failure is SendFailure.NO_ROUTE)
        if not passes or client.flow.reliable:
            self._fire(client, TransactionEvent.TRANSPORT, now)

    def fail_connection(
        self, serial: int, now: float, failure: SendFailure | None = None, method: str = "", was_open: bool = True
    ) -> None:
        """A connection closed: the requests sent on it fail, and responses to those received on it cannot be sent.

        ``was_open`` is False where it could not be opened, and ``failure`` is given where that has a reason of this
        machine. On one that was open, a request without any response is sent again, once, by the endpoint that
        ``again`` names: a server may close an idle connection while a request is on its way. If the server has got it
        all the same, its branch shows that it comes for the second time (section 17.2.3).

        Where ``reopen`` names another endpoint for the responses of a request, its transaction goes on with that (RFC
        3261 section 18.2.2), once; that of an INVITE with a 2xx only when the 2xx is repeated. For the others without a
        final response, ``on_connection_lost`` of the user is called at the end. ``method`` is that of the only requests
        to fail, if it is given.
        """
        users: list[ServerUser] = []
        for transaction in self.on_connection(serial):
            if method and transaction.method != method:
                continue
            if isinstance(transaction, ServerTransaction):
                transaction.disconnected = True
                if not transaction.answered:
                    if self._move(transaction):
                        continue
                    if transaction.user is not None:
                        users.append(transaction.user)
            elif isinstance(transaction, ClientTransaction):
                transaction.failure = failure
                if was_open and self._send_by_another(transaction, now):
                    continue
            self._fire(transaction, TransactionEvent.TRANSPORT, now)
        for user in users:
            user.on_connection_lost(now)

    def on_connection(self, serial: int) -> tuple[Transaction[EndpointT], ...]:
        """The transactions of a connection, in the order in which they were opened."""
        return tuple(self._of_connection.get(serial, ()))

    def suspend_connection(self, serial: int) -> None:
        """A connection closed whose peer is expected to connect again: keep its transactions for
        :meth:`move_connection`, also those that are answered meanwhile. Call :meth:`fail_connection` if it does not.

        The program must send nothing to the endpoint meanwhile. Of a 2xx to INVITE that was sent before, only a
        repetition is sent when the peer has connected again: its ACK may have come.
        """
        for transaction in self.on_connection(serial):
            if isinstance(transaction, ServerTransaction):
                if transaction.state is TransactionState.ACCEPTED:
                    transaction.data = b""
                    self._count(transaction)
                elif transaction.method != "INVITE":
                    transaction.linger = 64 * T1

    def move_connection(self, serial: int, flow: EndpointT, now: float) -> tuple[Transaction[EndpointT], ...]:
        """The peer of a connection uses ``flow`` instead: its transactions go on there. Returns these.

        The last response of each request that was received is sent again, and so are the requests without any
        response: what was sent last may have been lost with the connection, and transactions absorb what comes twice.
        """
        moved = self.on_connection(serial)
        for transaction in moved:
            self._leave_connection(transaction)
            data = transaction.redirect(flow, now)
            self._index_connection(transaction)
            if isinstance(transaction, ServerTransaction):
                self._servers.move(transaction)
            if data:
                self._send(flow, data)
            if transaction.linger_at is not None and transaction.linger_at <= now:
                self._terminate(transaction)
            else:
                self._deadlines.schedule(transaction, transaction.next_due)
        return moved

    def _move(self, server: ServerTransaction[EndpointT]) -> bool:
        """Let the responses go to another endpoint; False where there is none."""
        if self._reopen is None or server.moved:
            return False
        endpoint = self._reopen(server.flow, server.request)
        if endpoint is None:
            return False
        self._leave_connection(server)
        server.moved = True
        server.disconnected = False
        server.flow = endpoint
        self._index_connection(server)
        return True

    def _send_by_another(self, client: ClientTransaction[EndpointT], now: float) -> bool:
        """Send a request without a response by another connection; False where that is of no use, or has been done."""
        silent = client.state is TransactionState.CALLING or client.state is TransactionState.TRYING
        if self._again is None or not silent or not client.wanted or client.sent_again:
            return False
        endpoint = self._again(client.flow, client)
        if endpoint is None:
            return False
        if isinstance(endpoint, SendFailure):
            client.failure = endpoint
            return False
        self._leave_connection(client)
        client.sent_again = True
        data = client.redirect(endpoint, now)
        self._index_connection(client)
        self._send(endpoint, data)
        return True

    def find_client(self, branch: str, method: str) -> ClientTransaction[EndpointT] | None:
        """The request that was sent with this branch and method; the caller compares its endpoint."""
        return self._clients.get((branch, method))

    def unanswered(self, branch: str, method: str) -> ClientTransaction[EndpointT] | None:
        """The request with this branch and method, if it still waits for its first response; otherwise None.

        An ICMP error that quotes it may fail it (:meth:`fail`), where its endpoint is the one that the error is about.
        """
        client = self._clients.get((branch, method))
        waits = client is not None and client.state in (TransactionState.CALLING, TransactionState.TRYING)
        return client if waits else None

    def limit_wait(self, client: ClientTransaction[EndpointT], timeout: float, now: float) -> None:
        """Fail the transaction if it has no final response ``timeout`` seconds from now (after CANCEL: section 9.1).

        Without effect on a transaction that has one.
        """
        if (client.state, TransactionEvent.TIMEOUT) in client.machine:
            client.timeout_at = now + timeout
            self._deadlines.schedule(client, client.next_due)

    def forget(self, server: ServerTransaction[EndpointT]) -> None:
        """End a transaction without a response (RFC 4320 section 4.2)."""
        self._terminate(server)

    # --- time --------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called, None for never."""
        return self._deadlines.next()

    def expire(self, now: float) -> None:
        """Fire every timer that is due at ``now``."""
        for item in self._deadlines.pop_due(now):
            item.expire(now)

    def _fire_due(self, transaction: Transaction[EndpointT], now: float) -> None:
        if transaction.linger_at is not None and transaction.linger_at <= now:
            self._fire(transaction, TransactionEvent.LINGER, now)
        elif transaction.timeout_at is not None and transaction.timeout_at <= now:
            self._fire(transaction, TransactionEvent.TIMEOUT, now)
        elif transaction.resend_at is not None and transaction.resend_at <= now:
            transaction.resend_at = None
            silent = isinstance(transaction, ServerTransaction) and not transaction.answered
            self._fire(transaction, TransactionEvent.SILENCE if silent else TransactionEvent.RETRANSMIT, now)
        else:
            self._deadlines.schedule(transaction, transaction.next_due)

    def _fire(
        self,
        transaction: Transaction[EndpointT],
        event: TransactionEvent,
        now: float,
        data: bytes = b"",
        response: Response | None = None,
    ) -> None:
        step = transaction.machine.get((transaction.state, event))
        if step is None:
            return
        transaction.state, actions = step
        inform: TransactionUser[EndpointT] | None = None
        timed = False
        for action in actions:
            if action is TransactionAction.SEND:
                transaction.data = data
                self._count(transaction)
                self._send_data(transaction)
            elif action is TransactionAction.PASS or action is TransactionAction.INFORM:
                inform = transaction.user if isinstance(transaction, ClientTransaction) else None
            elif action is TransactionAction.RESEND:
                self.retransmissions += event is TransactionEvent.RETRANSMIT and bool(transaction.data)
                self._send_again(transaction)
            elif action is TransactionAction.TRYING:
                self._send_trying(transaction)
                timed = True
            elif action is TransactionAction.ACK:
                self._acknowledge(transaction, response)
            else:
                transaction.set_timer(action, now)
                timed = True
        if transaction.state is TransactionState.TERMINATED:
            self._terminate(transaction)
        elif timed:
            if transaction.linger_at is not None and transaction.linger_at <= now:
                self._terminate(transaction)  # on a stream nothing comes twice
            else:
                self._deadlines.schedule(transaction, transaction.next_due)
        # The user comes last, since it may act on the transaction.
        if inform is not None and isinstance(transaction, ClientTransaction):
            if response is not None:
                inform.on_response(transaction, response, now)
            else:
                inform.on_failure(transaction, event is TransactionEvent.TIMEOUT, now)

    def _send_data(self, transaction: Transaction[EndpointT]) -> None:
        """Send a response; one that would be too large for an unproven sender is b"", and counts as sent."""
        if transaction.data:
            self._send(transaction.flow, transaction.data)

    def _send_again(self, transaction: Transaction[EndpointT]) -> None:
        if isinstance(transaction, ClientTransaction):
            transaction.copies += 1
            transaction.failure = None  # until the transport reports that this copy was not sent either
        if transaction.data:
            self._send(transaction.flow, transaction.data)

    def _send_trying(self, transaction: Transaction[EndpointT]) -> None:
        if isinstance(transaction, ServerTransaction) and transaction.trying is not None and not transaction.data:
            transaction.data = transaction.trying()
            self._count(transaction)
            self._send_data(transaction)

    def _acknowledge(self, transaction: Transaction[EndpointT], response: Response | None) -> None:
        assert isinstance(transaction, ClientTransaction)  # noqa: S101 - the table has ACK in one machine only
        if transaction.ack is not None and response is not None:
            self._send(transaction.flow, transaction.ack(response))

    def _count(self, transaction: Transaction[EndpointT]) -> None:
        """Count the bytes that a transaction keeps now. Responses are few; a peer chooses how long they are."""
        stored = len(transaction.data)
        if isinstance(transaction, ServerTransaction):
            stored += transaction.size
            if transaction.holder is not None:
                self._shares[transaction.holder].stored += stored - transaction.stored
        self._stored += stored - transaction.stored
        transaction.stored = stored

    def _leave_share(self, server: ServerTransaction[EndpointT]) -> None:
        holder, server.holder = server.holder, None
        if holder is not None:
            share = self._shares[holder]
            share.count -= 1
            share.stored -= server.stored
            if not share.count:
                del self._shares[holder]

    def _terminate(self, transaction: Transaction[EndpointT]) -> None:
        transaction.state = TransactionState.TERMINATED
        if isinstance(transaction, ServerTransaction):
            self._leave_share(transaction)
        self._stored -= transaction.stored
        transaction.stored = 0
        self._deadlines.schedule(transaction, None)
        # The key may meanwhile belong to another transaction, which goes on.
        if isinstance(transaction, ServerTransaction):
            self._servers.remove(transaction)
            # It and its user refer to each other: apart, both are freed without the garbage collector.
            transaction.user = transaction.trying = None
        elif isinstance(transaction, ClientTransaction):
            key = (transaction.branch, transaction.method)
            if self._clients.get(key) is transaction:
                del self._clients[key]
            transaction.user = NOBODY
            transaction.ack = None
        self._leave_connection(transaction)

    def _leave_connection(self, transaction: Transaction[EndpointT]) -> None:
        serial = transaction.flow.serial
        if serial:
            others = self._of_connection.get(serial)
            if others is not None:
                others.pop(transaction, None)
                if not others:
                    del self._of_connection[serial]

    def _index_connection(self, transaction: Transaction[EndpointT]) -> None:
        if transaction.flow.serial:
            self._of_connection.setdefault(transaction.flow.serial, {})[transaction] = None


def _event_of(status: int) -> TransactionEvent:
    if status < 200:
        return TransactionEvent.PROVISIONAL
    return TransactionEvent.SUCCESS if status < 300 else TransactionEvent.FAILURE
