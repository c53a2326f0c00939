"""Containments for parts of an edge that run without it."""

from __future__ import annotations

import pytest

from edgesbc.tasks.containment import Containment

__all__ = ["collecting", "unfailing"]


def unfailing() -> Containment:
    """One that fails the test at the first fault."""
    return Containment(lambda kind, error: pytest.fail(f"{kind}: {error!r}"))


def collecting(into: list[str]) -> Containment:
    """One that adds ``KIND ERROR`` to a list."""
    return Containment(lambda kind, error: into.append(f"{kind} {error}"))
