"""Bans over a restart: a file of JSON in the state directory, by the wall clock. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import ANY_PORT, Ban, BanScope
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline
from edgesbc.store.state_files import as_list, as_table, parse_state

__all__ = ["FILE", "PersistedBans", "as_json", "enter"]

FILE = "bans.json"
_VERSION = 1


def as_json(pipeline: Pipeline, now: float, wall: float) -> bytes:
    """What is worth keeping at ``now`` on the plane's clock, ``wall`` on that of the world (seconds).

    Those are bans with proof and the operator's orders: what may be forged is over in a minute.
    """
    offset = wall - now
    bans = [
        {
            "stream": ban.stream, "host": ban.key[1], "port": ban.key[2], "scope": ban.scope.word,
            "reason": ban.reason.code, "since": ban.since + offset, "until": ban.until + offset, "offence": ban.offence,
        }
        for ban in pipeline.penalties
        if ban.proven and ban.until > now
    ]  # fmt: skip
    orders = [
        {
            "prefix": order.prefix, "exempt": order.exempt, "by": order.by, "why": order.why,
            "since": order.since + offset, "until": None if order.until is None else order.until + offset,
        }
        for order in pipeline.operator_bans
        if order.by != "policy" and (order.until is None or order.until > now)
    ]  # fmt: skip
    return json.dumps({"version": _VERSION, "bans": bans, "orders": orders}, indent=1).encode()


def enter(pipeline: Pipeline, data: bytes, now: float, wall: float) -> int:
    """Put in force what was kept and has not run out; how many bans and orders those are.

    A ban lasts no longer from now than the longest there is: the wall clock may have been wrong, then or now.
    Raises ``ValueError`` that says what was found where something else was expected; what came before it
    is in force then.
    """
    if not data:
        return 0
    offset = wall - now
    kept = parse_state(data, _VERSION)
    entered = 0
    for number, row in enumerate(as_list(kept, "bans")):
        ban = _ban(as_table(row), f"bans[{number}]", offset)
        ban.until = min(ban.until, now + limits.BAN_SECONDS)
        entered += ban.until > now and pipeline.penalties.restore(ban)
    for number, row in enumerate(as_list(kept, "orders")):
        order = _order(as_table(row), f"orders[{number}]", offset)
        if order.until is None or order.until > now:
            pipeline.operator_bans.put(order)
            entered += 1
    return entered


def _ban(row: dict[str, Any], where: str, offset: float) -> Ban:
    try:
        scope = BanScope[str(row["scope"]).upper()]
        reason = next(each for each in Reason if each.code == row["reason"])
        port = int(row["port"]) if scope is BanScope.FLOW else ANY_PORT
        since, until = float(row["since"]) - offset, float(row["until"]) - offset
        key = (bool(row["stream"]), str(row["host"]), port)
        return Ban(key, scope, True, reason, since, until - since, int(row["offence"]))
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected a ban, found {row!r} ({error})") from None


def _order(row: dict[str, Any], where: str, offset: float) -> OperatorBan:
    try:
        until = None if row["until"] is None else float(row["until"]) - offset
        since = float(row["since"]) - offset
        return OperatorBan(str(row["prefix"]), bool(row["exempt"]), since, until, str(row["by"]), str(row["why"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected an order, found {row!r} ({error})") from None


class PersistedBans:
    """The bans and orders of the pipeline in force, which ``pipeline`` gives, for the keeper."""

    name = "bans"
    file = FILE

    def __init__(self, pipeline: Callable[[], Pipeline]) -> None:
        self._pipeline = pipeline

    @property
    def version(self) -> tuple[int, int]:
        pipeline = self._pipeline()
        return pipeline.penalties.version, pipeline.operator_bans.version

    def as_json(self, now: float, wall: float) -> bytes:
        return as_json(self._pipeline(), now, wall)

    def enter(self, data: bytes, now: float, wall: float) -> int:
        return enter(self._pipeline(), data, now, wall)
