"""The commands about bans: list, add and remove."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import listed_address
from edgesbc.control.ban_rows import BanSentence, BusySource, ban_rows, busiest_sources, with_sentence
from edgesbc.control.protocol import CommandRefused, Commands, ControlRequest
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect

__all__ = ["BanAdded", "BanCommands", "BanList", "BanRemoved"]

_STAGE = "operator"

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BanList(TypedDict):
    """Bans and exemptions in force, newest first; ``left_out`` older ones are not in the list. ``watched`` are the
    sources that send most."""

    bans: list[BanSentence]
    left_out: int
    watched: list[BusySource]


class BanAdded(TypedDict):
    """An operator's ban or exemption. ``lifted``: bans of the edge's own that an exemption ended; ``trunks``: names of
    trunks within the prefix, which a ban does not hold for."""

    prefix: str
    exempt: bool
    seconds: float | None
    lifted: int
    trunks: list[str]


class BanRemoved(TypedDict):
    """``order``: whether there was an operator's ban or exemption; ``lifted``: bans of the edge's own that ended."""

    who: str
    order: bool
    lifted: int


class BanCommands:
    """The commands of one edge about bans. Methods raise :class:`CommandRefused`, and change nothing then.

    ``clock`` gives the time of the signalling plane (seconds), ``record`` takes decisions, ``carry_out`` the effects
    that close connections.
    """

    def __init__(
        self,
        edge: Edge,
        clock: Callable[[], float],
        record: Callable[[Decision], None],
        carry_out: Callable[[Sequence[Effect]], None],
    ) -> None:
        self._edge = edge
        self._clock = clock
        self._record = record
        self._carry_out = carry_out

    def list(self) -> BanList:
        """All bans, at most ``limits.BANS_LISTED``, and the sources that send most."""
        pipeline, now = self._edge.pipeline, self._clock()
        rows = ban_rows(pipeline, now)
        shown = rows[: limits.BANS_LISTED]
        return {
            "bans": [with_sentence(row) for row in shown],
            "left_out": len(rows) - len(shown),
            "watched": busiest_sources(pipeline, now, limits.SOURCES_LISTED),
        }

    def add(
        self, prefix: str, *, by: str, seconds: float | None = None, why: str = "", exempt: bool = False
    ) -> BanAdded:
        """Ban an address or a prefix for ``seconds``, None for good; ``exempt``: never ban it, and lift its bans.

        It takes the place of an order for the same prefix. ``by`` and ``why`` are cut at ``limits.LEDGER_TEXT_CHARS``.
        """
        edge, now = self._edge, self._clock()
        prefix = _prefix(prefix)
        seconds = None if seconds is None else _seconds(seconds)
        by, why = by[: limits.LEDGER_TEXT_CHARS], why[: limits.LEDGER_TEXT_CHARS]
        until = None if seconds is None else now + seconds
        try:
            edge.pipeline.operator_bans.put(OperatorBan(prefix, exempt, now, until, by, why))
        except ValueError as error:
            raise CommandRefused(str(error)) from None
        lifted = sum(map(self._lift, _banned_within(prefix, edge.pipeline))) if exempt else 0
        effect = "exempt from penalties" if exempt else "banned"
        detail = f"{effect} by {by}{f': {why}' if why else ''}"
        self._record(Decision(now, Reason.BAN, prefix, stage=_STAGE, limit=seconds, detail=detail))
        if not exempt:
            self._carry_out(edge.close_banned(now))
        trunks = [] if exempt else _trunks_within(prefix, edge.pipeline)[: limits.SOURCES_LISTED]
        return {"prefix": prefix, "exempt": exempt, "seconds": seconds, "lifted": lifted, "trunks": trunks}

    def remove(self, target: str, *, by: str) -> BanRemoved:
        """Take back an operator's ban or exemption of ``target``, and lift the edge's own bans of it.

        ``target`` is an address, an address and port, or a prefix, as :meth:`list` has it. An address stands for all
        its ports; a prefix stands for itself, and not for the addresses within it.
        """
        now = self._clock()
        flow = _flow(target)
        target = flow or _prefix(target)
        order = flow is None and self._edge.pipeline.operator_bans.drop(target)
        lifted = self._lift(target)
        if order or lifted:
            detail = f"lifted by {by[: limits.LEDGER_TEXT_CHARS]}"
            self._record(Decision(now, Reason.BAN, target, stage=_STAGE, detail=detail))
        return {"who": target, "order": order, "lifted": lifted}

    def _lift(self, target: str) -> int:
        lifted, effects = self._edge.lift_bans(target)
        self._carry_out(effects)
        return lifted

    # --- on the control socket ---------------------------------------------------------------------------

    @property
    def table(self) -> Commands:
        """The commands by their names on the control socket."""
        return {"bans list": lambda request: self.list(), "bans add": self._add, "bans remove": self._remove}

    def _add(self, request: ControlRequest) -> BanAdded:
        """``prefix``, ``by``; optional ``seconds``, ``why`` and ``exempt``."""
        return self.add(
            request.text("prefix"),
            by=request.text("by"),
            seconds=request.arguments.get("seconds"),
            why=request.optional_text("why"),
            exempt=request.arguments.get("exempt") is True,
        )

    def _remove(self, request: ControlRequest) -> BanRemoved:
        """``who`` and ``by``."""
        return self.remove(request.text("who"), by=request.text("by"))


def _trunks_within(prefix: str, pipeline: Pipeline) -> list[str]:
    """The names of trunks that have an address within ``prefix``."""
    network = ipaddress.ip_network(prefix)
    return [
        trunk.name
        for trunk in pipeline.standings.trunks.values()
        if any(_overlap(listed_address(text), network) for text in trunk.addresses)
    ]


def _banned_within(prefix: str, pipeline: Pipeline) -> list[str]:
    """The addresses within ``prefix`` that the edge has banned."""
    network = ipaddress.ip_network(prefix)
    return [
        ban.key[1]
        for ban in pipeline.penalties
        if "/" not in ban.key[1] and ipaddress.ip_address(ban.key[1].partition("%")[0]) in network
    ]


def _overlap(listed: _Network | Source, network: _Network) -> bool:
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


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= limits.ORDER_SECONDS:
        raise CommandRefused(f"expected seconds from 1 to {limits.ORDER_SECONDS:.0f}; found {value!r}")
    return float(value)
