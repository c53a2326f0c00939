"""The four transaction machines of RFC 3261 section 17, with RFC 6026 and RFC 4320, and a transaction as an object.

A transaction is one request and its responses on one hop. Four kinds exist, since INVITE waits for people and has an
ACK, and since a client sends what a server receives:

- INVITE client (:data:`INVITE_CLIENT`): Calling, Proceeding, then Accepted after a 2xx or Completed after a refusal;
- non-INVITE client (:data:`CLIENT`): Trying, Proceeding, Completed;
- INVITE server (:data:`INVITE_SERVER`): Proceeding, then Accepted, or Completed and Confirmed once the ACK is there;
- non-INVITE server (:data:`SERVER`): Trying, Proceeding, Completed.

Each is a table from a pair of state and event to the next state and the actions of that step, as the figures of the
RFC draw them. A pair that is not in the table is ignored: a late or repeated message changes nothing. The states
say what may still happen:

- in Calling, Trying and Proceeding no final response is there. A client repeats its request (over datagrams, until a
  provisional response stops an INVITE) and gives up at its time-out; a server waits for its user to respond;
- in Completed the final response is there, and repetitions of it, or of the request, are dealt with here alone;
- in Accepted a 2xx to INVITE is there. Each repetition of it goes to the user of a client, since a fork may have
  answered too (RFC 6026); repetitions of the INVITE are absorbed;
- in Confirmed repeated ACKs are absorbed;
- Terminated is the end: the transaction is in no table, and no event has an effect.

An event is a message, an order of the user, a timer or a fault of the transport. Three timers run in a transaction:
``resend_at`` (Timers A, E and G, and the 100 that a silent user is relieved of), ``timeout_at`` (B, F and H) and
``linger_at`` (D, I, J, K, L and M, the time for which repetitions may arrive). All are absolute times in seconds;
:mod:`edgesbc.sip.transactions` keeps the table of transactions, matches messages, and takes the steps.

The tables are data: ``docs/reference/transactions.md`` draws them, and a test holds each pair against the figures.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, Self, TypeVar

from edgesbc.sip.message import Fields, Request, Response

__all__ = [
    "CLIENT",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "SERVER",
    "T1",
    "T2",
    "T4",
    "ClientTransaction",
    "Endpoint",
    "EndpointT",
    "Machine",
    "ServerKey",
    "ServerTransaction",
    "ServerUser",
    "Transaction",
    "TransactionAction",
    "TransactionEvent",
    "TransactionState",
    "TransactionUser",
]

T1: Final = 0.5
"""Estimate of the round trip, seconds (RFC 3261 section 17.1.1.1)."""
T2: Final = 4.0
"""Longest interval between retransmissions of a non-INVITE request and of a refusal of INVITE, seconds."""
TRYING_SECONDS: Final = 0.2
"""An INVITE without a response for this long gets 100 (RFC 3261 section 17.2.1)."""
LATE_TRYING_SECONDS: Final = 7 * T1
"""Any other request without a response gets 100 when the Timer E of its sender reaches T2 (RFC 4320 section 4.1)."""
T4: Final = 5.0
"""Longest time that a message stays in the network, seconds."""


class TransactionState(enum.Enum):
    """The states of all four machines; no machine has all of them."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__  # members are singletons; the table is looked up for each message


class TransactionEvent(enum.Enum):
    """What causes a step: a message received or, on the server side, a response to send; a timer; a fault."""

    REQUEST = "request again"
    ACK = "ACK"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "300-699"
    RETRANSMIT = "retransmission timer (A, E, G)"
    SILENCE = "no answer so far"
    TIMEOUT = "time-out (B, F, H)"
    LINGER = "linger timer (D, I, J, K, L, M)"
    TRANSPORT = "transport error"

    __hash__ = object.__hash__


class TransactionAction(enum.Enum):
    """What is done in a step."""

    SEND = "send"
    """Server: send the answer that caused the event, and keep it for retransmission."""
    RESEND = "send again"
    PASS = "pass to the user"
    ACK = "send ACK"
    INFORM = "inform the user of the failure"
    BACK_OFF = "set the retransmission timer again, longer"
    START_RETRANSMIT = "set Timer G"
    START_TIMEOUT = "set Timer H"
    TRYING = "send 100, unless something was sent"
    STOP_TIMERS = "stop all timers"
    LINGER = "set the linger timer"

    __hash__ = object.__hash__


Machine = dict[tuple[TransactionState, TransactionEvent], tuple[TransactionState, tuple[TransactionAction, ...]]]

