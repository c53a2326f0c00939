"""Calls: the table of calls alive, and what each holds until its end; CallSetup: one call until its final answer."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TypeVar

from edgesbc.base import limits
from edgesbc.base.address import CallHolder, Flow, SourceKey, Zone
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.reasons import Reason
from edgesbc.signalling.call import Call, CallState, Leg, leg_of_caller
from edgesbc.signalling.calls_of_connections import CallsOfConnections
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.ended_calls import EndedCalls
from edgesbc.signalling.media_client import MediaClient
from edgesbc.signalling.request_sender import ByeSender
from edgesbc.signalling.statistics import CallStatistics
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.message import Message, Request, Response

__all__ = ["CallLimits", "CallSetup", "Calls"]

_Key = TypeVar("_Key", bound=Hashable)


class CallLimits:
    """``count``: calls at once. ``set_up``: seconds between two provisional answers (Timer C), ``ringing``: of all of
    them together, ``duration``: of a call."""

    __slots__ = ("count", "duration", "ringing", "set_up")

    def __init__(self, count: int, set_up: float, ringing: float, duration: float) -> None:
        self.count = count
        self.set_up = set_up
        self.ringing = ringing
        self.duration = duration


class Calls:
    """The calls alive, by the identifier of each, and by Call-ID, caller's tag and caller's side.

    The latter several calls may share, ``limits.CALLS_PER_CALL_ID`` at most: a proxy that forks or hunts sends an
    INVITE for each phone of a user. ``epoch`` is that of :class:`edgesbc.signalling.flows.Flows`.
    """

    __slots__ = (
        "_begun",
        "_by_dialog",
        "_byes",
        "_calls",
        "_deadlines",
        "_effects",
        "_ended",
        "_epoch",
        "_media",
        "_statistics",
        "by_holder",
        "by_trunk",
        "limits",
        "of_connections",
        "ringing",
    )

    def __init__(
        self,
        effects: EffectQueue,
        deadlines: Deadlines[Expiring],
        media: MediaClient,
        byes: ByeSender,
        statistics: CallStatistics,
        bounds: CallLimits,
        epoch: str,
    ) -> None:
        self._effects = effects
        self._epoch = epoch
        self._deadlines = deadlines
        self._media = media
        self._byes = byes
        self._statistics = statistics
        self._begun = 0
        self._calls: dict[str, Call] = {}  # by media_id
        self._by_dialog: dict[tuple[str, str, Zone], list[Call]] = {}
        self._ended = EndedCalls()
        self.of_connections = CallsOfConnections()
        self.limits = bounds
        self.by_trunk: dict[str, int] = {}
        """Calls alive of each trunk."""
        self.by_holder: dict[CallHolder, int] = {}
        """Calls alive of each account, and of each address without one, that is no trunk."""
        self.ringing: dict[SourceKey, int] = {}
        """Calls that were not answered yet, of each source that is no trunk."""

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(tuple(self._calls.values()))

    @property
    def half_full(self) -> bool:
        """Whether half of the limit is reached, which is all that sources without an account have."""
        return 2 * len(self._calls) >= self.limits.count

    @property
    def full(self) -> bool:
        return len(self._calls) >= self.limits.count

    def has_room(self, invite: Request, flow: Flow) -> bool:
        """Whether one more call from the address of ``flow`` may have the Call-ID, From tag and side of ``invite``.

        Calls from other addresses do not count: who predicts the Call-ID and tag of somebody else keeps none of those
        calls out.
        """
        same = self._by_dialog.get((invite.call_id, invite.from_tag, flow.listener.zone))
        if same is None or len(same) < limits.CALLS_PER_CALL_ID:
            return True
        host = flow.peer[0]
        return sum(call.caller.first.peer[0] == host for call in same) < limits.CALLS_PER_CALL_ID

    def find(self, message: Message, zone: Zone, number: int = 0) -> Call | None:
        """The call that a message inside a dialog, from ``zone``, belongs to; None where there is none, or several.

        ``number`` is that of the call which the token in its Request-URI names, 0 if it names none. Without one, it is
        the call with both tags, or the only one that the tag of its caller leads to: a callee may have a tag that the
        edge has not seen yet.
        """
        calls = self.of_tags(message.call_id, message.from_tag, message.to_tag, zone)
        if number:
            for call in calls:
                if call.number == number:
                    return call
            return None
        if len(calls) > 1:
            calls = [call for call in calls if call.is_dialog(message.from_tag, message.to_tag)]
        return calls[0] if len(calls) == 1 else None

    def of_tags(self, call_id: str, from_tag: str, to_tag: str, zone: Zone) -> list[Call]:
        """The calls that a message from ``zone`` with these tags may belong to: their caller is in that zone, or their
        callee is.

        A proxy inside may send a call out again with the Call-ID and tags that it came in with; the two are told apart
        by the side that they began on.
        """
        outgoing = self._by_dialog.get((call_id, from_tag, zone))
        incoming = self._by_dialog.get((call_id, to_tag, zone.other))
        if outgoing is None or incoming is None:
            return outgoing or incoming or []
        return outgoing + incoming

    def numbered(self, number: int) -> Call | None:
        """The call with that number, if it is alive."""
        return self._calls.get(f"{self._epoch}-{number}")

    def continues(self, request: Request, from_tag: str, to_tag: str, zone: Zone) -> bool:
        """Whether a request from ``zone`` with these tags belongs to a dialog that has been set up. An INVITE does if
        its CSeq is higher than that of the last request of its sender: otherwise it comes from a proxy that forks."""
        for call in self.of_tags(request.call_id, from_tag, to_tag, zone):
            legs = call.legs_of(from_tag, to_tag) if call.is_dialog(from_tag, to_tag) else None
            if legs is not None and (request.method != "INVITE" or (not call.invite and request.cseq > legs[0].cseq)):
                return True
        return False

    def of_media(self, media_id: str) -> Call | None:
        """The call whose media session has that identifier."""
        return self._calls.get(media_id)

    def has_just_ended(self, number: int, method: str, now: float) -> bool:
        """Whether the call with that number has ended, and a request of that method may still be sent on."""
        return self._ended.admit(number, method, now)

    def open(
        self, request: Request, flow: Flow, trunk: str, source: SourceKey | None, holder: CallHolder | None, now: float
    ) -> Call:
        """Begin a call for an INVITE that came by ``flow``.

        It is counted for ``trunk``, unless that is "", and for ``source`` and ``holder``, unless these are None, as
        screening asks for the numbers.
        """
        caller = leg_of_caller(request, flow)
        self._begun += 1
        media_id = f"{self._epoch}-{self._begun}"
        call = self._calls[media_id] = Call(self, self._begun, media_id, request.call_id, caller, now)
        self._by_dialog.setdefault(_dialog_key(call), []).append(call)
        call.trunk = trunk
        call.source = source
        if trunk:
            _increment(self.by_trunk, trunk)
        if source is not None:
            _increment(self.ringing, source)
        call.holder = holder
        if holder is not None:
            _increment(self.by_holder, holder)
        self._statistics.attempts.count_begun(now)
        call.flows_changed()
        call.ring_until = now + self.limits.ringing
        self.await_answer(call, now)
        return call

    def await_answer(self, call: Call, now: float) -> None:
        """The INVITE of a call was sent, or got a provisional answer: Timer C begins anew (RFC 3261 section 16.7
        step 2), within the time that the call may ring in all."""
        if call.state is CallState.SETTING_UP:
            self._deadlines.schedule(call, min(now + self.limits.set_up, call.ring_until))

    def limit_ringing(self, call: Call, seconds: float | None, now: float) -> None:
        """The call may ring for ``seconds`` from ``now`` on; None: as long as any."""
        longest = call.started + self.limits.ringing
        call.ring_until = longest if seconds is None else min(longest, now + seconds)
        self.await_answer(call, now)

    def establish(self, call: Call, hop: NextHop, now: float) -> None:
        """The call is answered at ``hop``; a second answer changes nothing."""
        if call.state is CallState.SETTING_UP:
            lease, duration = hop.lease, self.limits.duration
            if hop.call_limit is not None:
                duration = min(duration, hop.call_limit)
            for other in call.leases:
                if other is not lease:
                    other.release()
            call.state = CallState.ESTABLISHED
            call.early = ()
            self._media.establish(call)
            call.flows_changed()
            call.invite = None
            if call.source is not None:
                _decrement(self.ringing, call.source)
            self._statistics.set_up.observe(now - call.started)
            self._statistics.outcomes.add("answered")
            self._deadlines.schedule(call, now + duration)

    def end(self, call: Call, now: float, outcome: str = "") -> None:
        """Release all that the call holds. Further calls of this method do nothing.

        ``outcome`` is the label, in the statistics, of the end of a call that was never answered.
        """
        if call.state is CallState.ENDED:
            return
        if call.state is CallState.SETTING_UP:
            self._statistics.outcomes.add(outcome or "failed")
            if outcome != "cancelled":
                self._statistics.attempts.count_failed(call.started)
            if call.source is not None:
                _decrement(self.ringing, call.source)
        if call.state is CallState.ESTABLISHED:
            self._ended.add(call.number, call.has_subscription, now)
        call.state = CallState.ENDED
        call.flows_changed()
        call.invite = None
        self._forget(call)
        self._deadlines.schedule(call, None)
        for lease in call.leases:
            lease.release()
        if call.trunk:
            _decrement(self.by_trunk, call.trunk)
        if call.holder is not None:
            _decrement(self.by_holder, call.holder)
        if call.anchored:
            self._media.delete(call)

    def _forget(self, call: Call) -> None:
        del self._calls[call.media_id]
        key = _dialog_key(call)
        same = self._by_dialog[key]
        if len(same) > 1:
            same.remove(call)
        else:
            del self._by_dialog[key]

    def note_connections(self, call: Call) -> None:
        """The legs of a call have changed, or its state."""
        self.of_connections.update(call)

    def hang_up(
        self, call: Call, reason: Reason, now: float, detail: str = "the edge ended the call", flow: Flow | None = None
    ) -> None:
        """BYE to both sides (RFC 3261 section 15.1.1), and end the call. ``flow`` is that of the side which is the
        cause, by default the caller's."""
        self._effects.record(now, reason, call.caller.flow if flow is None else flow, call.call_id, detail)
        callee = call.callee
        if call.state is CallState.ESTABLISHED and callee is not None:
            self._byes.bye(call.call_id, callee, call.caller, reason, now)
            self._byes.bye(call.call_id, call.caller, callee, reason, now)
        self.end(call, now, reason.code)

    def end_all(self, reason: Reason, now: float) -> None:
        """End every call: BYE to both sides, or a refusal where it is being set up."""
        for call in self:
            if call.invite is not None:
                call.invite.stop(reason, reason.code, now)
            else:
                self.hang_up(call, reason, now)


