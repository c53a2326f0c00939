"""Formats the figures of ``bench attacks`` as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.attacks import ASKED_KIB, ASKED_RATIO, MEMORY, REGISTRATIONS
from bench.registrations import FORGED_A_SECOND, PHONES_A_SECOND
from bench.stream_attacks import ATTACKS
from bench.websocket_memory import MESSAGE_BYTES

__all__ = ["render_attacks"]

_TITLES = {name: what for name, (_, what) in ATTACKS.items()} | {
    REGISTRATIONS: f"{FORGED_A_SECOND} forged REGISTERs a second, each of another source, "
    f"and {PHONES_A_SECOND} new phones a second"
}


def render_attacks(results: Mapping[str, Any]) -> str:
    """The report of all measured rows."""
    attacks = results["attacks"]
    run, medians = attacks["settings"], attacks["medians"]
    rounds = "1 round" if run["rounds"] == 1 else f"{run['rounds']} rounds, medians; failures are of all rounds"
    parts = [_table([["machine", ""], *([name, value] for name, value in results["machine"].items())])]
    if calls := [row for row in medians if "sink" in medians[row]]:
        parts.append(
            f"Calls of a trunk, {run['rate']} a second, during attacks: {rounds}. Set-up in ms, 20 of them ringing. "
            f"Asked: no failed call, and p99 at most {ASKED_RATIO:g} times that with the sink.\n\n"
            + _table([_HEAD, *(_calls(row, medians[row], attacks["ratios"][row]) for row in calls)])
        )
    if REGISTRATIONS in medians:
        head = ["new phones", "asked", "registered", "called", "failed, all rounds", "messages repeated"]
        keys = ("phones", "phones_registered", "phones_called", "phones_failed", "phones_repeated")
        rows = [
            [f"forged REGISTERs to the {target}", *(f"{figures[key]:.0f}" for key in keys)]
            for target, figures in medians[REGISTRATIONS].items()
        ]
        parts.append(_table([head, *rows]))
    if memory := [row for row in medians if row.startswith(MEMORY)]:
        engines = list(medians[memory[0]])
        sizes = ", ".join(f"{name} {MESSAGE_BYTES[name]}" for name in engines)
        rows = [[row, *(f"{medians[row][name][_memory_key(name)]:.1f}" for name in engines)] for row in memory]
        parts.append(
            f"KiB of each of {run['connections']} WebSockets, {run['idle']} s after one message (bytes: {sizes}); "
            f"RSS, of Kamailio with shared pages once. Asked: at most {ASKED_KIB}.\n\n"
            + _table([["", *engines], *rows])
        )
    parts += [f"not measured: {reason}" for reason in attacks["left_out"]]
    return "\n\n".join(parts) + "\n"


_HEAD = [
    "attack", "calls", "edge: failed", "repeated", "p50", "p99", "of its core", "waited for it", "sink: failed", "p50",
    "p99", "p99, edge to sink", "lowest", "highest",
]  # fmt: skip


def _calls(row: str, medians: Mapping[str, Mapping[str, float]], ratio: Mapping[str, float]) -> list[str]:
    edge, sink = medians["edge"], medians["sink"]
    return [
        _TITLES[row], f"{edge['calls']:.0f}", f"{edge['failed']:.0f}", f"{edge['retransmissions']:.0f}",
        _ms(edge["setup_p50_ms"]), _ms(edge["setup_p99_ms"]),
        f"{edge['core_share']:.1%}", f"{edge['waited_share']:.1%}",
        f"{sink['failed']:.0f}", _ms(sink["setup_p50_ms"]), _ms(sink["setup_p99_ms"]),
        *(f"{ratio[key]:.2f}" if ratio else "-" for key in ("median", "lowest", "highest")),
    ]  # fmt: skip


def _ms(milliseconds: float) -> str:
    return "no call" if math.isinf(milliseconds) else f"{milliseconds:.0f}"


def _memory_key(name: str) -> str:
    return "rss_kib" if name == "edge" else "pss_kib"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, padded so that it can be read as it is."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
