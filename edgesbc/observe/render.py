"""What the ledger tells of a decision: a sentence for people, an object for programs. Keeps and finds nothing."""

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
    Reason.DURATION: "ended",
    Reason.SET_UP_TIMEOUT: "ended",
}


class LedgerEntry:
    """A decision, the address in its source, and how often it was repeated since, maybe from other ports of that.

    ``number`` counts the entries in the order of their coming: several may be of one moment.
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
    """A decision as JSON has it. Texts are escaped as a terminal needs it; times are ISO 8601 in UTC."""

    time: str
    reason: str
    """The stable code."""
    meaning: str
    source: str
    listener: str
    call_id: str
    stage: str
    limit: float | None
    """What was allowed, of a penalty its seconds; None where the reason has no number."""
    value: float | None
    """What was seen."""
    shadow: bool
    """True: it would have been so, but the stage is in shadow mode."""
    detail: str
    repeats: int
    """How often the same was decided again, which has no entry of its own."""
    last: str
    """When it was decided last."""
    sentence: str


def as_record(entry: LedgerEntry, wall_offset: float) -> DecisionRecord:
    """``entry`` as an object; ``wall_offset`` as the ledger has it."""
    decision = entry.decision
    return DecisionRecord(
        time=_clock(decision.time + wall_offset, "T"),
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
        last=_clock(entry.last + wall_offset, "T"),
        sentence=sentence(entry, wall_offset),
    )


def sentence(entry: LedgerEntry, wall_offset: float) -> str:
    """One entry in plain English, on one line, nothing of a peer's raw."""
    decision = entry.decision
    words = [_clock(decision.time + wall_offset), _verb(decision), *_subject(decision)]
    words.append(f"because {decision.reason.meaning}")
    notes = "; ".join(_notes(decision))
    text = f"{' '.join(words)} ({notes})"
    if decision.detail:
        text += f": {_safe(decision.detail)}"
    if entry.repeats:
        again = "once more" if entry.repeats == 1 else f"{entry.repeats} times more"
        where = " from ports of this address" if entry.other_ports else ""
        text += f"; {again}{where}, last at {_clock(entry.last + wall_offset)}"
    return text


def _clock(wall: float, between: str = " ") -> str:
    moment = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return f"{moment:%Y-%m-%d}{between}{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _safe(text: str) -> str:
    return shown(text, limits.LEDGER_TEXT_CHARS)


def _finite(number: float | None) -> float | None:
    """JSON has no infinity."""
    return number if number is not None and math.isfinite(number) else None


def _verb(decision: Decision) -> str:
    """What was done, or would have been done."""
    if decision.stage == "operator":
        return "noted an order about"
    refused = "refused" if decision.answer else "dropped"
    verb = _EVENTS.get(decision.reason, refused)
    return f"would have {verb} (shadow)" if decision.shadow else verb


def _subject(decision: Decision) -> Iterator[str]:
    """To what it was done; a penalty is for a source, and came after a call of it."""
    done_to_it = decision.reason in (Reason.BAN, Reason.HEALTH, Reason.NAME)
    if decision.call_id and not done_to_it:
        yield f"call {_safe(decision.call_id)}"
    if decision.source:
        yield _safe(decision.source) if done_to_it else f"from {_safe(decision.source)}"
    if decision.listener:
        yield f"on {_safe(decision.listener)}"
    if decision.call_id and done_to_it:
        yield f"after call {_safe(decision.call_id)}"


def _notes(decision: Decision) -> Iterator[str]:
    """The numbers and the names by which policy and metrics know it."""
    if decision.value is not None:
        yield f"{decision.value:g} seen"
    if decision.limit is not None:
        yield f"{decision.limit:g} {'s' if decision.reason is Reason.BAN else 'allowed'}"
    if decision.stage:
        yield f"stage {_safe(decision.stage)}"
    if decision.answer:
        yield f"answer {decision.answer}"
    yield f"reason {decision.reason.code}"
