"""OpenOffer: an offer inside a call that has no final answer so far (RFC 3264 section 4)."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.media.commands import MediaError, Offer

__all__ = ["OpenOffer"]


class OpenOffer:
    """An offer of the side with the tag ``offerer`` to that with ``answerer``, "" before it has one.

    ``cseq`` is the number of its request. ``in_response`` is whether a response carried it, so that the PRACK or the
    ACK answers it, and ``command`` what the media plane was told of it. ``sdp`` is the description in the last ACK that
    did, as it came, and ``relayed`` that for the other side, None before the media plane has replied: the ACK is
    repeated with each 2xx (RFC 3261 section 13.2.2.4).
    ``due`` is when the ACK is waited for no more, and ``on_expired`` is called then.
    """

    __slots__ = (
        "answerer", "command", "cseq", "due", "in_response", "offerer", "on_expired", "queued", "relayed", "sdp",
    )  # fmt: skip

    def __init__(self, offerer: str, answerer: str, cseq: int, in_response: bool) -> None:
        self.offerer = offerer
        self.answerer = answerer
        self.cseq = cseq
        self.in_response = in_response
        self.command: Offer | None = None
        self.sdp = b""
        self.relayed: bytes | None = None
        self.on_expired: Callable[[OpenOffer], None] | None = None
        self.due: float | None = None
        self.queued: float | None = None

    def reason_against(self, offerer: str, answerer: str) -> MediaError | None:
        """Why another offer is refused while this one has no answer; None if they are of two dialogs of a forked call.

        RFC 3261 section 14.2, RFC 3311 section 5.2.
        """
        if answerer == self.offerer and self.answerer in (offerer, ""):
            return MediaError(491, "an offer of the other side has no answer yet")
        if offerer == self.offerer and self.answerer in (answerer, ""):
            return MediaError(500, "an earlier offer of this side has no answer yet")
        return None

    def expire(self, now: float) -> None:
        """No ACK has answered it in time."""
        if self.on_expired is not None:
            self.on_expired(self)
