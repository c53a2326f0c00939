"""Stage ``admission``: which sources may send requests outside dialogs, and how many calls each may have at once."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between
from edgesbc.screen.rejection import reject_with_retry_after
from edgesbc.screen.stage import PASS, Drop, Phase, Reject, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Admission", "AdmissionSettings"]

_RETRY_SECONDS = 4
"""Short, because a ringing call is soon answered or given up."""


@attrs.frozen
class AdmissionSettings:
    """``[screen.admission]``: on the public side, calls and other requests outside dialogs, except REGISTER, are
    accepted from trunks and from registered flows only.

    Credentials in the request make no difference: a peer that calls with a password and does not register must be
    listed as a trunk, or use a listener that is open.
    """

    open: tuple[str, ...] = ()
    """Names of listeners, or ``public`` for all public ones, that accept calls from any source."""
    ringing: int = attrs.field(default=20, validator=between(1, 20_000))
    """Ringing calls of one source at once. For trunks, ``max_calls`` counts instead."""
    calls: int = attrs.field(default=200, validator=between(1, limits.CALLS_MOST))
    """Calls of one account, or of one address without an account, at once: also answered ones, and those on hold.
    Calls by datagrams that may be forged are counted apart."""


class Admission:
    name = "admission"
    phases = frozenset({Phase.CALL})

    def __init__(self, settings: AdmissionSettings, standings: Standings) -> None:
        self._open = frozenset(settings.open)
        self._everywhere = Zone.PUBLIC.value in self._open
        self._ringing = settings.ringing
        self._calls = settings.calls
        self._max_calls = {
            trunk.name: trunk.max_calls for trunk in standings.trunks.values() if trunk.max_calls is not None
        }

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, listener, standing = subject.request, subject.flow.listener, subject.standing
        assert request is not None  # noqa: S101 - the phase comes with one
        if listener.zone is Zone.CORE:
            return PASS
        if standing is Standing.TRUNK:
            return self._judge_trunk(subject)
        if request.method == "REGISTER":
            return PASS
        if standing < Standing.REGISTERED and not self._everywhere and listener.name not in self._open:
            if standing is Standing.UNPROVEN:
                return Drop(Reason.ADMISSION)
            return Reject(Reason.ADMISSION.status, Reason.ADMISSION)
        ringing = subject.load.ringing
        if request.method == "INVITE" and ringing >= self._ringing:
            return reject_with_retry_after(subject, Reason.RINGING, _RETRY_SECONDS, self._ringing, ringing)
        calls = subject.load.calls
        if request.method == "INVITE" and calls >= self._calls:
            return reject_with_retry_after(subject, Reason.SOURCE_CALLS, _RETRY_SECONDS, self._calls, calls)
        return PASS

    def _judge_trunk(self, subject: Subject) -> Verdict:
        max_calls = self._max_calls.get(subject.trunk or "")
        calls = subject.load.trunk_calls
        if max_calls is None or calls < max_calls or subject.request is None or subject.request.method != "INVITE":
            return PASS
        return reject_with_retry_after(subject, Reason.TRUNK_CALLS, _RETRY_SECONDS, max_calls, calls)
