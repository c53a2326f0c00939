"""A decision as an English sentence for people and as an object for programs."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from typing import TypedDict

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.text import shown

__all__ = ["DecisionRecord", "LedgerEntry", "as_record", "sentence"]

_EVENTS = {
    Reason.ROUTED: "routed",
    Reason.FAILOVER: "failed over",
    Reason.HEALTH: "noted health of",
    Reason.NAME: "looked up",
    Reason.BAN: "penalised",
    Reason.POLICY: "noted policy",
    Reason.MEDIA_TIMEOUT: "ended",
    Reason.ONE_WAY_MEDIA: "noted silence in",
    Reason.DURATION: "ended",
    Reason.SET_UP_TIMEOUT: "ended",
}


class LedgerEntry:
    """A decision, the address in its source, and how often it was repeated, possibly from other ports of the address.

    ``number`` counts the entries in the order of their arrival: several may have the same time.
    """

    __slots__ = ("decision", "host", "last", "number", "other_ports", "repeats")

    def __init__(self, decision: Decision, host: str, number: int) -> None:
        self.decision = decision
        self.host = host
        self.number = number
        self.last = decision.time
        self.repeats = 0
        self.other_ports = False


class DecisionRecord(TypedDict):
    """A decision as a JSON object. Texts are escaped for terminals; times are ISO 8601 in UTC."""

    time: str
    reason: str
    """The stable code."""
    meaning: str
    source: str
    listener: str
    call_id: str
    stage: str
    limit: float | None
    """The allowed number, of a ban its seconds; None if the reason has no number."""
    value: float | None
    """The measured number."""
    shadow: bool
    """True: the stage is in shadow mode, and the decision had no effect."""
    detail: str
    repeats: int
    """How often the same decision was repeated, without entries of their own."""
    last: str
    """The time of the last repetition."""
    sentence: str


def as_record(entry: LedgerEntry, wall_offset: float) -> DecisionRecord:
    """``entry`` as an object; ``wall_offset`` is wall clock minus the clock of the decision, in seconds."""
    decision = entry.decision
    return DecisionRecord(
        time=_timestamp(decision.time + wall_offset, "T"),
        reason=decision.reason.code,
        meaning=decision.reason.meaning,
        source=_safe(decision.source),
        listener=_safe(decision.listener),
        call_id=_safe(decision.call_id),
        stage=_safe(decision.stage),
        limit=_finite(decision.limit),
        value=_finite(decision.value),
        shadow=decision.shadow,
        detail=_safe(decision.detail),
        repeats=entry.repeats,
        last=_timestamp(entry.last + wall_offset, "T"),
        sentence=sentence(entry, wall_offset),
    )


def sentence(entry: LedgerEntry, wall_offset: float) -> str:
    """``entry`` in plain English on one line, with a peer's text escaped."""
    decision = entry.decision
    parts = [_timestamp(decision.time + wall_offset), _verb(decision), *_subject(decision)]
    parts.append(f"because {decision.reason.meaning}")
    notes = "; ".join(_notes(decision))
    text = f"{' '.join(parts)} ({notes})"
    if decision.detail:
        text += f": {_safe(decision.detail)}"
    if entry.repeats:
        repeats = "once more" if entry.repeats == 1 else f"{entry.repeats} times more"
        ports = " from ports of this address" if entry.other_ports else ""
        text += f"; {repeats}{ports}, last at {_timestamp(entry.last + wall_offset)}"
    return text


def _timestamp(wall: float, separator: str = " ") -> str:
    moment = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return f"{moment:%Y-%m-%d}{separator}{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _safe(text: str) -> str:
    return shown(text, limits.LEDGER_TEXT_CHARS)


def _finite(number: float | None) -> float | None:
    """``number``, or None for infinity and NaN, which JSON does not have."""
    return number if number is not None and math.isfinite(number) else None


def _verb(decision: Decision) -> str:
    """The action, or the one that shadow mode prevented."""
    if decision.stage == "operator":
        return "noted an order about"
    refused = "refused" if decision.answer else "dropped"
    verb = _EVENTS.get(decision.reason, refused)
    return f"would have {verb} (shadow)" if decision.shadow else verb


def _subject(decision: Decision) -> Iterator[str]:
    """The object of the action: a call, or for bans, health and names the source itself."""
    is_object = decision.reason in (Reason.BAN, Reason.HEALTH, Reason.NAME)
    if decision.call_id and not is_object:
        yield f"call {_safe(decision.call_id)}"
    if decision.source:
        yield _safe(decision.source) if is_object else f"from {_safe(decision.source)}"
    if decision.listener:
        yield f"on {_safe(decision.listener)}"
    if decision.call_id and is_object:
        yield f"after call {_safe(decision.call_id)}"


def _notes(decision: Decision) -> Iterator[str]:
    """Numbers, and the names that policy and metrics use."""
    if decision.value is not None:
        yield f"{decision.value:g} seen"
    if decision.limit is not None:
        yield f"{decision.limit:g} {'s' if decision.reason is Reason.BAN else 'allowed'}"
    if decision.stage:
        yield f"stage {_safe(decision.stage)}"
    if decision.answer:
        yield f"answer {decision.answer}"
    yield f"reason {decision.reason.code}"
