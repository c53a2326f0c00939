"""The signalling core's client of the media plane: emits commands, and passes each reply to its callback."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaSilence,
    Offer,
    Refresh,
    Rollback,
)
from edgesbc.screen.standing import Standing
from edgesbc.signalling.adopted_calls import record_of
from edgesbc.signalling.call import Call, CallState
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.effects import Media
from edgesbc.signalling.latch_modes import LatchModes
from edgesbc.signalling.open_offer import OpenOffer
from edgesbc.sip.machines import T1

__all__ = ["MediaCallback", "MediaClient", "PendingMediaReply", "silent_side"]

MediaCallback = Callable[[bytes | MediaError, float], None]
"""Called with the description for the other side, or why there is none, and the time (seconds)."""


class PendingMediaReply:
    """A command that the media plane has not replied to yet."""

    __slots__ = ("_client", "callback", "cookie", "due", "queued")

    def __init__(self, client: MediaClient, cookie: int, callback: MediaCallback) -> None:
        self._client = client
        self.cookie = cookie
        self.callback = callback
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        """The media plane did not reply in time."""
        self._client.on_timeout(self, now)


class MediaClient:
    """Has the media plane relay the media of calls. Where ``enabled`` is False, SDP passes as it is. ``latches`` says
    whether ports follow the source of a peer's packets.

    The callback of each offer or answer is called once: by :meth:`replied`, or by :meth:`on_timeout` after
    ``limits.MEDIA_REPLY_SECONDS`` without a reply.
    """

    __slots__ = ("_cookie", "_deadlines", "_effects", "_latches", "_pending", "enabled")

    def __init__(
        self, effects: EffectQueue, deadlines: Deadlines[Expiring], enabled: bool, latches: LatchModes
    ) -> None:
        self._effects = effects
        self._deadlines = deadlines
        self._cookie = 0
        self._latches = latches
        self._pending: dict[int, PendingMediaReply] = {}
        self.enabled = enabled

    def __len__(self) -> int:
        """Number of replies that are pending."""
        return len(self._pending)

    def offer(
        self,
        call: Call,
        sdp: bytes,
        offerer: str,
        answerer: str,
        sender: Flow,
        standing: Standing,
        zone: Zone,
        family: str,
        callback: MediaCallback,
        now: float,
    ) -> Offer:
        """Anchor an offer: the description ``sdp`` on its way from ``sender`` to the side ``zone``, to an address of
        ``family``, "" where it may be either.

        ``offerer`` is the dialog tag of its sender, whose standing counts, ``answerer`` that of the other side, ""
        before it has one. Returns the command.
        """
        sender_zone, host = sender.listener.zone, sender.peer[0]
        consent = _consent(call, offerer, sender, standing)
        reserved = bool(call.trunk) or call.caller.first.listener.zone is Zone.CORE
        offer = Offer(
            call.media_id, offerer, answerer, sdp, sender_zone, zone, host, consent, reserved, family,
            latch=self._latches.of(sender),
        )  # fmt: skip
        self._ask(call, offer, callback, now)
        return offer

    def answer(
        self,
        call: Call,
        sdp: bytes,
        offerer: str,
        answerer: str,
        sender: Flow,
        standing: Standing,
        callback: MediaCallback,
        now: float,
        final: bool = True,
    ) -> Answer:
        """Anchor the answer ``sdp`` of ``answerer``, whose standing counts, to the last offer of ``offerer``; both are
        dialog tags. ``final`` is False where a refusal of the request takes it back. Returns the command."""
        consent = _consent(call, answerer, sender, standing)
        latch = self._latches.of(sender)
        answer = Answer(call.media_id, offerer, answerer, sdp, sender.peer[0], consent, final, latch)
        self._ask(call, answer, callback, now)
        return answer

    def confirm(self, call: Call, answer: Answer) -> None:
        """The answer of a provisional response, or one that was sent before it was known to stay, stays."""
        self._repeat(call, (attrs.evolve(answer, final=True),))

    def roll_back(self, call: Call, offer: OpenOffer) -> None:
        """An offer will have no answer: if it is still the open one, what was agreed on before stays."""
        if offer in call.late_offers:
            self._deadlines.schedule(offer, None)
            call.late_offers = [other for other in call.late_offers if other is not offer]
        if call.open_offer is offer:
            call.open_offer = None
            self._cookie += 1
            self._effects.emit(Media(self._cookie, Rollback(call.media_id, offer.offerer)))

    # --- several callees ---------------------------------------------------------------------------------

    def expect_answer(self, call: Call, offer: OpenOffer) -> None:
        """A response carries ``offer``: a PRACK or an ACK may answer it. Only callees that answer the same request
        have offers at the same time."""
        for other in call.late_offers:
            if other.cseq != offer.cseq or other.offerer == offer.offerer:
                self._deadlines.schedule(other, None)
        others = [one for one in call.late_offers if one.cseq == offer.cseq and one.offerer != offer.offerer]
        if len(others) < limits.FORK_BRANCHES:
            call.late_offers = [*others, offer]

    def reopen(self, call: Call, offer: OpenOffer) -> None:
        """``offer`` is to be answered: where another callee has made one since, the media plane gets this one again."""
        if call.open_offer is not offer and offer.command is not None:
            call.open_offer = offer
            self._repeat(call, (offer.command,))

    def return_to(self, call: Call, callee: str) -> None:
        """Relay the media of the callee with that tag, where those of another one are relayed now."""
        commands = call.callee_media.get(callee)
        if commands is not None and call.media_holder != callee:
            call.media_holder = callee
            self._repeat(call, commands)

    def _repeat(self, call: Call, commands: tuple[MediaCommand, ...]) -> None:
        """Give commands again. Their replies are not needed: the descriptions have been sent."""
        for command in commands:
            if isinstance(command, Offer | Answer):
                author = command.offerer if isinstance(command, Offer) else command.answerer
                if call.acknowledged == author:
                    command = attrs.evolve(command, consent=Consent.ANY)
            self._cookie += 1
            self._effects.emit(Media(self._cookie, command))

    # --- the end of an exchange --------------------------------------------------------------------------

    def await_ack(self, call: Call, offer: OpenOffer, now: float) -> None:
        """The ACK of a 2xx answers ``offer``: it comes while the 2xx is repeated (RFC 3261 section 13.3.1.4)."""
        offer.on_expired = partial(self._on_no_ack, call)
        self._deadlines.schedule(offer, now + 64 * T1)

    def _on_no_ack(self, call: Call, offer: OpenOffer) -> None:
        if offer.relayed is None:
            self.roll_back(call, offer)
        else:
            call.late_offers = [other for other in call.late_offers if other is not offer]

    def acknowledge(self, call: Call, tag: str) -> None:
        """The public side with that tag has shown, on the flow that it began on, that it received an answer."""
        if call.acknowledged == tag:
            return
        call.acknowledged = tag
        if call.limited == tag:
            call.limited = ""
            self._cookie += 1
            self._effects.emit(Media(self._cookie, Acknowledge(call.media_id, tag)))

    def establish(self, call: Call) -> None:
        """The call is answered."""
        if call.callee is not None:
            self.return_to(call, call.callee.tag)
        if call.anchored:
            self._cookie += 1
            self._effects.emit(Media(self._cookie, Establish(call.media_id, call.caller.tag, record_of(call))))

    def refresh(self, call: Call, tag: str) -> None:
        """A side has refreshed the call without SDP (RFC 4028)."""
        if call.anchored:
            self._cookie += 1
            self._effects.emit(Media(self._cookie, Refresh(call.media_id, tag)))

    def _ask(self, call: Call, command: MediaCommand, callback: MediaCallback, now: float) -> None:
        self._cookie += 1
        pending = self._pending[self._cookie] = PendingMediaReply(self, self._cookie, callback)
        self._deadlines.schedule(pending, now + limits.MEDIA_REPLY_SECONDS)
        self._effects.emit(Media(self._cookie, command))
        if not call.anchored:
            call.anchored = True
            if call.state is CallState.ESTABLISHED:
                self.establish(call)

    def replied(self, cookie: int, reply: MediaReply | MediaError, now: float) -> None:
        """Take the media plane's reply; one that is late or comes twice is ignored."""
        pending = self._pending.pop(cookie, None)
        if pending is not None:
            self._deadlines.schedule(pending, None)
            pending.callback(reply.sdp if isinstance(reply, MediaReply) else reply, now)

    def on_timeout(self, pending: PendingMediaReply, now: float) -> None:
        """The media plane did not reply in time."""
        if self._pending.pop(pending.cookie, None) is not None:
            pending.callback(MediaError(500, "the media plane did not reply in time"), now)

    def delete(self, call: Call) -> None:
        """End the media session of a call."""
        for offer in call.late_offers:
            self._deadlines.schedule(offer, None)
        call.open_offer = None
        call.late_offers = []
        self._cookie += 1
        self._effects.emit(Media(self._cookie, Delete(call.media_id, call.caller.tag)))


def _consent(call: Call, tag: str, sender: Flow, standing: Standing) -> Consent:
    """To where the sender with that tag may have media sent.

    A datagram with the source of a registered flow may be forged: then what it causes goes to the address of the user,
    and to no other.
    """
    if standing is Standing.TRUNK or (standing is Standing.REGISTERED and sender.serial) or call.acknowledged == tag:
        return Consent.ANY
    call.limited = tag
    return Consent.NONE if standing is Standing.UNPROVEN else Consent.SOURCE


def silent_side(call: Call, *events: MediaSilence) -> tuple[Flow, str]:
    """The flow of a side that has fallen silent, and what an operator reads of it."""
    callee, event = call.callee, events[0]
    is_callee = callee is not None and event.tag == callee.tag
    flow = callee.flow if callee is not None and is_callee else call.caller.flow
    if len(events) > 1:
        return flow, f"no {event.missing} from both sides for {event.seconds:g} s"
    name = "callee" if is_callee else "caller"
    return flow, f"no {event.missing} from the {name} for {event.seconds:g} s, the other side sends"
