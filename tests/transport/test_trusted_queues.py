"""When strangers wait for the receive queues of others."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.transport.trusted_queues import TrustedQueues


def test_strangers_wait_until_every_queue_had_few_datagrams_in_a_turn() -> None:
    queues = TrustedQueues()
    queues.note(1, limits.UDP_BEHIND - 1)
    assert not queues.behind
    for listener in (1, 2, 1):
        queues.note(listener, limits.UDP_BEHIND)
    queues.note(1, limits.UDP_BEHIND - 1)
    assert queues.behind
    queues.note(2, 0)
    queues.note(2, 0)
    assert not queues.behind
