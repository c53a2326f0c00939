"""Commands to the media plane, with session descriptions as text."""

from __future__ import annotations

from edgesbc.base.address import Zone
from edgesbc.media.commands import Answer, Consent, Offer

__all__ = ["answer", "offer"]


def offer(
    session_id: str,
    offerer: str,
    sdp: str,
    zone: Zone = Zone.PUBLIC,
    answerer: str = "",
    received_from: str = "",
    consent: Consent = Consent.ANY,
    reserved: bool = True,
) -> Offer:
    """An offer from ``zone`` for the other zone."""
    return Offer(session_id, offerer, answerer, sdp.encode(), zone, zone.other, received_from, consent, reserved)


def answer(session_id: str, offerer: str, answerer: str, sdp: str, received_from: str = "") -> Answer:
    return Answer(session_id, offerer, answerer, sdp.encode(), received_from)
