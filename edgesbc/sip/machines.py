"""The four transaction machines of RFC 3261 section 17, with RFC 6026 and RFC 4320, as tables.

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
``resend_at`` (Timers A, E and G, and the 100 that is sent for a silent user), ``timeout_at`` (B, F and H) and
``linger_at`` (D, I, J, K, L and M, the time for which repetitions may arrive). All are absolute times in seconds;
:mod:`edgesbc.sip.transactions` keeps the table of transactions, matches messages, and takes the steps.

The tables are data: ``docs/reference/transactions.md`` draws them, and a test holds each pair against the figures.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "CLIENT",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "LATE_TRYING_SECONDS",
    "SERVER",
    "T1",
    "T2",
    "T4",
    "TRYING_SECONDS",
    "Machine",
    "TransactionAction",
    "TransactionEvent",
    "TransactionState",
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
