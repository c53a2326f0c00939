"""Bans over a restart: a JSON file in the state directory, with times of the wall clock."""

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

__all__ = ["FILE", "PersistedBans", "as_json", "restore"]

FILE = "bans.json"
_VERSION = 1


def as_json(pipeline: Pipeline, now: float, wall: float) -> bytes:
    """The bans to keep at ``now`` on the monotonic clock, which is ``wall`` on the wall clock (seconds).

    These are bans with proof, and operator bans and exemptions. A ban without proof ends within a minute.
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
    operator_bans = [
        {
            "prefix": ban.prefix, "exempt": ban.exempt, "by": ban.by, "why": ban.why,
            "since": ban.since + offset, "until": None if ban.until is None else ban.until + offset,
        }
        for ban in pipeline.operator_bans
        if ban.by != "policy" and (ban.until is None or ban.until > now)
    ]  # fmt: skip
    return json.dumps({"version": _VERSION, "bans": bans, "orders": operator_bans}, indent=1).encode()


def restore(pipeline: Pipeline, data: bytes, now: float, wall: float) -> int:
    """Put the bans in ``data`` in force that have not expired; returns their number.

    A ban ends at the latest ``limits.BAN_SECONDS`` from now, because the wall clock may have been wrong when it was
    written. Raises ``ValueError`` that says what was expected and found; the bans before that place are in force.
    """
    if not data:
        return 0
    offset = wall - now
    state = parse_state(data, _VERSION)
    restored = 0
    for index, row in enumerate(as_list(state, "bans")):
        ban = _ban(as_table(row), f"bans[{index}]", offset)
        ban.until = min(ban.until, now + limits.BAN_SECONDS)
        restored += ban.until > now and pipeline.penalties.restore(ban)
    for index, row in enumerate(as_list(state, "orders")):
        operator_ban = _operator_ban(as_table(row), f"orders[{index}]", offset)
        if operator_ban.until is None or operator_ban.until > now:
            pipeline.operator_bans.put(operator_ban)
            restored += 1
    return restored


def _ban(row: dict[str, Any], location: str, offset: float) -> Ban:
    try:
        scope = BanScope[str(row["scope"]).upper()]
        reason = next(reason for reason in Reason if reason.code == row["reason"])
        port = int(row["port"]) if scope is BanScope.FLOW else ANY_PORT
        since, until = float(row["since"]) - offset, float(row["until"]) - offset
        key = (bool(row["stream"]), str(row["host"]), port)
        return Ban(key, scope, True, reason, since, until - since, int(row["offence"]))
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{location}: expected a ban, found {row!r} ({error})") from None


def _operator_ban(row: dict[str, Any], location: str, offset: float) -> OperatorBan:
    try:
        until = None if row["until"] is None else float(row["until"]) - offset
        since = float(row["since"]) - offset
        return OperatorBan(str(row["prefix"]), bool(row["exempt"]), since, until, str(row["by"]), str(row["why"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{location}: expected an order, found {row!r} ({error})") from None


class PersistedBans:
    """The bans of the pipeline in force, for :class:`~edgesbc.store.state_store.StateStore`."""

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

    def restore(self, data: bytes, now: float, wall: float) -> int:
        return restore(self._pipeline(), data, now, wall)