_S, _E, _A = TransactionState, TransactionEvent, TransactionAction
_FAIL = (_S.TERMINATED, (_A.STOP_TIMERS, _A.INFORM))
_END = (_S.TERMINATED, (_A.STOP_TIMERS,))

# Section 17.1.1, with Accepted and Timer M of RFC 6026 section 7.2.
INVITE_CLIENT: Final[Machine] = {
    (_S.CALLING, _E.RETRANSMIT): (_S.CALLING, (_A.RESEND, _A.BACK_OFF)),
    (_S.CALLING, _E.TIMEOUT): _FAIL,
    (_S.CALLING, _E.TRANSPORT): _FAIL,
    (_S.CALLING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.STOP_TIMERS, _A.PASS)),
    (_S.CALLING, _E.SUCCESS): (_S.ACCEPTED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.CALLING, _E.FAILURE): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.ACK, _A.PASS)),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.PASS,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.ACCEPTED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.ACK, _A.PASS)),
    # Set by the user with a CANCEL: an answer is then due within 64*T1 (section 9.1).
    (_S.PROCEEDING, _E.TIMEOUT): _FAIL,
    (_S.PROCEEDING, _E.TRANSPORT): _FAIL,
    (_S.ACCEPTED, _E.SUCCESS): (_S.ACCEPTED, (_A.PASS,)),
    (_S.ACCEPTED, _E.LINGER): _END,
    # A transport error ends nothing here (section 17.1.1.2 would end it): it may be forged, and to go on
    # costs one ACK for each repeated answer until Timer D.
    (_S.COMPLETED, _E.FAILURE): (_S.COMPLETED, (_A.ACK,)),
    (_S.COMPLETED, _E.LINGER): _END,
}

# Section 17.1.2.
CLIENT: Final[Machine] = {
    (_S.TRYING, _E.RETRANSMIT): (_S.TRYING, (_A.RESEND, _A.BACK_OFF)),
    (_S.TRYING, _E.TIMEOUT): _FAIL,
    (_S.TRYING, _E.TRANSPORT): _FAIL,
    (_S.TRYING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.PASS,)),
    (_S.TRYING, _E.SUCCESS): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.TRYING, _E.FAILURE): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.PROCEEDING, _E.RETRANSMIT): (_S.PROCEEDING, (_A.RESEND, _A.BACK_OFF)),
    (_S.PROCEEDING, _E.TIMEOUT): _FAIL,
    (_S.PROCEEDING, _E.TRANSPORT): _FAIL,
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.PASS,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, (_A.STOP_TIMERS, _A.LINGER, _A.PASS)),
    (_S.COMPLETED, _E.LINGER): _END,
}

# Section 17.2.1, with Accepted and Timer L of RFC 6026 section 7.1.
INVITE_SERVER: Final[Machine] = {
    (_S.PROCEEDING, _E.REQUEST): (_S.PROCEEDING, (_A.RESEND,)),
    (_S.PROCEEDING, _E.SILENCE): (_S.PROCEEDING, (_A.TRYING,)),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.ACCEPTED, (_A.SEND, _A.STOP_TIMERS, _A.LINGER)),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, (_A.SEND, _A.START_RETRANSMIT, _A.START_TIMEOUT)),
    # RFC 6026 section 7.1 stays here, since an answer could go to another address; a flow has no other.
    (_S.PROCEEDING, _E.TRANSPORT): _FAIL,
    (_S.ACCEPTED, _E.SUCCESS): (_S.ACCEPTED, (_A.SEND,)),
    (_S.ACCEPTED, _E.LINGER): _END,
    (_S.COMPLETED, _E.REQUEST): (_S.COMPLETED, (_A.RESEND,)),
    (_S.COMPLETED, _E.RETRANSMIT): (_S.COMPLETED, (_A.RESEND, _A.BACK_OFF)),
    (_S.COMPLETED, _E.ACK): (_S.CONFIRMED, (_A.STOP_TIMERS, _A.LINGER)),
    (_S.COMPLETED, _E.TIMEOUT): _END,
    (_S.COMPLETED, _E.TRANSPORT): _END,
    (_S.CONFIRMED, _E.LINGER): _END,
}

