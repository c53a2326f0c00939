"""Transactions as objects, and what they need of the program: endpoints and users (RFC 3261 section 17).

A :class:`ServerTransaction` is a request that was received, a :class:`ClientTransaction` one that was sent. Their
states and steps are in :mod:`edgesbc.sip.machines`; :mod:`edgesbc.sip.transactions` opens them and takes the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, Protocol, Self, TypeVar

from edgesbc.sip.build import COOKIE
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.machines import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    T1,
    T2,
    T4,
    Machine,
    TransactionAction,
    TransactionState,
)
from edgesbc.sip.message import Fields, Request, Response

__all__ = [
    "NOBODY",
    "ClientTransaction",
    "Endpoint",
    "EndpointT",
    "ServerKey",
    "ServerTransaction",
    "ServerUser",
    "Transaction",
    "TransactionUser",
    "server_key",
]

ServerKey = tuple[str, ...]


class Endpoint(Protocol):
    """Where the messages of a transaction come from or go to: a connection, or the address of a datagram peer.

    The program that uses the library has endpoints of its own, and ``Transactions`` passes them on. Two endpoints
    are equal (``==``) where bytes sent to them go to the same place.
    """

    @property
    def reliable(self) -> bool:
        """Whether the transport delivers or fails: true of every stream. It sets the timers (RFC 3261 section 17)."""

    @property
    def serial(self) -> int:
        """The number of the connection, never used for another; 0 for datagrams, where nothing can close."""

    @property
    def sender(self) -> Hashable:
        """Whom requests from here come from: requests from different senders are never of one transaction.

        For datagrams the address and port. For a connection the address alone, because a peer may connect again.
        """

    def same_peer(self, other: Self, /) -> bool:
        """Whether a response that came from ``other`` can be one to a request that was sent here.

        The branch is compared before. Compare the local address and the IP address of the peer, not its port: a
        response may come from another port or by another connection.
        """


EndpointT = TypeVar("EndpointT", bound=Endpoint)


class TransactionUser(Protocol[EndpointT]):
    """The sender of a request, which gets the outcome (the TU of RFC 3261 section 5)."""

    def on_response(self, transaction: ClientTransaction[EndpointT], response: Response, now: float, /) -> None:
        """A response that is no repetition; a 2xx to INVITE may come several times."""

    def on_failure(self, transaction: ClientTransaction[EndpointT], timeout: bool, now: float, /) -> None:
        """No final response will come, because of a time-out or (``timeout`` False) of a transport error.

        ``transaction.failure`` says whether the request was sent at all.
        """


class ServerUser(Protocol):
    """The program's side of a request that was received: it responds, or learns that the request ended in another way.

    Set it as ``user`` of the transaction; it may stay None.
    """

    def on_cancel(self, reasons: Sequence[str], now: float, /) -> None:
        """The request was cancelled (RFC 3261 section 9.2); ``reasons`` are the Reason values of the CANCEL."""

    def on_connection_lost(self, now: float, /) -> None:
        """The connection that the request came by closed before its final response, and there is no other way for
        responses."""

    def on_internal_error(self, now: float, /) -> None:
        """A fault of the program ended its processing: respond with 500."""


class Transaction(Generic[EndpointT]):
    """What the four machines have in common. Opened by ``Transactions``, never directly.

    ``flow`` is the endpoint that messages go to; ``data`` is what a retransmission sends. ``due`` and ``queued``
    belong to the calendar of deadlines, which calls :meth:`expire`. ``stored`` is the number of
    bytes by which the table counts it.
    """

    __slots__ = (
        "_fire_due", "data", "due", "flow", "interval", "linger", "linger_at", "machine", "method", "queued",
        "resend_at", "state", "stored", "timeout_at",
    )  # fmt: skip

    def __init__(
        self,
        machine: Machine,
        state: TransactionState,
        method: str,
        flow: EndpointT,
        linger: float,
        fire_due: Callable[[Transaction[EndpointT], float], None],
    ) -> None:
        self.machine = machine
        self.state = state
        self.method = method
        self.flow = flow
        self.linger = linger
        self.data = b""
        self.stored = 0
        self.interval = T1
        self.resend_at: float | None = None
        self.timeout_at: float | None = None
        self.linger_at: float | None = None
        self.due: float | None = None
        self.queued: float | None = None
        self._fire_due = fire_due

    @property
    def next_due(self) -> float | None:
        """The earliest of the timers that are set."""
        due = self.resend_at
        for at in (self.timeout_at, self.linger_at):
            if at is not None and (due is None or at < due):
                due = at
        return due

    def expire(self, now: float) -> None:
        """Fire the timer that is due; called by the owner of the calendar for each item that it takes out."""
        self._fire_due(self, now)

    def set_timer(self, action: TransactionAction, now: float) -> None:
        """Set or stop timers, as an action of the machine says."""
        if action is TransactionAction.BACK_OFF:
            # Timer A doubles without bound (section 17.1.1.2), the others up to T2; a non-INVITE request
            # that has a provisional answer waits T2 at once (section 17.1.2.2).
            doubled = 2 * self.interval
            if self.state is TransactionState.PROCEEDING:
                doubled = T2
            self.interval = doubled if self.state is TransactionState.CALLING else min(doubled, T2)
            self.resend_at = now + self.interval
        elif action is TransactionAction.START_RETRANSMIT:
            self.resend_at = now + T1 if self.repeats_responses else None  # Timer G
        elif action is TransactionAction.START_TIMEOUT:
            self.timeout_at = now + 64 * T1  # Timer H
        elif action is TransactionAction.STOP_TIMERS:
            self.resend_at = self.timeout_at = self.linger_at = None
        elif action is TransactionAction.LINGER:
            if self.state is TransactionState.ACCEPTED:
                self.linger_at = now + 64 * T1  # Timers L and M
            elif self.state is TransactionState.CONFIRMED:
                self.linger_at = now + min(self.linger, T4)  # Timer I
            else:
                self.linger_at = now + self.linger  # Timers D, J and K

    @property
    def repeats_responses(self) -> bool:
        """Whether timers repeat a response: that of a server, to a proven sender, over an unreliable transport."""
        return False

    def redirect(self, flow: EndpointT, now: float) -> bytes:
        """Let messages go to ``flow``. Returns what is to be sent there at once."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} {self.flow!r}>"


