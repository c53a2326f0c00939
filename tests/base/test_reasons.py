"""Reason codes, which operators rely on: unique, plain, and with a status of SIP."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import edgesbc
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason


def test_codes_are_unique() -> None:
    # Two members of one value would be one member, silently: count the names as well.
    codes = Counter(member.code for member in Reason.__members__.values())
    assert [code for code, times in codes.items() if times > 1] == []
    assert len(Reason) == len(Reason.__members__)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_a_reason_is_given_somewhere(reason: Reason) -> None:
    """A reason that only tables name is documented, and never seen by an operator."""
    package = Path(edgesbc.__file__).parent
    tables = {"base/reasons.py", "screen/misbehaviour.py", "observe/ledger.py", "observe/render.py"}
    sources = (path for path in package.rglob("*.py") if path.relative_to(package).as_posix() not in tables)
    assert any(f"Reason.{reason.name}" in path.read_text(encoding="utf-8") for path in sources)


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.code)
def test_a_reason_can_be_a_label_and_a_sentence(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", reason.code)
    assert reason.name == reason.code.upper().replace("-", "_")
    assert reason.meaning
    assert not reason.meaning.endswith(".")
    assert reason.status == 0 or 400 <= reason.status < 700


def test_the_repr_of_a_decision_has_its_values() -> None:
    decision = Decision(1.5, Reason.PIKE, source="192.0.2.1:5060", limit=30, value=31, shadow=True)
    text = repr(decision)
    assert "192.0.2.1:5060" in text
    assert "PIKE" in text
    assert "shadow=True" in text
    assert "call_id" not in text
