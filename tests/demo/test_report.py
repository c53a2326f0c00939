"""The report of the demo: failures, calls that the kill of a PBX has cut, and the table."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import attrs
import pytest
from rich.console import Console

from edgesbc.base.address import Transport
from edgesbc.demo.report import DemoReport, FloodReport, percentile
from edgesbc.demo.result import CallResult
from edgesbc.demo.table import print_table

GOOD = CallResult(
    "good", Transport.UDP, placed=10.0, answered=10.01, ended=10.6, status=200, to_tag="pbx-2-aa", sent=25, heard=25,
    verified=True, bye_status=200,
)  # fmt: skip
CUT = attrs.evolve(
    GOOD, call_id="cut", placed=14.8, answered=14.81, ended=16.5, to_tag="pbx-1-aa", heard=9, verified=False,
    bye_status=503, problem="the audio differs",
)  # fmt: skip
MOVED = attrs.evolve(GOOD, call_id="moved", placed=15.01, answered=15.2, ended=15.9)
FLOOD = FloodReport(began=10.5, ended=20.5, sent=200_000, answered=30)


def report_of(*results: CallResult, **changes: Any) -> DemoReport:
    report = DemoReport(
        planned={"trunk": len(results)}, results={"trunk": results}, flood=FLOOD,
        dropped=Counter({"banned": 900, "pike": 1}), bans=1, killed="pbx-1", killed_at=15.0, failovers=1,
        calls_left=0, ports_left=0, transactions_left=0,
    )  # fmt: skip
    return attrs.evolve(report, **changes)


def test_without_a_failed_call_there_are_no_failures() -> None:
    report = report_of(GOOD, MOVED)
    assert report.failures() == []
    assert report.completed("trunk") == report.verified("trunk") == 2


def test_a_call_on_the_killed_pbx_is_cut_and_no_failure() -> None:
    report = report_of(GOOD, CUT)
    assert report.failures() == []
    assert report.cut("trunk") == [CUT]
    assert report.completed("trunk") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"to_tag": "pbx-2-aa"},  # the PBX that was not killed
        {"to_tag": "pbx-11-aa"},  # another PBX, whose name has that of the killed one as prefix
        {"placed": 15.1},  # after the kill
        {"ended": 14.9},  # before it
        {"answered": None},
    ],
)
def test_no_other_failed_call_counts_as_cut(changes: dict[str, Any]) -> None:
    report = report_of(attrs.evolve(CUT, **changes))
    assert report.cut("trunk") == []
    assert len(report.failures()) == 1


def test_a_cut_call_must_also_end() -> None:
    assert len(report_of(attrs.evolve(CUT, bye_status=0)).failures()) == 1
    assert report_of(attrs.evolve(CUT, bye_status=0, hung_up=True)).failures() == []


@pytest.mark.parametrize(
    "changes",
    [{"verified": False}, {"bye_status": 0}, {"bye_status": 481}, {"answered": None, "status": 503}],
)
def test_a_call_that_did_not_complete_fails(changes: dict[str, Any]) -> None:
    assert len(report_of(GOOD, attrs.evolve(GOOD, **changes, problem="why")).failures()) == 1


def test_a_call_without_a_result_fails() -> None:
    assert "2 calls were to be placed, 1 have" in report_of(GOOD, planned={"trunk": 2}).failures()[0]
    assert len(report_of(results={}, planned={"wss": 1}).failures()) == 1


@pytest.mark.parametrize("count_left", ["calls_left", "ports_left", "transactions_left", "exit_code"])
def test_state_that_is_left_over_is_a_failure(count_left: str) -> None:
    assert len(report_of(GOOD, **{count_left: 3}).failures()) == 1


def test_the_list_of_failures_is_limited() -> None:
    bad = attrs.evolve(GOOD, verified=False)
    failures = report_of(*[bad] * 1000, calls_left=1).failures()
    assert failures[10] == "and 990 more calls failed"
    assert failures[11] == "1 calls are left over"
    assert len(failures) == 12


def test_failover_time_counts_calls_just_after_the_kill() -> None:
    late = attrs.evolve(GOOD, placed=19.0, answered=19.9)
    early = attrs.evolve(GOOD, placed=10.0, answered=12.0)
    assert report_of(GOOD, MOVED, late, early).failover() == pytest.approx(0.19)
    assert report_of(GOOD).failover() is None


def test_set_ups_before_and_during_the_flood() -> None:
    report = report_of(GOOD, MOVED)
    assert report.set_ups(during=False) == [pytest.approx(0.01)]
    assert report.set_ups(during=True) == [pytest.approx(0.19)]


def test_percentiles_by_nearest_rank() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([5], 0.99) == 5


def printed(report: DemoReport, terminal: bool) -> str:
    out = io.StringIO()
    print_table(Console(file=out, force_terminal=terminal, width=100, no_color=True), report)
    return out.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    lines = dict(line.split(" = ") for line in printed(report_of(GOOD, CUT, MOVED), terminal=False).splitlines())
    assert lines["trunk: calls placed"] == "3"
    assert lines["trunk: calls completed"] == "2"
    assert lines["calls cut by the kill (in conversation on pbx-1)"] == "1"
    assert lines["flood: received by the edge"] == "931"
    assert lines["flood: dropped, banned"] == "900"
    assert lines["flood: dropped in the kernel (sent - received)"] == "199069"
    assert lines["failover time (longest set-up in the 3 s after the kill)"] == "190.0 ms"
    assert lines["ports left"] == "0"


def test_a_table_on_a_terminal() -> None:
    text = printed(report_of(GOOD), terminal=True)
    assert "measured" in text
    assert "199069" in text
    assert " = " not in text
