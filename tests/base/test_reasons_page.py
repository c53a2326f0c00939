"""The page of reasons shows every code, the files that give it, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import reasons
from edgesbc.base.reasons import Reason


def test_the_page_is_made_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert reasons.main([]) == 0, capsys.readouterr().out


def test_every_reason_has_its_advice() -> None:
    missing = [reason.name for reason in Reason if reason not in reasons.ADVICE]
    assert missing == [], "what can an operator do about it? docs/reasons.py"
    assert all(advice.endswith(".") and "|" not in advice and "\n" not in advice for advice in reasons.ADVICE.values())


def test_every_reason_has_a_row_with_its_answer_and_the_files_that_give_it() -> None:
    rows = {cells[1].strip(" `"): cells for cells in (line.split("|") for line in drawn().splitlines()[2:])}
    assert list(rows) == [reason.code for reason in Reason]
    assert rows["ratelimit"][2].strip() == "503"
    assert rows["pike"][2].strip() == "-"
    assert rows["pike"][4].strip() == "[stage `pike`](../../edgesbc/screen/stages/pike.py)"
    files = ("signalling/out_of_dialog", "signalling/request_branches", "signalling/targets")
    links = [f"[{file.replace('/', '.')}](../../edgesbc/{file}.py)" for file in files]
    assert rows["routed"][4].strip() == ", ".join(links)


def test_a_comparison_with_a_reason_does_not_count_as_giving_it() -> None:
    files = reasons.given_by()
    assert "signalling/screener.py" not in files[Reason.METHOD]  # the other file only compares it, to add Allow
    assert "signalling/out_of_dialog.py" in files[Reason.NO_ROUTE]
    assert files[Reason.CONDUCT] == ["screen/pipeline.py"]  # and not the file that lists its points


def test_the_page_shows_changed_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "ADVICE", {**reasons.ADVICE, Reason.PIKE: "Run."})
    assert reasons.main([]) == 1


def test_write_renews_the_page_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = reasons.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(reasons, "PAGE", tmp_path / "page.md")
    reasons.PAGE.write_text(text.replace("| `pike` |", "| `shark` |"), encoding="utf-8")
    assert reasons.main([]) == 1
    assert reasons.main(["--write"]) == 0
    assert reasons.PAGE.read_text(encoding="utf-8") == text


def drawn() -> str:
    return reasons.drawn()["reasons"]
