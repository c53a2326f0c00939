"""Bans over a restart: a file of JSON in the state directory, by the wall clock. Decides nothing."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import ANY_PORT, Ban, Scope
from edgesbc.screen.orders import Order
from edgesbc.screen.pipeline import Pipeline

__all__ = ["FILE", "as_json", "enter", "put_aside", "read", "write"]

FILE = "bans.json"
_VERSION = 1
_WRITING = threading.Lock()
"""What is written last is begun last as well: at the end of the edge there may be a write of before."""


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
        for order in pipeline.orders
        if order.by != "policy" and (order.until is None or order.until > now)
    ]  # fmt: skip
    return json.dumps({"version": _VERSION, "bans": bans, "orders": orders}, indent=1).encode()


def write(folder: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file, whole or not at all. Raises ``OSError``."""
    path, new = folder / FILE, folder / f"{FILE}.new"
    with _WRITING:
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)


def read(folder: Path) -> bytes:
    """The file as it is, empty where there is none. Raises ``OSError``."""
    try:
        with (folder / FILE).open("rb") as stream:
            return stream.read(limits.BANS_BYTES)
    except FileNotFoundError:
        return b""


def put_aside(folder: Path) -> Path:
    """Rename a file that cannot be used, so that the next one does not take its place; to what. Raises ``OSError``."""
    return (folder / FILE).rename(folder / f"{FILE}.broken")


def enter(pipeline: Pipeline, data: bytes, now: float, wall: float) -> int:
    """Put in force what was kept and has not run out; how many bans and orders those are.

    A ban lasts no longer from now than the longest there is: the wall clock may have been wrong, then or now.
    Raises ``ValueError`` that says what was found where something else was expected; what came before it
    is in force then.
    """
    if not data:
        return 0
    offset = wall - now
    try:
        kept = _table(json.loads(data))
    except RecursionError:
        raise ValueError("expected a table of bans, found one inside another without end") from None
    if kept.get("version") != _VERSION:
        raise ValueError(f"expected version {_VERSION}, found {kept.get('version')!r}")
    entered = 0
    for number, row in enumerate(_list(kept, "bans")):
        ban = _ban(_table(row), f"bans[{number}]", offset)
        ban.until = min(ban.until, now + limits.BAN_SECONDS)
        entered += ban.until > now and pipeline.penalties.restore(ban)
    for number, row in enumerate(_list(kept, "orders")):
        order = _order(_table(row), f"orders[{number}]", offset)
        if order.until is None or order.until > now:
            pipeline.orders.put(order)
            entered += 1
    return entered


def _ban(row: dict[str, Any], where: str, offset: float) -> Ban:
    try:
        scope = Scope[str(row["scope"]).upper()]
        reason = next(each for each in Reason if each.code == row["reason"])
        port = int(row["port"]) if scope is Scope.FLOW else ANY_PORT
        since, until = float(row["since"]) - offset, float(row["until"]) - offset
        key = (bool(row["stream"]), str(row["host"]), port)
        return Ban(key, scope, True, reason, since, until - since, int(row["offence"]))
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected a ban, found {row!r} ({error})") from None


def _order(row: dict[str, Any], where: str, offset: float) -> Order:
    try:
        until = None if row["until"] is None else float(row["until"]) - offset
        since = float(row["since"]) - offset
        return Order(str(row["prefix"]), bool(row["exempt"]), since, until, str(row["by"]), str(row["why"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected an order, found {row!r} ({error})") from None


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {value!r}")
    return value


def _list(table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    if not isinstance(value, list):
        raise ValueError(f"{key}: expected a list, found {value!r}")
    return value
