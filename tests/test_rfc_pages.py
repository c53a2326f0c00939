"""The pages of conformance, deviations and threats name files, tests and sections that exist, and each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import anchors, rows

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
CONFORMANCE = (REFERENCE / "conformance.md").read_text(encoding="utf-8")
DEVIATIONS = REFERENCE / "deviations.md"
REQUIREMENTS = [cells for cells in rows(CONFORMANCE) if cells[0] != "section"]
THREATS = [cells for cells in rows((REFERENCE / "threats.md").read_text(encoding="utf-8")) if cells[0] != "#"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)]*)\)")


# --- conformance and deviations ----------------------------------------------------------------------------


def test_every_row_has_a_state_and_the_code_and_tests_of_it() -> None:
    assert len(REQUIREMENTS) > 100
    for section, requirement, state, code, shown in REQUIREMENTS:
        row = f"{section} {requirement}"
        files, tests = (set(_LINK.findall(cell)) for cell in (code, shown))
        assert section, row
        assert requirement, row
        assert re.match(r"(kept|differs|absent)\b", state), row
        assert state.startswith("absent") or (files and tests), row
        assert all(link.startswith("../../edgesbc/") and link.endswith(".py") for link in files), row
        assert all(link.startswith("../../tests/") and "/test_" in link for link in tests), row
        if "differs" in state:
            assert "](deviations.md#" in state, row
        for cell in (code, shown):
            assert all(f"[{Path(link).stem.removeprefix('test_')}]" in cell for link in _LINK.findall(cell)), row


def test_every_link_to_code_is_in_a_row() -> None:
    in_rows = {link for cells in REQUIREMENTS for cell in cells for link in _LINK.findall(cell)}
    on_page = set(_LINK.findall(CONFORMANCE))
    assert {link for link in on_page if link.startswith("../../")} <= in_rows


def test_every_deviation_has_its_cost() -> None:
    deviations = [cells for cells in rows(DEVIATIONS.read_text(encoding="utf-8")) if len(cells) == 4]
    assert len(deviations) > 50
    assert [cells[0] for cells in deviations if not all(cells)] == []


def test_every_rfc_of_the_deviations_is_linked_from_its_row() -> None:
    text = DEVIATIONS.read_text(encoding="utf-8")
    named = set(re.findall(r"RFC (\d+)", text))
    assert len(named) > 20
    headings = "\n".join(re.findall(r"^## (.*)$", CONFORMANCE, re.MULTILINE))
    sections = "\n".join(cells[0] for cells in REQUIREMENTS)
    assert named <= set(re.findall(r"RFC (\d+)", headings + sections))
    linked = set(re.findall(r"\(deviations\.md#([^)]*)\)", "\n".join(cells[2] for cells in REQUIREMENTS)))
    assert linked == anchors(DEVIATIONS) - {"deviations-from-the-rfcs"}


def test_every_section_of_rfc_3261_with_a_deviation_has_a_row() -> None:
    """A rule in the deviations begins with its sections. Its row may name a section that contains one of them."""
    rules = [cells[0] for cells in rows(DEVIATIONS.read_text(encoding="utf-8")) if "RFC" not in cells[0]]
    deviating = {section for rule in rules for section in re.findall(r"\b\d+(?:\.\d+)+\b", rule)}
    assert len(deviating) > 30
    part = CONFORMANCE.partition("## RFC 3261")[2].partition("\n## ")[0]
    listed = {section for cells in rows(part) for section in re.findall(r"\b\d+(?:\.\d+)*\b", cells[0])}
    missing = {part for part in deviating if not any(f"{part}.".startswith(f"{whole}.") for whole in listed)}
    assert missing == set()


# --- threats -----------------------------------------------------------------------------------------------


def named_in(cell: str) -> Iterator[tuple[Path, str]]:
    """The file and name of every test in a cell: a link to a file, followed by names of tests in it."""
    for link, names in re.findall(r"\]\(([^)]+)\)((?: `\w+`,?)+)", cell):
        yield from (((REFERENCE / link).resolve(), name) for name in re.findall(r"`(\w+)`", names))


def test_the_threats_are_numbered_without_a_gap() -> None:
    assert [cells[0] for cells in THREATS] == [str(number) for number in range(1, len(THREATS) + 1)]
    assert len(THREATS) >= 38


@pytest.mark.parametrize("cells", THREATS, ids=[cells[0] for cells in THREATS])
def test_every_threat_names_a_test_that_exists(cells: list[str]) -> None:
    _, threat, edge, shown = cells
    assert threat
    assert edge
    tests = list(named_in(shown))
    assert tests or (edge.startswith("not there yet") and shown == "-")
    assert len(tests) == len(re.findall(r"`\w+`", shown)), "a name follows no link"
    for file, name in tests:
        assert re.search(rf"^(?:async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_test_with_the_number_of_a_threat_is_in_its_row() -> None:
    named = {(cells[0], name) for cells in THREATS for _, name in named_in(cells[3])}
    for file in (REFERENCE.parents[1] / "tests" / "threats").glob("test_*.py"):
        for name, number in re.findall(r"^(?:async )?def (test_(\d+)_\w+)\(", file.read_text("utf-8"), re.MULTILINE):
            assert (number, name) in named, f"{name} is not in row {number} of docs/reference/threats.md"
