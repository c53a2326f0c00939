"""A fresh brain for each test."""

from __future__ import annotations

import pytest
from support.signalling import Brain


@pytest.fixture
def brain() -> Brain:
    return Brain()


@pytest.fixture
def open_brain() -> Brain:
    """One that strangers may call."""
    return Brain(open=("public",))
