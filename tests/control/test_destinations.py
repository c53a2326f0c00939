"""The desk keeps what differs from what would be without it, for whom it was ordered, and does nothing by halves."""

from __future__ import annotations

from typing import Any

import pytest
from support.signalling import EdgeHarness

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.control.destinations import DestinationCommands
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.operator_overrides import OperatorOverrides
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress

NAMED = "sip:gw.example.com"
HOSTS = ("10.0.0.8", "10.0.0.9")


class Desk:
    """A desk at an edge with one set, whose only URI is a name with two addresses."""

    def __init__(self) -> None:
        self.harness = EdgeHarness()
        self.orders = OperatorOverrides()
        self.told: list[Decision] = []
        self.dispatcher = self.harness.dispatcher
        self.dispatcher.changed = lambda now: self.orders.apply(self.dispatcher, now)
        members = (MemberSettings(NAMED),)
        self.dispatcher.reload([SetSettings("pbx", members, health=HealthSettings(interval=0))], self.harness.now)
        self.resolve(*HOSTS)
        self._desk = DestinationCommands(
            lambda: self.harness.edge, self.orders, lambda: self.harness.now, self.told.append
        )

    def resolve(self, *hosts: str) -> None:
        (place,) = self.dispatcher.names()
        targets = [ResolvedAddress(Source(host, 5060), Transport.UDP) for host in hosts]
        self.dispatcher.resolved(place, targets, self.harness.now)

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._desk.commands[f"destinations {command}"](
            ControlRequest(f"destinations {command}", arguments)
        )
        return answer

    def order(self, word: str, who: str, why: str = "") -> dict[str, Any]:
        return self.ask("order", order=word, who=who, by="root", why=why)

    @property
    def stands(self) -> list[AdminState]:
        return [member.order for member in self.dispatcher.members()]

    @property
    def kept(self) -> list[str]:
        return [who[2] for who, _ in self.orders]


def test_an_order_for_one_address_of_a_name_is_kept_for_that_alone() -> None:
    desk = Desk()
    answer = desk.order("drain", "10.0.0.8:5060")
    assert (answer["members"], answer["without"]) == ([f"pbx/{NAMED} at 10.0.0.8:5060"], [])
    assert desk.stands == [AdminState.DRAINING, AdminState.ENABLED]
    assert desk.kept == ["10.0.0.8:5060 udp"]
    desk.resolve("10.0.0.7", *HOSTS)
    assert desk.stands == [AdminState.ENABLED, AdminState.DRAINING, AdminState.ENABLED]
    desk.order("enable", "10.0.0.8:5060")
    assert desk.kept == []


def test_an_order_for_a_name_holds_for_the_addresses_it_gets() -> None:
    desk = Desk()
    assert desk.order("disable", NAMED)["without"] == ["pbx"]
    desk.resolve("10.0.0.7", *HOSTS)
    assert desk.stands == [AdminState.DISABLED] * 3
    assert desk.kept == [""]
    desk.order("enable", "10.0.0.7:5060")
    assert desk.stands == [AdminState.ENABLED, AdminState.DISABLED, AdminState.DISABLED]
    desk.order("enable", "pbx")
    assert desk.stands == [AdminState.ENABLED] * 3
    assert desk.kept == []


def test_an_order_that_changes_nothing_is_told_as_well() -> None:
    desk = Desk()
    desk.order("enable", "10.0.0.8:5060", "to be sure")
    (decision,) = desk.told
    assert (decision.source, decision.stage) == ("10.0.0.8:5060", "operator")
    assert decision.detail == f"pbx/{NAMED} at 10.0.0.8:5060: stays active: by order of root: to be sure"


def test_where_there_is_no_room_for_an_order_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DESTINATION_ORDERS", 1)
    desk = Desk()
    desk.order("drain", "10.0.0.8:5060")
    with pytest.raises(CommandRefused, match="1 orders may be kept"):
        desk.order("drain", "10.0.0.9:5060")
    assert desk.stands == [AdminState.DRAINING, AdminState.ENABLED]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"order": "sleep", "who": "pbx", "by": "root"}, "expected enable, drain or disable as order; found 'sleep'"),
        ({"order": "drain", "who": "pbx"}, "expected a text as by"),
        ({"order": "drain", "by": "root"}, "expected a text as who"),
        ({"order": "drain", "who": "pbx", "by": "root", "why": 7}, "expected a text as why; found 7"),
    ],
)
def test_mistakes_are_said_and_change_nothing(arguments: dict[str, Any], said: str) -> None:
    desk = Desk()
    with pytest.raises(CommandRefused, match=said):
        desk.ask("order", **arguments)
    assert desk.stands == [AdminState.ENABLED] * 2


def test_what_an_operator_writes_is_bounded() -> None:
    desk = Desk()
    desk.order("drain", "pbx", "x" * 10_000)
    ((_, ordered),) = desk.orders
    assert len(ordered.why) == limits.LEDGER_TEXT_CHARS


def test_calls_on_a_member_that_is_gone_are_still_told() -> None:
    desk = Desk()
    lease = desk.dispatcher.acquire("pbx", desk.harness.now)
    assert lease is not None
    desk.order("drain", NAMED)
    desk.dispatcher.reload([], desk.harness.now)
    assert desk.ask("left", who=NAMED) == {"calls": 1, "enabled": 0}
    lease.release()
    assert desk.ask("left", who=NAMED) == {"calls": 0, "enabled": 0}
