"""What operators order about bans over the control socket. Judges nobody: the orders are the operator's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import listed_address
from edgesbc.control.ban_rows import rows, sentence, watched
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect

__all__ = ["BanCommands"]

_STAGE = "operator"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BanCommands:
    """Answers ``bans list``, ``bans add`` and ``bans remove`` for one edge.

    ``clock`` is the plane's (seconds), ``record`` takes decisions, ``carry_out`` the effects of closing
    connections.
    """

    def __init__(
        self,
        edge: Callable[[], Edge],
        clock: Callable[[], float],
        record: Callable[[Decision], None],
        carry_out: Callable[[list[Effect]], None],
    ) -> None:
        self._edge = edge
        self._clock = clock
        self._record = record
        self._carry_out = carry_out

    @property
    def commands(self) -> Mapping[str, Callable[[ControlRequest], dict[str, Any]]]:
        """By the name that they are asked for by."""
        return {"bans list": self.show, "bans add": self.add, "bans remove": self.remove}

    def show(self, asked: ControlRequest) -> dict[str, Any]:
        """All bans and orders, newest first, at most ``limits.BANS_LISTED``; and the busiest sources."""
        pipeline, now = self._edge().pipeline, self._clock()
        found = rows(pipeline, now)
        shown = found[: limits.BANS_LISTED]
        return {
            "bans": [{**row, "sentence": sentence(row)} for row in shown],
            "left_out": len(found) - len(shown),
            "watched": watched(pipeline, now, limits.SOURCES_LISTED),
        }

    def add(self, asked: ControlRequest) -> dict[str, Any]:
        """``prefix``, ``by``, and where given ``seconds``, ``why`` and ``exempt``."""
        edge, now = self._edge(), self._clock()
        prefix = _prefix(asked.text("prefix"))
        exempt, seconds, why = asked.arguments.get("exempt") is True, _seconds(asked), _why(asked)
        by = asked.text("by")[: limits.LEDGER_TEXT_CHARS]
        try:
            edge.pipeline.operator_bans.put(
                OperatorBan(prefix, exempt, now, None if seconds is None else now + seconds, by, why)
            )
        except ValueError as error:
            raise CommandRefused(str(error)) from None
        lifted = sum(map(self._lift, self._banned_within(prefix))) if exempt else 0
        what = "exempt from penalties" if exempt else "banned"
        detail = f"{what} by {by}{f': {why}' if why else ''}"
        self._record(Decision(now, Reason.BAN, prefix, stage=_STAGE, limit=seconds, detail=detail))
        if not exempt:
            self._carry_out(edge.expel(now))
        spared = [] if exempt else self._trunks_within(prefix)[: limits.SOURCES_LISTED]
        return {"prefix": prefix, "exempt": exempt, "seconds": seconds, "lifted": lifted, "trunks": spared}

    def remove(self, asked: ControlRequest) -> dict[str, Any]:
        """``who`` as ``bans list`` writes it, and ``by``: an order is taken back, bans of the edge's own are lifted."""
        pipeline, now = self._edge().pipeline, self._clock()
        who = _flow(asked.text("who")) or _prefix(asked.text("who"))
        order = _flow(who) is None and pipeline.operator_bans.drop(who)
        lifted = self._lift(who)
        if order or lifted:
            detail = f"lifted by {asked.text('by')[: limits.LEDGER_TEXT_CHARS]}"
            self._record(Decision(now, Reason.BAN, who, stage=_STAGE, detail=detail))
        return {"who": who, "order": order, "lifted": lifted}

    def _lift(self, who: str) -> int:
        lifted, effects = self._edge().lift(who)
        self._carry_out(effects)
        return lifted

    def _trunks_within(self, prefix: str) -> list[str]:
        """Trunks with an address there, by name: for them a ban does not hold."""
        network = ipaddress.ip_network(prefix)
        return [
            trunk.name
            for trunk in self._edge().pipeline.standings.trunks.values()
            if any(_meets(listed_address(text), network) for text in trunk.addresses)
        ]

    def _banned_within(self, prefix: str) -> list[str]:
        network = ipaddress.ip_network(prefix)
        return [
            ban.key[1]
            for ban in self._edge().pipeline.penalties
            if "/" not in ban.key[1] and ipaddress.ip_address(ban.key[1].partition("%")[0]) in network
        ]


def _meets(listed: _Network | Source, network: _Network) -> bool:
    """Whether an address of a trunk and a prefix have anything in common."""
    if isinstance(listed, Source):
        return ipaddress.ip_address(listed.host) in network
    return listed.version == network.version and listed.overlaps(network)


def _prefix(text: str) -> str:
    """A prefix, or an address without a length, as the edge writes it."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise CommandRefused(
            f"expected an address or a prefix, as in 192.0.2.7 or 192.0.2.0/24; found {text!r}"
        ) from None
    whole = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if whole else str(network)


def _flow(text: str) -> str | None:
    """An address with a port as the edge writes it; None for anything else."""
    try:
        source = split_host_port(text)
        return str(source._replace(host=str(ipaddress.ip_address(source.host))))
    except ValueError:
        return None


def _seconds(asked: ControlRequest) -> float | None:
    value = asked.arguments.get("seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limits.ORDER_SECONDS:
        raise CommandRefused(f"expected seconds from 1 to {limits.ORDER_SECONDS:.0f}; found {value!r}")
    return float(value)


def _why(asked: ControlRequest) -> str:
    value = asked.arguments.get("why", "")
    if not isinstance(value, str):
        raise CommandRefused(f"expected a text as why; found {value!r}")
    return value[: limits.LEDGER_TEXT_CHARS]
