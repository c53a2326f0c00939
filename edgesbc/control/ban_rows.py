"""Bans as rows for people and programs."""

from __future__ import annotations

from typing import TypedDict

from edgesbc.observe.text import shown
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stages.pike import Pike

__all__ = ["BanRow", "BanSentence", "BusySource", "ban_rows", "busiest_sources", "sentence", "with_sentence"]

_MOST = 200


class BanRow(TypedDict):
    """One ban of the edge's own, or an operator's ban or exemption."""

    who: str
    """An address, an address and port, or a prefix."""
    scope: str
    transport: str
    """``udp``, ``streams`` or ``all``."""
    reason: str
    evidence: str
    """``unproven`` or ``reachable`` for a ban of the edge's own; ``operator``."""
    since: float
    """Seconds ago."""
    left: float | None
    """Seconds to come; None: for good."""
    hits: int
    """Messages dropped in user space; what the kernel drops is not counted."""
    by: str
    why: str
    exempt: bool


class BanSentence(BanRow):
    """A row, and its content as a sentence."""

    sentence: str


class BusySource(TypedDict):
    """Messages of one source in the last window of ``pike``; ``hot``: it tripped the stage."""

    who: str
    messages: int
    hot: bool


def ban_rows(pipeline: Pipeline, now: float) -> list[BanRow]:
    """Every ban and exemption in force at ``now`` (seconds, the clock of the signalling plane), newest first."""
    rows: list[BanRow] = [
        {
            "who": ban.target, "scope": ban.scope.word, "transport": "streams" if ban.stream else "udp",
            "reason": ban.reason.code, "evidence": "reachable" if ban.proven else "unproven",
            "since": now - ban.since, "left": ban.until - now, "hits": ban.hits, "by": "edge", "why": "",
            "exempt": False,
        }
        for ban in pipeline.penalties
        if ban.until > now
    ]  # fmt: skip
    rows += [
        {
            "who": order.prefix, "scope": "prefix" if "/" in order.prefix else "address", "transport": "all",
            "reason": "exempt" if order.exempt else "ban", "evidence": "operator", "since": now - order.since,
            "left": None if order.until is None else order.until - now, "hits": order.hits,
            "by": shown(order.by, _MOST), "why": shown(order.why, _MOST), "exempt": order.exempt,
        }
        for order in pipeline.operator_bans
        if order.until is None or order.until > now
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["since"])


def with_sentence(row: BanRow) -> BanSentence:
    return {**row, "sentence": sentence(row)}


def sentence(row: BanRow) -> str:
    """One row in plain words, on one line."""
    left = "until it is taken back" if row["left"] is None else f"for {row['left']:.0f} s more"
    if row["evidence"] == "operator":
        state = "is exempt from penalties" if row["exempt"] else "is banned"
        why = f": {row['why']}" if row["why"] else ""
        return f"{row['who']} {state} {left}, by {row['by']}{why} ({row['hits']} dropped)"
    messages = "datagrams" if row["transport"] == "udp" else "connections"
    return (
        f"{row['who']}: {messages} are dropped {left}, since {row['since']:.0f} s, for {row['reason']} "
        f"({row['scope']}, {row['evidence']}, {row['hits']} dropped)"
    )


def busiest_sources(pipeline: Pipeline, now: float, count: int) -> list[BusySource]:
    """The ``count`` sources with the most messages in the last window of ``pike``; none where that stage is off."""
    pike = pipeline.stage(Pike.name)
    if not isinstance(pike, Pike):
        return []
    return [{"who": who, "messages": seen, "hot": hot} for who, seen, hot in pike.busiest(now, count)]
