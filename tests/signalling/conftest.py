"""A fresh edge for each test."""

from __future__ import annotations

import pytest
from support.signalling import EdgeHarness


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness()


@pytest.fixture
def open_harness() -> EdgeHarness:
    """An edge that unproven sources may call."""
    return EdgeHarness(open=("public",))
