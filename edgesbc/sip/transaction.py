"""The four transaction machines of RFC 3261 section 17, with RFC 6026 and RFC 4320, as tables.

A machine is a dict from (state, event) to (next state, actions). A pair that is not in the table is
ignored: that, too, is what the RFC says. Nothing here knows of calls or of sockets; bytes go out through
the callable that :class:`Transactions` is given.
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "CLIENT",
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "SERVER",
    "T1",
    "T2",
    "T4",
    "Action",
    "Event",
    "Machine",
    "State",
]

T1: Final = 0.5
"""Estimate of the round trip, seconds (RFC 3261 section 17.1.1.1)."""
T2: Final = 4.0
"""Longest interval between retransmissions of a non-INVITE request and of a final INVITE answer."""
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
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.ACCEPTED, (_A.SEND, _A.LINGER)),
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

# Section 17.2.2. RFC 4320: the user sends no 408, and no 1xx but a late 100.
SERVER: Final[Machine] = {
    (_S.TRYING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.TRYING, _E.SUCCESS): (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    (_S.TRYING, _E.FAILURE): (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    (_S.TRYING, _E.TRANSPORT): _FAIL,
    (_S.PROCEEDING, _E.REQUEST): (_S.PROCEEDING, (_A.RESEND,)),
    (_S.PROCEEDING, _E.PROVISIONAL): (_S.PROCEEDING, (_A.SEND,)),
    (_S.PROCEEDING, _E.SUCCESS): (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    (_S.PROCEEDING, _E.FAILURE): (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    (_S.PROCEEDING, _E.TRANSPORT): _FAIL,
    (_S.COMPLETED, _E.REQUEST): (_S.COMPLETED, (_A.RESEND,)),
    (_S.COMPLETED, _E.LINGER): _END,
}