def _dialog_key(call: Call) -> tuple[str, str, Zone]:
    """What several calls may share: Call-ID, caller's tag, and the side that they began on."""
    caller = call.caller
    return call.call_id, caller.tag, caller.first.listener.zone


def _increment(counts: dict[_Key, int], key: _Key) -> None:
    counts[key] = counts.get(key, 0) + 1


def _decrement(counts: dict[_Key, int], key: _Key) -> None:
    """A key whose count is zero is removed: keys are sources, which an attacker chooses."""
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]


class CallSetup:
    """Moves one call through its states; the response context of its INVITE calls it."""

    __slots__ = ("_calls", "call")

    def __init__(self, calls: Calls, call: Call) -> None:
        self._calls = calls
        self.call = call

    def on_sent(self, hop: NextHop, now: float) -> None:
        """The INVITE is about to be sent to ``hop``: the call owns the lease there from now on."""
        if hop.lease is not None:
            self.call.leases.append(hop.lease)
        self.call.callee = Leg(hop.flow)
        self.call.flows_changed()
        self._calls.limit_ringing(self.call, hop.ring_limit, now)

    def on_provisional(self, now: float) -> None:
        """A callee has sent a provisional answer other than 100."""
        self._calls.await_answer(self.call, now)

    def may_forward(self, response: Response, server: ServerTransaction) -> bool:
        """Whether an answer may still go to the caller.

        No answer is forwarded after the call has ended. A caller whose address may be forged gets the 2xx of one fork
        only.
        """
        call = self.call
        if call.state is CallState.ENDED:
            return False
        return not server.repeated or not 200 <= response.status < 300 or call.has_fork(response.to_tag)

    def on_answered(self, hop: NextHop, now: float) -> None:
        """The caller got a 2xx that came from ``hop``."""
        self._calls.establish(self.call, hop, now)

    def on_failed(self, outcome: str, now: float) -> None:
        """The caller got a refusal, or its connection has closed."""
        self._calls.end(self.call, now, outcome)