class ServerTransaction(Transaction[EndpointT]):
    """A request that is to be answered.

    ``source`` is the endpoint that it came from, ``flow`` where its responses go (RFC 3261 section 18.2.2).
    The table reports a lost connection to ``user``; the program reports a CANCEL and its own faults to it. ``proven``
    is whether the address of the sender is known to be its own: if not, no timer repeats a response, since a request
    with a forged source would cause ten times its bytes to be sent to the victim. ``size`` is the length of the request
    in bytes. ``credit`` is how many bytes the program's own responses may still have, ``forwarded`` how many those have
    that it has passed on from others; the program sets and charges them. ``vias`` may keep the Via fields of the
    responses. ``replaceable`` is whether its place may be given to another request once it is answered:
    :meth:`Transactions.has_place_in_half`.
    """

    __slots__ = (
        "credit", "disconnected", "forwarded", "holder", "key", "moved", "proven", "repeated", "replaceable", "request",
        "sender", "size", "source", "trying", "user", "vias",
    )  # fmt: skip

    def __init__(
        self,
        key: ServerKey,
        request: Request,
        source: EndpointT,
        flow: EndpointT,
        fire_due: Callable[[Transaction[EndpointT], float], None],
        size: int = 0,
    ) -> None:
        invite = request.method == "INVITE"
        # Timer I and Timer J are zero on a reliable transport; Timer L never is (RFC 6026 section 8.7).
        super().__init__(
            INVITE_SERVER if invite else SERVER,
            TransactionState.PROCEEDING if invite else TransactionState.TRYING,
            request.method,
            flow,
            64 * T1 if not flow.reliable else 0.0,
            fire_due,
        )
        self.key = key
        self.sender: Hashable = source.sender
        self.request = request
        self.source = source
        self.proven = True
        self.replaceable = False
        self.credit = math.inf
        self.forwarded = 0
        self.size = size
        self.holder: Hashable = None  # by whom it is counted
        self.trying: Callable[[], bytes] | None = None  # makes the 100
        self.disconnected = False  # whether the connection of ``flow`` has closed
        self.moved = False  # whether its responses go to another connection than at first
        self.repeated = False  # whether a repeated 2xx was sent to a sender that is not proven
        self.vias: Fields = []
        self.user: ServerUser | None = None

    @property
    def answered(self) -> bool:
        """Whether a final response was sent."""
        return self.state not in (TransactionState.TRYING, TransactionState.PROCEEDING)

    @property
    def repeats_responses(self) -> bool:
        return self.proven and not self.flow.reliable

    def redirect(self, flow: EndpointT, now: float) -> bytes:
        self.flow = flow
        self.disconnected = False
        self.moved = True  # its Via says nothing about the new peer's ports
        self.linger = 64 * T1 if not flow.reliable else 0.0
        if self.state is TransactionState.CONFIRMED:
            return b""
        if self.state is TransactionState.COMPLETED:
            if self.method != "INVITE":
                self.linger_at = now + self.linger
            elif self.repeats_responses:
                self.interval = T1
                self.resend_at = now + T1
        return self.data


