"""The types of screening: phases, subjects, verdicts, and the interface of a stage."""

from __future__ import annotations

import enum
from typing import Protocol, TypeGuard

from edgesbc.base.address import Flow, FlowKey, SourceKey
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import FLOW_SECRET, Standing
from edgesbc.sip.message import Request, Response

__all__ = [
    "NO_LOAD",
    "PASS",
    "Drop",
    "LoadSnapshot",
    "Observer",
    "Pass",
    "Phase",
    "Reject",
    "ResponseListener",
    "Stage",
    "Subject",
    "Verdict",
    "judges_trunks",
    "key_with_secret",
    "wants_responses",
]  # fmt: skip


class Phase(enum.Enum):
    """The step at which a subject is judged; each later phase has more information and has cost more."""

    ACCEPT = "accept"
    """A connection was accepted: the peer's address is known, before TLS."""
    PACKET = "packet"
    """A datagram or a framed message arrived: source and size are known, before parsing."""
    REQUEST = "request"
    """A request was parsed; it may be a retransmission."""
    CALL = "call"
    """The request is outside a dialog and matches no transaction."""

    __hash__ = object.__hash__  # members are singletons; stages are looked up by phase for each message


class Pass:
    """The stage does not object. There is one instance, :data:`PASS`: compare with ``is``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PASS"


PASS = Pass()


class Reject:
    """Respond with ``status`` and, where set, Retry-After (seconds); before phase REQUEST, drop without response."""

    __slots__ = ("detail", "limit", "reason", "retry_after", "status", "value")

    def __init__(
        self,
        status: int,
        reason: Reason,
        retry_after: int | None = None,
        limit: float | None = None,
        value: float | None = None,
        detail: str = "",
    ) -> None:
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.limit = limit
        self.value = value
        self.detail = detail

    def __repr__(self) -> str:
        return f"Reject({self.status}, {self.reason.code})"


class Drop:
    """Drop without a response.

    ``ban`` asks for a ban of that many seconds; the standing of the source limits its scope. ``wide`` asks for a ban on
    the whole address, because several of its flows took part.

    ``quiet`` drops are counted but not recorded as decisions, because the first of their kind was.
    """

    __slots__ = ("ban", "detail", "limit", "quiet", "reason", "value", "wide")

    def __init__(
        self,
        reason: Reason,
        limit: float | None = None,
        value: float | None = None,
        ban: float = 0.0,
        quiet: bool = False,
        detail: str = "",
        wide: bool = False,
    ) -> None:
        self.reason = reason
        self.limit = limit
        self.value = value
        self.ban = ban
        self.wide = wide
        self.quiet = quiet
        self.detail = detail

    def __repr__(self) -> str:
        return f"Drop({self.reason.code}{', quiet' if self.quiet else ''})"


Verdict = Pass | Reject | Drop


class LoadSnapshot:
    """The load of the signalling core when a call is judged.

    ``ringing`` is the number of unanswered calls of the subject's source, ``trunk_calls`` that of its trunk's calls,
    ``transactions`` that of all transactions, ``calls`` that of all calls of the subject's account or address, answered
    or not; ``lag`` is by how many seconds the event loop is late.
    """

    __slots__ = ("calls", "lag", "ringing", "transactions", "trunk_calls")

    def __init__(
        self, ringing: int = 0, trunk_calls: int = 0, transactions: int = 0, lag: float = 0.0, calls: int = 0
    ) -> None:
        self.calls = calls
        self.ringing = ringing
        self.trunk_calls = trunk_calls
        self.transactions = transactions
        self.lag = lag


NO_LOAD = LoadSnapshot()


class Subject:
    """A connection, packet or request that is judged. Before phase REQUEST it is valid during one ``judge`` call only:
    the pipeline reuses it.

    ``size`` is in bytes, 0 in phase ACCEPT; ``request`` is None before phase REQUEST. A flow of phase
    ACCEPT has no connection number yet: its serial is -1. ``load`` is set for phase CALL. ``data`` is the datagram in
    phase PACKET, where it is known. ``with_secret`` is whether a request of a registered UDP flow has credentials with
    a nonce that was sent to that flow: then it was not forged by somebody else. ``in_call`` is whether the request
    belongs to a call that is alive, and comes from where its peer is; it is set from phase REQUEST on. A tag in To
    alone shows nothing.
    """

    __slots__ = ("data", "flow", "in_call", "load", "request", "size", "standing", "trunk", "with_secret")

    def __init__(
        self, flow: Flow, standing: Standing, trunk: str | None = None, request: Request | None = None, size: int = 0
    ) -> None:
        self.flow = flow
        self.standing = standing
        self.trunk = trunk
        self.request = request
        self.size = size
        self.load = NO_LOAD
        self.data = b""
        self.with_secret = False
        self.in_call = False

    @property
    def source(self) -> SourceKey:
        """The key by which requests are counted: a proven flow, or the address, which may be forged. Requests with a
        secret of their flow are counted apart from those that may be forged."""
        if self.with_secret:
            return key_with_secret(self.flow)
        return self.flow.peer[0] if self.standing is Standing.UNPROVEN else self.flow.key


def key_with_secret(flow: Flow, secret: int = FLOW_SECRET) -> FlowKey:
    """The key by which messages that carry a secret of ``flow``, a registered one over UDP, are counted: those with
    ``FLOW_SECRET`` together, and those of each call."""
    listener, host, port, _ = flow.key
    return listener, host, port, secret


class Stage(Protocol):
    """One step of screening.

    Its class is called with ``(settings, standings)``. ``judge`` is a function of the subject, the time
    and the stage's own state; an exception that it raises rejects the one message that it judged.
    """

    @property
    def name(self) -> str:
        """The stage's file name, policy key and metric label."""

    @property
    def phases(self) -> frozenset[Phase]:
        """The phases in which the stage judges; empty where its settings leave it nothing to do."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict: ...


class ResponseListener(Stage, Protocol):
    """A stage that also gets the final responses to requests."""

    def answered(self, subject: Subject, response: Response, now: float) -> None:
        """The private side sent this final response to a request of the public side. ``subject.standing`` is
        the standing at ``now``."""


def wants_responses(stage: Stage) -> TypeGuard[ResponseListener]:
    """Whether a stage is a :class:`ResponseListener`: it has ``answered``."""
    return hasattr(stage, "answered")


def judges_trunks(stage: Stage) -> bool:
    """Whether a stage may object to what trunks and the private side send: it does, unless its class has
    ``judges_trunks = False``. The pipeline does not ask the others about them."""
    return bool(getattr(stage, "judges_trunks", True))


class Observer(Protocol):
    """The interface for what happens to messages after a pipeline has passed them."""

    def malformed(self, flow: Flow, now: float) -> None:
        """A message that arrived by ``flow`` could not be parsed."""

    def token_misused(self, subject: Subject, now: float) -> None:
        """A request was refused, since its token was made for another peer or dialog; the subject is the live one."""

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """The private side sent this final response to a request of the public side."""
