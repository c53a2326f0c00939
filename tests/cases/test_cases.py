"""docs/how_to_guides/why.md shows the reasons that the edge gives today, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cases.__main__ import PAGE
from cases.play import CASES, play


def shown() -> dict[str, list[str]]:
    """The reasons of each case of the page, by its heading."""
    cases = re.findall(r"^### ([^\n]*)\n\n```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {heading: re.findall(r"; reason ([a-z-]+)\)", block) for heading, block in cases}


def once(reasons: list[str]) -> list[str]:
    """The number of repetitions depends on how fast packets arrived."""
    return list(dict.fromkeys(reasons))


@pytest.mark.timeout(240)
async def test_the_page_shows_what_the_edge_says(tmp_path: Path) -> None:
    reports = await play(tmp_path, by_command=False)
    page = shown()
    assert list(page) == list(reports) == list(CASES)
    assert {heading: once(report.reasons) for heading, report in reports.items()} == {
        heading: once(reasons) for heading, reasons in page.items()
    }
    assert all(page.values())
