"""Orders about destinations: which addresses they apply to, and that an order with a mistake does nothing."""

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


class Operated:
    """An edge with one set, whose only URI is a name with two addresses, and the commands for it."""

    def __init__(self) -> None:
        self.harness = EdgeHarness()
        self.overrides = OperatorOverrides()
        self.recorded: list[Decision] = []
        self.dispatcher = self.harness.dispatcher
        self.dispatcher.on_members_changed = lambda now: self.overrides.apply(self.dispatcher, now)
        members = (MemberSettings(NAMED),)
        self.dispatcher.reload([SetSettings("pbx", members, health=HealthSettings(interval=0))], self.harness.now)
        self.resolve(*HOSTS)
        self.commands = DestinationCommands(
            self.harness.edge, self.overrides, lambda: self.harness.now, self.recorded.append
        )

    def resolve(self, *hosts: str) -> None:
        (place,) = self.dispatcher.names()
        targets = [ResolvedAddress(Source(host, 5060), Transport.UDP) for host in hosts]
        self.dispatcher.resolved(place, targets, self.harness.now)

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer on the control socket."""
        name = f"destinations {command}"
        answer: dict[str, Any] = self.commands.table[name](ControlRequest(name, arguments))
        return answer

    @property
    def states(self) -> list[AdminState]:
        return [member.admin_state for member in self.dispatcher.members()]

    @property
    def ordered_addresses(self) -> list[str]:
        return [key[2] for key, _ in self.overrides]


def test_an_order_for_one_address_of_a_name_applies_to_that_address_alone() -> None:
    edge = Operated()
    answer = edge.commands.drain("10.0.0.8:5060", by="root")
    assert (answer["members"], answer["without"]) == ([f"pbx/{NAMED} at 10.0.0.8:5060"], [])
    assert edge.states == [AdminState.DRAINING, AdminState.ENABLED]
    assert edge.ordered_addresses == ["10.0.0.8:5060 udp"]
    edge.resolve("10.0.0.7", *HOSTS)
    assert edge.states == [AdminState.ENABLED, AdminState.DRAINING, AdminState.ENABLED]
    edge.commands.enable("10.0.0.8:5060", by="root")
    assert edge.ordered_addresses == []


def test_an_order_for_a_name_holds_for_the_addresses_it_gets() -> None:
    edge = Operated()
    assert edge.commands.disable(NAMED, by="root")["without"] == ["pbx"]
    edge.resolve("10.0.0.7", *HOSTS)
    assert edge.states == [AdminState.DISABLED] * 3
    assert edge.ordered_addresses == [""]
    edge.commands.enable("10.0.0.7:5060", by="root")
    assert edge.states == [AdminState.ENABLED, AdminState.DISABLED, AdminState.DISABLED]
    edge.commands.enable("pbx", by="root")
    assert edge.states == [AdminState.ENABLED] * 3
    assert edge.ordered_addresses == []


def test_an_order_that_changes_nothing_is_recorded_as_well() -> None:
    edge = Operated()
    edge.commands.enable("10.0.0.8:5060", by="root", why="to be sure")
    (decision,) = edge.recorded
    assert (decision.source, decision.stage) == ("10.0.0.8:5060", "operator")
    assert decision.detail == f"pbx/{NAMED} at 10.0.0.8:5060: stays active: by order of root: to be sure"


def test_an_order_beyond_the_bound_is_refused_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATOR_OVERRIDES", 1)
    edge = Operated()
    edge.commands.drain("10.0.0.8:5060", by="root")
    with pytest.raises(CommandRefused, match="1 orders may be kept"):
        edge.commands.drain("10.0.0.9:5060", by="root")
    assert edge.states == [AdminState.DRAINING, AdminState.ENABLED]


@pytest.mark.parametrize(
    ("word", "state"),
    [("drain", AdminState.DRAINING), ("disable", AdminState.DISABLED), ("enable", AdminState.ENABLED)],
)
def test_an_order_over_the_control_socket(word: str, state: AdminState) -> None:
    edge = Operated()
    assert edge.request("order", order=word, who="pbx", by="root", why="x")["calls"] == 0
    assert edge.states == [state] * 2
    members = edge.request("list", who="pbx")["members"]
    assert members == edge.commands.list("pbx")["members"] == edge.request("list")["members"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "sleep", "who": "pbx", "by": "root"}, "expected enable, drain or disable as order; found 'sleep'"),
        ({"order": "drain", "who": "pbx"}, "expected a text as by"),
        ({"order": "drain", "by": "root"}, "expected a text as who"),
        ({"order": "drain", "who": "pbx", "by": "root", "why": 7}, "expected a text as why; found 7"),
    ],
)
def test_an_order_with_mistakes_is_refused_and_changes_nothing(arguments: dict[str, Any], message: str) -> None:
    edge = Operated()
    with pytest.raises(CommandRefused, match=message):
        edge.request("order", **arguments)
    assert edge.states == [AdminState.ENABLED] * 2


def test_what_an_operator_writes_is_bounded() -> None:
    edge = Operated()
    edge.commands.drain("pbx", by="root", why="x" * 10_000)
    ((_, override),) = edge.overrides
    assert len(override.why) == limits.LEDGER_TEXT_CHARS


def test_calls_on_a_member_that_was_removed_are_still_counted() -> None:
    edge = Operated()
    lease = edge.dispatcher.acquire("pbx", edge.harness.now)
    assert lease is not None
    edge.commands.drain(NAMED, by="root")
    edge.dispatcher.reload([], edge.harness.now)
    assert edge.request("left", who=NAMED) == {"calls": 1, "enabled": 0}
    lease.release()
    assert edge.commands.left(NAMED) == {"calls": 0, "enabled": 0}
