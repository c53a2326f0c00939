"""Certificates, and real time that a test can make jump."""

import pytest
import trio.testing
from support.certificates import certificates

__all__ = ["certificates"]


@pytest.fixture
def hasty_clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """Real time that a test can make jump."""
    mock_clock.rate = 1
    return mock_clock
