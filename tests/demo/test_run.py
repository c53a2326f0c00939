"""The output and exit code of the demo when something fails."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from edgesbc.demo.environment import DemoEnvironment
from edgesbc.demo.report import DemoReport, FloodReport
from edgesbc.demo.run import print_report, run_demo
from edgesbc.demo.scenario import ScenarioPlan


def report(ports_left: int) -> DemoReport:
    return DemoReport(
        planned={}, results={}, flood=FloodReport(1.0, 2.0, 100, 1), dropped=Counter(), bans=0, killed="pbx-1",
        killed_at=1.5, failovers=0, calls_left=0, ports_left=ports_left, transactions_left=0,
    )  # fmt: skip


@pytest.mark.parametrize(("left", "code"), [(0, 0), (2, 1)])
def test_the_exit_code_and_the_last_line_show_the_outcome(tmp_path: Path, left: int, code: int) -> None:
    out = io.StringIO()
    environment = DemoEnvironment(tmp_path)
    environment.warnings.append("a last line of the edge")
    assert print_report(Console(file=out), report(left), environment, 51.6) == code
    lines = out.getvalue().splitlines()
    assert lines[-1] == ("failed after 52 s" if code else "passed after 52 s")
    assert ("failed: 2 media ports are left over" in lines) is bool(code)
    assert ("the edge said: a last line of the edge" in lines) is bool(code)


async def test_a_demo_that_cannot_run_prints_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise FileNotFoundError("no policy anywhere")

    monkeypatch.setattr("edgesbc.demo.demo_policy.shipped_policy", missing)
    out = io.StringIO()
    assert await run_demo(ScenarioPlan(1, 1), False, Console(file=out)) == 1
    assert "could not be played: no policy anywhere" in out.getvalue()


async def test_an_edge_that_does_not_start_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgesbc.demo.environment.write_policy", lambda path, *_: path.write_text("surprise = 1"))
    out = io.StringIO()
    assert await run_demo(ScenarioPlan(1, 1), False, Console(file=out)) == 1
    assert "the edge did not start" in out.getvalue()
    assert "surprise" in out.getvalue()
