"""The ledger of decisions: what the edge decided of late, and why, as sentences. Counts nothing, logs nothing."""

from __future__ import annotations

import datetime
import ipaddress
from collections import deque
from collections.abc import Iterator

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.text import shown

__all__ = ["Ledger"]

_MADE_BY_STRANGERS = frozenset(
    {Reason.ACL_DENIED, Reason.BANNED, Reason.PIKE, Reason.RATELIMIT, Reason.CONNECTIONS, Reason.HANDSHAKE}
    | {Reason.ORIGIN, Reason.MALFORMED, Reason.SANITY, Reason.TOO_LARGE, Reason.SCANNER, Reason.METHOD}
    | {Reason.EXTENSION, Reason.LOOP, Reason.TOO_MANY_HOPS, Reason.TOKEN, Reason.NO_DIALOG, Reason.UNMATCHED}
    | {Reason.INTERNAL, Reason.NO_ROUTE, Reason.OVERLOAD}
)
"""What a stranger can make the edge record as often as he likes."""

_EVENTS = {
    Reason.ROUTED: "routed",
    Reason.FAILOVER: "failed over",
    Reason.HEALTH: "noted health of",
    Reason.BAN: "penalised",
    Reason.POLICY: "noted policy",
    Reason.MEDIA_TIMEOUT: "ended",
    Reason.DURATION: "ended",
    Reason.SET_UP_TIMEOUT: "ended",
}


class _Entry:
    """A decision, and how often it was repeated since."""

    __slots__ = ("decision", "last", "repeats")

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.last = decision.time
        self.repeats = 0


