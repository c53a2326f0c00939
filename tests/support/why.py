"""The decisions in the ledger of an edge in the test's process about calls and members, as values."""

from __future__ import annotations

from edgesbc.app import App
from edgesbc.base.reasons import Reason
from edgesbc.observe.render import as_record

__all__ = ["all_sentences", "member_states", "members_left", "members_tried", "routed_after"]


def all_sentences(app: App) -> list[str]:
    """Every decision in the ledger as a sentence, in the order of their times."""
    ledger = app.ledger
    entries = sorted((entry for ring in ledger._rings for entry in ring.entries), key=lambda entry: entry.last)
    return [as_record(entry, ledger.wall_offset)["sentence"] for entry in entries]


def _details(app: App, subject: str, reason: Reason) -> list[str]:
    """The details of the decisions about a call or an address that have this reason, in order."""
    return [decision["detail"] for decision in app.why(subject).decisions if decision["reason"] == reason.code]


def members_tried(app: App, call_id: str) -> list[str]:
    """The members that a call was sent to, in order."""
    return [detail.split()[-1] for detail in _details(app, call_id, Reason.ROUTED)]


def members_left(app: App, call_id: str) -> list[str]:
    """Which members a call left, and why."""
    return _details(app, call_id, Reason.FAILOVER)


def member_states(app: App, member: str) -> list[str]:
    """The states that a member changed to, in order."""
    address = member.removeprefix("sip:")
    return [detail.partition(" to ")[2].partition(":")[0] for detail in _details(app, address, Reason.HEALTH)]


def routed_after(app: App, member: str, words: str) -> int:
    """How many calls were sent to a member after the first decision about it whose sentence contains ``words``."""
    sentences = all_sentences(app)
    first = next(n for n, sentence in enumerate(sentences) if member in sentence and words in sentence)
    return sum(sentence.endswith(f" shared {member}") for sentence in sentences[first:])