class ClientTransaction(Transaction[EndpointT]):
    """A request that was sent. ``branch`` is that of its Via, which only receivers of the request know.

    ``ack`` builds the ACK of a refusal of INVITE; the user sets it after ``open_client``. ``wanted`` is whether the
    request is sent again where its connection closes before a response: the user sets it to False when it has given up.
    ``copies`` counts how often the request was given to the transport, ``unsent`` how many of these the transport has
    not sent; ``failure`` is why it has sent none, None where it has sent one. ``persists`` is whether a timer sends it
    again although there was no route: the user sets it after ``open_client``, for a request that can go nowhere else.
    """

    __slots__ = ("ack", "branch", "copies", "failure", "persists", "sent_again", "unsent", "user", "wanted")

    def __init__(
        self,
        branch: str,
        method: str,
        flow: EndpointT,
        data: bytes,
        user: TransactionUser[EndpointT],
        fire_due: Callable[[Transaction[EndpointT], float], None],
    ) -> None:
        invite = method == "INVITE"
        super().__init__(
            INVITE_CLIENT if invite else CLIENT,
            TransactionState.CALLING if invite else TransactionState.TRYING,
            method,
            flow,
            (64 * T1 if invite else T4) if not flow.reliable else 0.0,  # Timer D; Timer K
            fire_due,
        )
        self.branch = branch
        self.data = data
        self.user = user
        self.ack: Callable[[Response], bytes] | None = None
        self.wanted = True
        self.sent_again = False  # whether it was sent by a second connection
        self.copies = 1
        self.unsent = 0
        self.persists = False
        self.failure: SendFailure | None = None

    def redirect(self, flow: EndpointT, now: float) -> bytes:
        self.flow = flow
        invite = self.method == "INVITE"
        self.linger = (64 * T1 if invite else T4) if not flow.reliable else 0.0
        waits = self.state is TransactionState.CALLING or self.state is TransactionState.TRYING
        self.interval, self.resend_at = T1, None
        self.copies += waits
        self.failure = None
        if not flow.reliable and waits:
            self.resend_at = now + T1
        elif not flow.reliable and not invite and self.state is TransactionState.PROCEEDING:
            self.resend_at = now + T2
        return self.data if waits else b""


class _Nobody:
    """The user of a transaction that has ended, and of a request whose outcome changes nothing."""

    __slots__ = ()

    def on_response(self, transaction: object, response: Response, now: float, /) -> None: ...

    def on_failure(self, transaction: object, timeout: bool, now: float, /) -> None: ...


NOBODY: Final = _Nobody()
"""A transaction user that ignores the outcome of a request."""


def server_key(request: Request, method: str) -> ServerKey:
    """What a request and its server transaction have in common (section 17.2.3), besides their sender.

    With a branch of RFC 3261 that is branch, sent-by and method. Without, the fields that RFC 2543 compared, except
    the To tag, which the ACK of a refusal has and its INVITE has not.
    """
    via = request.via
    if via.branch[:7] == COOKIE and len(via.branch) > 7:
        return (via.branch, via.sent_by, method)
    return (str(request.uri), request.from_tag, request.call_id, str(request.cseq), str(via), method)
