"""The four transaction machines of RFC 3261 section 17, with RFC 6026 and RFC 4320, and a transaction as a value.

A machine is a dict from (state, event) to (next state, actions). A pair that is not in the table is
ignored: that, too, is what the RFC says. Nothing here knows of calls or of sockets, and nothing moves by
itself: :mod:`edgesbc.sip.transactions` drives it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Final, Protocol

from edgesbc.base.address import Flow
from edgesbc.sip.message import Fields, Request, Response

__all__ = [
    "CLIENT",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "SERVER",
    "T1",
    "T2",
    "T4",
    "Action",
    "ClientTransaction",
    "Event",
    "Machine",
    "ServerKey",
    "ServerTransaction",
    "State",
    "Transaction",
    "TransactionUser",
]

T1: Final = 0.5
"""Estimate of the round trip, seconds (RFC 3261 section 17.1.1.1)."""
T2: Final = 4.0
"""Longest interval between retransmissions of a non-INVITE request and of a final INVITE answer."""
TRYING_SECONDS: Final = 0.2
"""An INVITE that has had no answer for so long gets 100 (RFC 3261 section 17.2.1)."""
LATE_TRYING_SECONDS: Final = 7 * T1
"""Any other request gets it when its sender's Timer E has come to T2 (RFC 4320 section 4.1)."""
T4: Final = 5.0
"""How long a message stays in the network."""


class State(enum.Enum):
    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"

    __hash__ = object.__hash__  # members are singletons; the table is looked up for each message


class Event(enum.Enum):
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


class Action(enum.Enum):
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


Machine = dict[tuple[State, Event], tuple[State, tuple[Action, ...]]]

_S, _E, _A = State, Event, Action
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


class TransactionUser(Protocol):
    """Who sends requests and hears what became of them."""

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None: ...

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        """No final answer will come: of a time-out or (``timeout`` False) of a transport error."""


class Transaction:
    """What the four machines share."""

    __slots__ = (
        "data", "due", "flow", "interval", "linger", "linger_at", "machine", "method", "queued", "resend_at",
        "state", "timeout_at",
    )  # fmt: skip

    def __init__(self, machine: Machine, state: State, method: str, flow: Flow, linger: float) -> None:
        self.machine = machine
        self.state = state
        self.method = method
        self.flow = flow
        self.linger = linger
        self.data = b""  # what retransmission sends
        self.interval = T1
        self.resend_at: float | None = None
        self.timeout_at: float | None = None
        self.linger_at: float | None = None
        self.due: float | None = None
        self.queued: float | None = None

    @property
    def next_due(self) -> float | None:
        """The earliest of the timers that are set."""
        due = self.resend_at
        for at in (self.timeout_at, self.linger_at):
            if at is not None and (due is None or at < due):
                due = at
        return due

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.state.value} {self.flow!r}>"


class ServerTransaction(Transaction):
    """A request that the edge has to answer.

    ``source`` is the flow it came by, ``flow`` where answers go (RFC 3261 section 18.2.2). ``proven`` is
    whether the sender is known to be there; to one that is not, no timer repeats an answer, or a request
    with a forged source would have us send ten times what it cost. ``credit`` is how many bytes answers of
    the edge's own may still have, ``size`` how many the request had, and so each true repetition of it.
    """

    __slots__ = ("context", "credit", "key", "proven", "repeated", "request", "size", "source", "trying", "vias")

    def __init__(self, key: ServerKey, request: Request, source: Flow, flow: Flow) -> None:
        invite = request.method == "INVITE"
        # Timer I and Timer J are zero on a reliable transport; Timer L never is (RFC 6026 section 8.7).
        linger = 64 * T1 if not flow.reliable else 0.0
        super().__init__(
            INVITE_SERVER if invite else SERVER,
            State.PROCEEDING if invite else State.TRYING,
            request.method,
            flow,
            linger,
        )
        self.key = key
        self.request = request
        self.source = source
        self.proven = True
        self.credit = math.inf
        self.size = 0
        self.trying: Callable[[], bytes] | None = None  # makes the 100
        self.repeated = False  # a 2xx, which the far side sends again until it is acknowledged
        self.vias: Fields = []  # of its answers, once its user has worked them out
        self.context: object = None  # whatever its user wants to find again

    @property
    def answered(self) -> bool:
        """Whether a final answer was sent."""
        return self.state not in (State.TRYING, State.PROCEEDING)


class ClientTransaction(Transaction):
    """A request that the edge sent; ``branch`` is ours and cannot be guessed."""

    __slots__ = ("ack", "branch", "user")

    def __init__(self, branch: str, method: str, flow: Flow, data: bytes, user: TransactionUser) -> None:
        invite = method == "INVITE"
        linger = (64 * T1 if invite else T4) if not flow.reliable else 0.0  # Timer D; Timer K
        super().__init__(
            INVITE_CLIENT if invite else CLIENT,
            State.CALLING if invite else State.TRYING,
            method,
            flow,
            linger,
        )
        self.branch = branch
        self.data = data
        self.user = user
        self.ack: Callable[[Response], bytes] | None = None
