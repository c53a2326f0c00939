"""Operator overrides of destinations over a restart: a JSON file with times of the wall clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgesbc.base import limits
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override
from edgesbc.store.state_files import as_list, as_table, parse_state

__all__ = ["FILE", "PersistedOverrides", "as_json", "restore"]

FILE = "destination-orders.json"
_VERSION = 1

_MemberKey = tuple[str, str, str]
"""Set, URI and address of a member; the address is empty for all addresses of a name."""


def as_json(overrides: OperatorOverrides, now: float, wall: float) -> bytes:
    """The overrides at ``now`` on the monotonic clock, which is ``wall`` on the wall clock (seconds)."""
    offset = wall - now
    rows = [
        {
            "set": set_name, "uri": uri, "address": address, "order": override.admin_state.name.lower(),
            "by": override.by, "why": override.why, "since": override.since + offset,
            "gone": None if override.missing_since is None else override.missing_since + offset,
        }
        for (set_name, uri, address), override in overrides
    ]  # fmt: skip
    return json.dumps({"version": _VERSION, "orders": rows}, indent=1).encode()


def restore(overrides: OperatorOverrides, data: bytes, now: float, wall: float) -> int:
    """Add the overrides in ``data`` to ``overrides``; returns their number.

    Raises ``ValueError`` that says what was expected and found; the overrides before that place are added.
    """
    if not data:
        return 0
    rows = as_list(parse_state(data, _VERSION), "orders")
    for index, row in enumerate(rows):
        key, override = _override(as_table(row), f"orders[{index}]", wall - now)
        if not overrides.has_room([key]):
            raise ValueError(f"expected at most {limits.OPERATOR_OVERRIDES} orders, found {len(rows)}")
        overrides.put(key, override)
    return len(rows)


def _override(row: dict[str, Any], location: str, offset: float) -> tuple[_MemberKey, Override]:
    try:
        key = (str(row["set"]), str(row["uri"]), str(row["address"]))
        gone = None if row["gone"] is None else float(row["gone"]) - offset
        state = AdminState[str(row["order"]).upper()]
        return key, Override(state, str(row["by"]), str(row["why"]), float(row["since"]) - offset, gone)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{location}: expected an order, found {row!r} ({error})") from None


class PersistedOverrides:
    """The overrides of a running edge, for :class:`~edgesbc.store.state_store.StateStore`."""

    name = "orders about destinations"
    file = FILE

    def __init__(self, overrides: OperatorOverrides, dispatcher: Callable[[], Dispatcher]) -> None:
        self._overrides = overrides
        self._dispatcher = dispatcher

    @property
    def version(self) -> int:
        return self._overrides.version

    def as_json(self, now: float, wall: float) -> bytes:
        return as_json(self._overrides, now, wall)

    def restore(self, data: bytes, now: float, wall: float) -> int:
        try:
            return restore(self._overrides, data, now, wall)
        finally:
            self._overrides.apply(self._dispatcher(), now)
