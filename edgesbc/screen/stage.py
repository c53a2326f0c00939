"""The vocabulary of screening: phases, subjects, verdicts and what a stage is. Judges nothing itself."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from typing import Protocol

from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request, Response

__all__ = [
    "NOTHING",
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
]  # fmt: skip


class Phase(enum.Enum):
    """Where on its way something is judged; each later phase knows more and has cost more."""

    ACCEPT = "accept"
    """A connection was accepted: the peer's address, before TLS."""
    PACKET = "packet"
    """A datagram or a framed message came: source and size, before any parsing."""
    REQUEST = "request"
    """A request was parsed; it may be a retransmission."""
    CALL = "call"
    """A request that would start a dialog, and matches no transaction."""


class Pass:
    """Nothing stands against it. There is one instance, :data:`PASS`: compare with ``is``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PASS"


PASS = Pass()


class Reject:
    """Answer with ``status`` and, where set, Retry-After (seconds); in phases before REQUEST, a silent drop."""

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
    """Say nothing. ``ban`` asks for a penalty of so many seconds, narrowed by what the source has proven; ``wide``
    for one of the address, where all of its flows had a share in it.

    ``quiet`` drops are counted, but not recorded as decisions: the first of their kind already was.
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
    """What the signalling core has in hand when a call is judged.

    ``ringing`` are the calls of the subject's source that were not answered yet, ``trunk_calls`` those alive
    of its trunk, ``transactions`` those alive in all; ``lag`` says by how many seconds the edge is late.
    """

    __slots__ = ("lag", "ringing", "transactions", "trunk_calls")

    def __init__(self, ringing: int = 0, trunk_calls: int = 0, transactions: int = 0, lag: float = 0.0) -> None:
        self.ringing = ringing
        self.trunk_calls = trunk_calls
        self.transactions = transactions
        self.lag = lag


NOTHING = LoadSnapshot()


class Subject:
    """What is judged. Before phase REQUEST it is valid during one ``judge`` call: the pipeline uses it again.

    ``size`` is in bytes, 0 in phase ACCEPT; ``request`` is None before phase REQUEST. A flow of phase
    ACCEPT has no connection number yet and carries serial -1. ``load`` is filled in for phase CALL.
    """

    __slots__ = ("flow", "load", "request", "size", "standing", "trunk")

    def __init__(
        self, flow: Flow, standing: Standing, trunk: str | None = None, request: Request | None = None, size: int = 0
    ) -> None:
        self.flow = flow
        self.standing = standing
        self.trunk = trunk
        self.request = request
        self.size = size
        self.load = NOTHING

    @property
    def source(self) -> Hashable:
        """Who is held to a number: the flow of who is proven, otherwise the address, which may be forged."""
        return self.flow.peer[0] if self.standing is Standing.UNPROVEN else self.flow.key


class Stage(Protocol):
    """One judge of the gauntlet.

    Its class is made with ``(settings, standings)``. ``judge`` is a function of the subject, the time
    and the stage's own state; what it raises rejects the one message it was asked about.
    """

    @property
    def name(self) -> str:
        """The stage's file name, policy key and metric label."""

    @property
    def phases(self) -> frozenset[Phase]:
        """The phases it wants to be asked in; empty where the settings leave it nothing to do."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict: ...


class ResponseListener(Stage, Protocol):
    """A stage that wants to know what became of requests: one that has ``answered``."""

    def answered(self, subject: Subject, response: Response, now: float) -> None:
        """The inside gave this final answer to a request of the public side. ``subject.standing`` is of now."""


class Observer(Protocol):
    """Who hears what became of messages after a pipeline has let them go on."""

    def misread(self, flow: Flow, now: float) -> None:
        """What came by ``flow`` could not be read."""

    def answered(self, flow: Flow, request: Request, response: Response, now: float) -> None:
        """The inside gave this final answer to a request of the public side."""