class Ledger:
    """The last ``capacity`` decisions, half of them reserved for what strangers cannot provoke at will.

    A flood of refusals can thus wash away older refusals, but never routes, failovers, penalties and
    health changes. Refusals before anything was parsed (no Call-ID) fold into one entry a source and
    reason, which leaves a flooder one line and not all of them.

    Recording costs an append; asking looks through the ring (a few milliseconds): many are recorded a
    second, few are asked for a day. ``wall_offset`` is wall clock minus monotonic clock, in seconds.
    """

    __slots__ = ("_folded", "_ours", "_theirs", "wall_offset")

    def __init__(self, wall_offset: float, capacity: int = limits.DECISIONS) -> None:
        self.wall_offset = wall_offset
        self._ours: deque[_Entry] = deque(maxlen=capacity - capacity // 2)
        self._theirs: deque[_Entry] = deque(maxlen=max(1, capacity // 2))
        self._folded: dict[tuple[Reason, str, str, bool], _Entry] = {}

    def __len__(self) -> int:
        return len(self._ours) + len(self._theirs)

    def record(self, decision: Decision) -> None:
        """Keep ``decision``; the oldest of its half gives way."""
        if decision.reason not in _MADE_BY_STRANGERS:
            self._ours.append(_bounded(decision))
            return
        theirs, folded = self._theirs, self._folded
        key = _fold_key(decision)
        if not decision.call_id and (entry := folded.get(key)) is not None:
            entry.repeats += 1
            entry.last = decision.time
            return
        if len(theirs) == theirs.maxlen:
            oldest = theirs.popleft()
            oldest_key = _fold_key(oldest.decision)
            if folded.get(oldest_key) is oldest:
                del folded[oldest_key]
        entry = _bounded(decision)
        theirs.append(entry)
        if not decision.call_id:
            folded[key] = entry

    def why(self, key: str) -> list[str]:
        """What was decided about a Call-ID, an address, or an address and port, oldest first, as sentences.

        An address also finds the penalties of the prefixes that it is in. Of many, the last
        ``limits.LEDGER_ANSWERS`` are told, after a line that says how many came before.
        """
        key = key.strip()
        call_id = key[: limits.LEDGER_TEXT_CHARS]
        sources = _sources(key)
        found = [
            entry
            for ring in (self._ours, self._theirs)
            for entry in ring
            if call_id == entry.decision.call_id
            or entry.decision.source in sources
            or _host(entry.decision.source) in sources
        ]
        found.sort(key=lambda entry: entry.decision.time)
        if not key:
            return []
        left_out = len(found) - limits.LEDGER_ANSWERS
        heading = [f"{left_out} earlier decisions are not shown"] if left_out > 0 else []
        return heading + [self._sentence(entry) for entry in found[max(left_out, 0) :]]

    def recent(self, count: int) -> list[str]:
        """The last ``count`` decisions as sentences, oldest first."""
        entries = sorted([*self._ours, *self._theirs], key=lambda entry: entry.last)
        return [self._sentence(entry) for entry in entries[-count:]] if count > 0 else []

    def _clock(self, time: float) -> str:
        moment = datetime.datetime.fromtimestamp(time + self.wall_offset, datetime.UTC)
        return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"

    def _sentence(self, entry: _Entry) -> str:
        """One entry in plain English, on one line, nothing of a peer's raw."""
        decision = entry.decision
        words = [self._clock(decision.time), _verb(decision), *_subject(decision)]
        words.append(f"because {decision.reason.meaning}")
        notes = "; ".join(_notes(decision))
        text = f"{' '.join(words)} ({notes})"
        if decision.detail:
            text += f": {_safe(decision.detail)}"
        if entry.repeats:
            again = "once more" if entry.repeats == 1 else f"{entry.repeats} times more"
            text += f"; {again}, last at {self._clock(entry.last)}"
        return text


def _safe(text: str) -> str:
    return shown(text, limits.LEDGER_TEXT_CHARS)


def _bounded(decision: Decision) -> _Entry:
    """An entry that holds no more of a peer's text than the bound says."""
    bound = limits.LEDGER_TEXT_CHARS
    if len(decision.call_id) > bound:
        decision.call_id = decision.call_id[:bound]
    if len(decision.detail) > bound:
        decision.detail = decision.detail[:bound]
    return _Entry(decision)


def _host(source: str) -> str:
    """The address in ``address:port`` or ``[address]:port``; an address or prefix alone is itself."""
    if source.startswith("["):
        return source[1:].partition("]")[0]
    return source.partition(":")[0] if source.count(":") == 1 else source


def _fold_key(decision: Decision) -> tuple[Reason, str, str, bool]:
    return decision.reason, _host(decision.source), decision.stage, decision.shadow


def _sources(key: str) -> set[str]:
    """The texts under which a ledger may know the address ``key``: itself and the prefixes that can be banned."""
    try:
        address = ipaddress.ip_address(key.strip("[]"))
    except ValueError:
        return {key}
    lengths = (24,) if address.version == 4 else (64, 48)
    return {str(address)} | {str(ipaddress.ip_network((address, bits), strict=False)) for bits in lengths}


def _verb(decision: Decision) -> str:
    """What was done, or would have been done."""
    refused = "refused" if decision.reason.status else "dropped"
    verb = _EVENTS.get(decision.reason, refused)
    return f"would have {verb} (shadow)" if decision.shadow else verb


def _subject(decision: Decision) -> Iterator[str]:
    """To what it was done."""
    if decision.call_id:
        yield f"call {_safe(decision.call_id)}"
    if decision.source:
        yield f"from {_safe(decision.source)}"
    if decision.listener:
        yield f"on {_safe(decision.listener)}"


def _notes(decision: Decision) -> Iterator[str]:
    """The numbers and the names by which policy and metrics know it."""
    if decision.value is not None:
        yield f"{decision.value:g} seen"
    if decision.limit is not None:
        yield f"{decision.limit:g} allowed"
    if decision.stage:
        yield f"stage {_safe(decision.stage)}"
    if decision.reason.status:
        yield f"answer {decision.reason.status}"
    yield f"reason {decision.reason.code}"