# Section 17.2.2. RFC 4320: the user sends no 408, and no 1xx; the one there is is a late 100.
SERVER: Final[Machine] = {
    (_S.TRYING, _E.SILENCE): (_S.PROCEEDING, (_A.TRYING,)),
    (_S.TRYING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.TRYING, _E.SUCCESS): (_S.COMPLETED, (_A.SEND, _A.STOP_TIMERS, _A.LINGER)),
    (_S.TRYING, _E.FAILURE): (_S.COMPLETED, (_A.SEND, _A.STOP_TIMERS, _A.LINGER)),
    (_S.TRYING, _E.TRANSPORT): _FAIL,
    (_S.PROCEEDING, _E.REQUEST): (_S.PROCEEDING, (_A.RESEND,)),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.COMPLETED, (_A.SEND, _A.STOP_TIMERS, _A.LINGER)),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, (_A.SEND, _A.STOP_TIMERS, _A.LINGER)),
    (_S.PROCEEDING, _E.TRANSPORT): _FAIL,
    (_S.COMPLETED, _E.REQUEST): (_S.COMPLETED, (_A.RESEND,)),
    (_S.COMPLETED, _E.LINGER): _END,
}


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

    def same_peer(self, other: Self, /) -> bool:
        """Whether a response that came from ``other`` can be one to a request that was sent here.

        The branch is compared before. Compare the local address and the IP address of the peer, not its port: a
        response may come from another port or by another connection.
        """


EndpointT = TypeVar("EndpointT", bound=Endpoint)


class TransactionUser(Protocol[EndpointT]):
    """The sender of a request, which is told the outcome (the TU of RFC 3261 section 5)."""

    def on_response(self, transaction: ClientTransaction[EndpointT], response: Response, now: float, /) -> None:
        """A response that is no repetition; a 2xx to INVITE may come several times."""

    def on_failure(self, transaction: ClientTransaction[EndpointT], timeout: bool, now: float, /) -> None:
        """No final response will come, because of a time-out or (``timeout`` False) of a transport error."""


class ServerUser(Protocol):
    """The user of a request that came in: gives its responses, and is told where the request ends in another way."""

    def on_cancel(self, reasons: Sequence[str], now: float, /) -> None:
        """The request was cancelled (RFC 3261 section 9.2); ``reasons`` are the Reason values of the CANCEL."""

    def on_connection_lost(self, now: float, /) -> None:
        """The connection that the request came by closed before its final response: no response can be sent."""

    def on_internal_error(self, now: float, /) -> None:
        """A fault of the program ended its processing: respond with 500."""


class Transaction(Generic[EndpointT]):
    """What the four machines have in common. Opened by ``Transactions``, never directly.

    ``flow`` is the endpoint that messages go to; ``data`` is what a retransmission sends. ``due`` and ``queued``
    belong to the calendar of deadlines, which calls :meth:`expire`.
    """

    __slots__ = (
        "_fire_due", "data", "due", "flow", "interval", "linger", "linger_at", "machine", "method", "queued",
        "resend_at", "state", "timeout_at",
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} {self.flow!r}>"


class ServerTransaction(Transaction[EndpointT]):
    """A request that is to be answered.

    ``source`` is the endpoint that it came from, ``flow`` where its responses go (RFC 3261 section 18.2.2).
    ``user`` is told of a lost connection; the program tells it of a CANCEL and of its own faults. ``proven`` is
    whether the address of the sender is known to be its own: if not,
    no timer repeats a response, since a request with a forged source would cause ten times its bytes to be sent to
    the victim. ``size`` is the length of the request in bytes, ``credit`` how many bytes the responses may still have;
    the user of the library sets and charges them. ``vias`` may keep the Via fields of the responses.
    """

    __slots__ = ("credit", "key", "proven", "repeated", "request", "size", "source", "trying", "user", "vias")

    def __init__(
        self,
        key: ServerKey,
        request: Request,
        source: EndpointT,
        flow: EndpointT,
        fire_due: Callable[[Transaction[EndpointT], float], None],
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
        self.request = request
        self.source = source
        self.proven = True
        self.credit = math.inf
        self.size = 0
        self.trying: Callable[[], bytes] | None = None  # makes the 100
        self.repeated = False  # whether a repeated 2xx was sent to a sender that is not proven
        self.vias: Fields = []
        self.user: ServerUser | None = None

    @property
    def answered(self) -> bool:
        """Whether a final response was sent."""
        return self.state not in (TransactionState.TRYING, TransactionState.PROCEEDING)


class ClientTransaction(Transaction[EndpointT]):
    """A request that was sent. ``branch`` is that of its Via, which no stranger can guess.

    ``ack`` builds the ACK of a refusal of INVITE; the user sets it after ``open_client``.
    """

    __slots__ = ("ack", "branch", "user")

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
