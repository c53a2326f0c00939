"""Bans and orders as rows for people and programs. Changes none of them."""

from __future__ import annotations

from typing import Any

from edgesbc.observe.text import shown
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stages.pike import Pike

__all__ = ["rows", "sentence", "watched"]

_MOST = 200


def rows(pipeline: Pipeline, now: float) -> list[dict[str, Any]]:
    """Every ban and order in force at ``now`` (seconds, the plane's clock), newest first.

    ``since`` and ``left`` are seconds ago and to come, ``left`` None for good; ``hits`` is what was dropped
    in user space.
    """
    found: list[dict[str, Any]] = [
        {
            "who": ban.target, "scope": ban.scope.word, "transport": "streams" if ban.stream else "udp",
            "reason": ban.reason.code, "evidence": "reachable" if ban.proven else "unproven",
            "since": now - ban.since, "left": ban.until - now, "hits": ban.hits, "by": "edge", "why": "",
            "exempt": False,
        }
        for ban in pipeline.penalties
        if ban.until > now
    ]  # fmt: skip
    found += [
        {
            "who": order.prefix, "scope": "prefix" if "/" in order.prefix else "address", "transport": "all",
            "reason": "exempt" if order.exempt else "ban", "evidence": "operator", "since": now - order.since,
            "left": None if order.until is None else order.until - now, "hits": order.hits,
            "by": shown(order.by, _MOST), "why": shown(order.why, _MOST), "exempt": order.exempt,
        }
        for order in pipeline.operator_bans
        if order.until is None or order.until > now
    ]  # fmt: skip
    return sorted(found, key=lambda row: float(row["since"]))


def sentence(row: dict[str, Any]) -> str:
    """One row in plain words, on one line."""
    left = "until it is taken back" if row["left"] is None else f"for {row['left']:.0f} s more"
    if row["evidence"] == "operator":
        what = "is exempt from penalties" if row["exempt"] else "is banned"
        why = f": {row['why']}" if row["why"] else ""
        return f"{row['who']} {what} {left}, by {row['by']}{why} ({row['hits']} dropped)"
    over = "datagrams" if row["transport"] == "udp" else "connections"
    return (
        f"{row['who']}: {over} are dropped {left}, since {row['since']:.0f} s, for {row['reason']} "
        f"({row['scope']}, {row['evidence']}, {row['hits']} dropped)"
    )


def watched(pipeline: Pipeline, now: float, count: int) -> list[dict[str, Any]]:
    """The sources with the most messages in the last window of ``pike``; none where that stage is off.

    ``hot`` is whether it tripped, as against warm.
    """
    pike = pipeline.stage(Pike.name)
    if not isinstance(pike, Pike):
        return []
    return [{"who": who, "messages": seen, "hot": hot} for who, seen, hot in pike.busiest(now, count)]
