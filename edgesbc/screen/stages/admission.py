"""Stage ``admission``: who may begin something, and how many calls at once. Knows no numbers and no routes."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Zone
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between
from edgesbc.screen.rejection import reject_with_retry_after
from edgesbc.screen.stage import PASS, Drop, Phase, Reject, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Admission", "AdmissionSettings"]

_RETRY_SECONDS = 4
"""A call that rings is answered or given up soon."""


@attrs.frozen
class AdmissionSettings:
    """``[screen.admission]``: from the public side a call, or anything else outside of dialogs but REGISTER, is taken
    from trunks and from registered flows.

    Credentials in the request change nothing: whoever calls with a password and does not register is a trunk,
    or comes by a listener that is open.
    """

    open: tuple[str, ...] = ()
    """Listeners by name, or ``public`` for all of them, by which anybody may call."""
    ringing: int = attrs.field(default=20, validator=between(1, 20_000))
    """Calls of one source that ring at once; of trunks, ``max_calls`` alone counts."""


class Admission:
    name = "admission"
    phases = frozenset({Phase.CALL})

    def __init__(self, settings: AdmissionSettings, standings: Standings) -> None:
        self._open = frozenset(settings.open)
        self._everywhere = Zone.PUBLIC.value in self._open
        self._ringing = settings.ringing
        self._most = {trunk.name: trunk.max_calls for trunk in standings.trunks.values() if trunk.max_calls is not None}

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, listener, standing = subject.request, subject.flow.listener, subject.standing
        assert request is not None  # noqa: S101 - the phase comes with one
        if listener.zone is Zone.CORE:
            return PASS
        if standing is Standing.TRUNK:
            return self._of_trunk(subject)
        if request.method == "REGISTER":
            return PASS  # it is how one comes to be registered
        if standing < Standing.REGISTERED and not self._everywhere and listener.name not in self._open:
            if standing is Standing.UNPROVEN:
                return Drop(Reason.ADMISSION)
            return Reject(Reason.ADMISSION.status, Reason.ADMISSION)
        ringing = subject.load.ringing
        if request.method == "INVITE" and ringing >= self._ringing:
            return reject_with_retry_after(subject, Reason.RINGING, _RETRY_SECONDS, self._ringing, ringing)
        return PASS

    def _of_trunk(self, subject: Subject) -> Verdict:
        most = self._most.get(subject.trunk or "")
        alive = subject.load.trunk_calls
        if most is None or alive < most or subject.request is None or subject.request.method != "INVITE":
            return PASS
        return reject_with_retry_after(subject, Reason.TRUNK_CALLS, _RETRY_SECONDS, most, alive)
