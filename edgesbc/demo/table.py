"""The report of the demo as a table, for a terminal or as plain lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from edgesbc.demo.report import DETECTION_SECONDS, DemoReport, percentile

__all__ = ["print_table", "rows"]

Row = tuple[str, str]


def rows(report: DemoReport) -> Iterator[Row]:
    """Pairs of what was measured and its value, in the order of the table."""
    for group, planned in report.planned.items():
        yield f"{group}: calls placed", str(planned)
        yield f"{group}: calls completed", str(report.completed(group))
        yield f"{group}: audio verified", str(report.verified(group))
    cut = sum(len(report.cut(group)) for group in report.planned)
    yield f"calls cut by the kill (in conversation on {report.killed})", str(cut)
    flood = report.flood
    yield "flood: sent", f"{flood.sent} ({flood.rate:.0f} a second)"
    yield "flood: received by the edge", str(flood.sent - report.dropped_in_kernel)
    yield "flood: answered", str(flood.answered)
    for reason, count in sorted(report.dropped.items()):
        yield f"flood: dropped, {reason}", str(count)
    yield "flood: bans set or renewed", str(report.bans)
    yield "flood: dropped in the kernel (sent - received)", str(report.dropped_in_kernel)
    for name, during in (("before", False), ("during", True)):
        times = report.set_ups(during)
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        yield f"set-up p50 / p99 {name} the attack", f"{_milliseconds(p50)} / {_milliseconds(p99)}"
    yield "calls moved on to another destination", str(report.failovers)
    after = f"{DETECTION_SECONDS:g} s after the kill"
    yield f"failover time (longest set-up in the {after})", _milliseconds(report.failover())
    yield "calls left", str(report.calls_left)
    yield "ports left", str(report.ports_left)
    yield "transactions left", str(report.transactions_left)


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1000 * seconds:.1f} ms"


def print_table(console: Console, report: DemoReport) -> None:
    """Print the rows: a table on a terminal, elsewhere one ``name: value`` a line."""
    if console.is_terminal:
        table = Table(title="edgesbc demo", title_justify="left")
        table.add_column("measured")
        table.add_column("result", justify="right")
        for name, value in rows(report):
            table.add_row(name, value)
        console.print(table)
        return
    for name, value in rows(report):
        console.print(f"{name} = {value}", markup=False, highlight=False, soft_wrap=True)
