"""What an edge in the test's own process still holds when all is over. Waits for calls, and puts its clock forward."""

from __future__ import annotations

from collections import Counter

import attrs
import trio
from support.running import until

from edgesbc.app import App
from edgesbc.dispatch.health import AdminState
from edgesbc.signalling.effects import Send
from edgesbc.sip.machines import T1
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

__all__ = ["Left", "left"]

_SOON = 5.0
"""Seconds until calls that are over are forgotten; nothing is measured by it."""


@attrs.frozen
class Left:
    """What the edge still had when all was over, by name, and what it sent when its last timers ran."""

    alive: dict[str, int]
    calls: tuple[str, ...]
    said: tuple[bytes, ...]
    outcomes: Counter[str]


async def left(app: App) -> Left:
    """What is still there; then the edge's clock is put forward, past the longest timers of transactions.

    Nobody is probed from here on, since a probe has a transaction as well.
    """
    edge = app.edge
    with trio.move_on_after(_SOON):
        await until(lambda: not edge.calls and (app.media is None or not app.media.sessions))
    calls = tuple(call.call_id for call in edge.parts.calls)
    outcomes = Counter({outcome: number for (outcome,), number in edge.counters.outcomes.items()})
    for member in edge.dispatcher.members():
        edge.dispatcher.set_admin_state(member, AdminState.DISABLED, trio.current_time())
    said: list[bytes] = []
    for later in (1, 2, 3):
        effects = edge.expire(trio.current_time() + later * 66 * T1)
        said += [effect.data for effect in effects if isinstance(effect, Send)]
    alive = {
        "calls": edge.calls,
        "leases": edge.dispatcher.leases,
        "transactions": edge.transactions,
        "waiting for media": len(edge.parts.media),
        "media sessions": app.media.sessions if app.media is not None else 0,
        "media ports": app.media.ports_in_use if app.media is not None else 0,
    }
    return Left(alive, calls, tuple(data for data in said if not _is_probe(data)), outcomes)


def _is_probe(data: bytes) -> bool:
    """Whether it is an OPTIONS that is retransmitted: its member does not respond any more."""
    message = parse_message(data)
    return isinstance(message, Request) and message.method == "OPTIONS"
