"""Every bound has its reason, and the bounds on the security page are the ones in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edgesbc.base import limits

SOURCE = ast.parse(Path(limits.__file__).read_text(encoding="utf-8"))
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
ROWS = re.findall(r"\| `limits\.([A-Z_]+)` \| ([0-9.]+) \|", SECURITY.read_text(encoding="utf-8"))


def test_every_bound_is_followed_by_its_reason() -> None:
    bounds = 0
    for statement, after in zip(SOURCE.body, [*SOURCE.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign):
            bounds += 1
            value = after.value if isinstance(after, ast.Expr) else None
            reason = value.value if isinstance(value, ast.Constant) else None
            assert isinstance(reason, str), f"{ast.unparse(statement)} has no reason"
            assert len(reason) > 10, f"{ast.unparse(statement)} has no reason"
    assert bounds > 20


def test_every_bound_is_a_positive_number() -> None:
    values = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert [name for name, value in values.items() if not value > 0] == []


def test_the_security_page_lists_bounds() -> None:
    assert len(ROWS) > 15
    assert len({name for name, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("name", "value"), ROWS)
def test_a_bound_on_the_security_page_is_the_one_in_the_code(name: str, value: str) -> None:
    assert getattr(limits, name) == float(value)
