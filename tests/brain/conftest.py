"""A fresh brain for each test."""

from __future__ import annotations

import pytest
from support.brain import Brain


@pytest.fixture
def brain() -> Brain:
    return Brain()
