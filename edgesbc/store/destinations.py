"""Orders about destinations over a restart: a file of JSON, by the wall clock. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgesbc.base import limits
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override
from edgesbc.store.state_files import as_list, as_table, parse_state

__all__ = ["FILE", "PersistedOverrides", "as_json", "enter"]

FILE = "destination-orders.json"
_VERSION = 1


def as_json(orders: OperatorOverrides, now: float, wall: float) -> bytes:
    """The orders at ``now`` on the plane's clock, ``wall`` on that of the world (seconds)."""
    offset = wall - now
    kept = [
        {
            "set": set_name, "uri": uri, "address": address, "order": ordered.admin_state.name.lower(),
            "by": ordered.by, "why": ordered.why, "since": ordered.since + offset,
            "gone": None if ordered.missing_since is None else ordered.missing_since + offset,
        }
        for (set_name, uri, address), ordered in orders
    ]  # fmt: skip
    return json.dumps({"version": _VERSION, "orders": kept}, indent=1).encode()


def enter(orders: OperatorOverrides, data: bytes, now: float, wall: float) -> int:
    """Put what was kept among ``orders``; how many those are.

    Raises ``ValueError`` that says what was found where something else was expected; what came before it is
    among them then.
    """
    if not data:
        return 0
    found = as_list(parse_state(data, _VERSION), "orders")
    for number, row in enumerate(found):
        who, ordered = _order(as_table(row), f"orders[{number}]", wall - now)
        if not orders.has_room([who]):
            raise ValueError(f"expected at most {limits.DESTINATION_ORDERS} orders, found {len(found)}")
        orders.put(who, ordered)
    return len(found)


def _order(row: dict[str, Any], where: str, offset: float) -> tuple[tuple[str, str, str], Override]:
    try:
        who = (str(row["set"]), str(row["uri"]), str(row["address"]))
        gone = None if row["gone"] is None else float(row["gone"]) - offset
        order = AdminState[str(row["order"]).upper()]
        return who, Override(order, str(row["by"]), str(row["why"]), float(row["since"]) - offset, gone)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected an order, found {row!r} ({error})") from None


class PersistedOverrides:
    """The orders about the destinations of a running edge, for the keeper."""

    name = "orders about destinations"
    file = FILE

    def __init__(self, orders: OperatorOverrides, dispatcher: Callable[[], Dispatcher]) -> None:
        self._orders = orders
        self._dispatcher = dispatcher

    @property
    def version(self) -> int:
        return self._orders.version

    def as_json(self, now: float, wall: float) -> bytes:
        return as_json(self._orders, now, wall)

    def enter(self, data: bytes, now: float, wall: float) -> int:
        try:
            return enter(self._orders, data, now, wall)
        finally:
            self._orders.apply(self._dispatcher(), now)
