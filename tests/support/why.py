"""The decisions in the ledger of an edge in the test's process about calls and members, as values."""

from __future__ import annotations

from edgesbc.app import App
from edgesbc.base.reasons import Reason
from edgesbc.observe.render import as_record

__all__ = ["all_sentences", "left_for", "routed_after", "tried", "turns"]


def all_sentences(app: App) -> list[str]:
    """Every decision in the ledger as a sentence, in the order of their times."""
    ledger = app.ledger
    entries = sorted((entry for ring in ledger._rings for entry in ring.entries), key=lambda entry: entry.last)
    return [as_record(entry, ledger.wall_offset)["sentence"] for entry in entries]


def tried(app: App, call_id: str) -> list[str]:
    """The members that a call was sent to, in order."""
    return [each["detail"].split()[-1] for each in app.why(call_id).decisions if each["reason"] == Reason.ROUTED.code]


def left_for(app: App, call_id: str) -> list[str]:
    """Which members a call left, and why."""
    return [each["detail"] for each in app.why(call_id).decisions if each["reason"] == Reason.FAILOVER.code]


def turns(app: App, member: str) -> list[str]:
    """The states that a member came to, in order."""
    address = member.removeprefix("sip:")
    told = [each["detail"] for each in app.why(address).decisions if each["reason"] == Reason.HEALTH.code]
    return [detail.partition(" to ")[2].partition(":")[0] for detail in told]


def routed_after(app: App, member: str, words: str) -> int:
    """How many calls were sent to a member after the decision about it that has these words."""
    story = all_sentences(app)
    then = next(n for n, sentence in enumerate(story) if member in sentence and words in sentence)
    return sum(sentence.endswith(f" shared {member}") for sentence in story[then:])
