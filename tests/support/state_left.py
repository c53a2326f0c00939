"""The state that an edge in the test's process still holds when all calls have ended and all timers have run."""

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

__all__ = ["StateLeft", "state_left"]

_SOON = 5.0
"""Seconds to wait until the edge has removed calls that have ended; nothing is measured by it."""


@attrs.frozen
class StateLeft:
    """State that was not released: ``alive`` has numbers by name, ``calls`` the Call-IDs of live calls. ``sent`` are
    the messages that the edge sent when its last timers ran, ``outcomes`` the ended calls by outcome."""

    alive: dict[str, int]
    calls: tuple[str, ...]
    sent: tuple[bytes, ...]
    outcomes: Counter[str]


async def state_left(app: App) -> StateLeft:
    """Wait for the end of calls, run the edge's timers past the longest of a transaction, and return what is left.

    All members are disabled first: a health check has a transaction as well.
    """
    edge = app.edge
    with trio.move_on_after(_SOON):
        await until(lambda: not edge.calls and (app.media is None or not app.media.sessions))
    calls = tuple(call.call_id for call in edge.parts.calls)
    outcomes = Counter({outcome: number for (outcome,), number in edge.counters.outcomes.items()})
    for member in edge.dispatcher.members():
        edge.dispatcher.set_admin_state(member, AdminState.DISABLED, trio.current_time())
    sent: list[bytes] = []
    for later in (1, 2, 3):
        effects = edge.expire(trio.current_time() + later * 66 * T1)
        sent += [effect.data for effect in effects if isinstance(effect, Send)]
    alive = {
        "calls": edge.calls,
        "leases": edge.dispatcher.leases,
        "transactions": edge.transactions,
        "bytes of transactions": edge.parts.transactions.stored_bytes,
        "waiting for media": len(edge.parts.media),
        "media sessions": app.media.sessions if app.media is not None else 0,
        "media ports": app.media.ports_in_use if app.media is not None else 0,
    }
    return StateLeft(alive, calls, tuple(data for data in sent if not _is_probe(data)), outcomes)


def _is_probe(data: bytes) -> bool:
    """Whether it is an OPTIONS: the retransmission of a health check whose member has already ended."""
    message = parse_message(data)
    return isinstance(message, Request) and message.method == "OPTIONS"
