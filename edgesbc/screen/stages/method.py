"""Stage ``method``: the methods that each side may send. The signalling core adds Allow to the 405."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Zone
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import sip_methods
from edgesbc.screen.stage import PASS, Phase, Reject, Subject, Verdict
from edgesbc.screen.standing import Standings

__all__ = ["Method", "MethodSettings"]

CALLS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY")


@attrs.frozen
class MethodSettings:
    """``[screen.method]``."""

    public: tuple[str, ...] = attrs.field(default=CALLS, validator=sip_methods)
    """Methods that the public side may send, which are those of calls and registrations. MESSAGE, SUBSCRIBE and
    PUBLISH have to be added, because few operators harden the servers that process them."""
    core: tuple[str, ...] = attrs.field(default=(*CALLS, "MESSAGE", "SUBSCRIBE", "PUBLISH"), validator=sip_methods)
    """Methods that the private side may send."""

    def allowed(self, zone: Zone) -> tuple[str, ...]:
        """The methods for an Allow header field to a peer in ``zone``."""
        return self.public if zone is Zone.PUBLIC else self.core


class Method:
    name = "method"
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: MethodSettings, standings: Standings) -> None:
        self._public = frozenset(settings.public)
        self._core = frozenset(settings.core)

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        assert subject.request is not None  # noqa: S101 - the phase comes with one
        allowed = self._public if subject.flow.listener.zone is Zone.PUBLIC else self._core
        return PASS if subject.request.method in allowed else Reject(405, Reason.METHOD)
