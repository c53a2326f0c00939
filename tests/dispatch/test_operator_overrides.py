"""Operator overrides: one for an address precedes one for its name, and all apply to members added later."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.operator_overrides import OperatorOverrides, Override
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress

LITERAL = "sip:10.0.0.1:5060"
NAMED = "sip:gw.example.com"
FIRST, SECOND = (ResolvedAddress(Source(host, 5060), Transport.UDP) for host in ("10.0.0.8", "10.0.0.9"))
WHOLE = ("pbx", NAMED, "")
ONE = ("pbx", NAMED, "10.0.0.8:5060 udp")


def sets(*uris: str, disabled: bool = False) -> list[SetSettings]:
    members = tuple(MemberSettings(uri, disabled=disabled) for uri in uris)
    return [SetSettings("pbx", members, health=HealthSettings(interval=0))]


def watched(
    orders: OperatorOverrides, *uris: str, recorded: list[Decision] | None = None, disabled: bool = False
) -> Dispatcher:
    """A dispatcher whose members have the states of ``orders`` whenever they are added."""
    record = (lambda decision: None) if recorded is None else recorded.append
    dispatcher = Dispatcher(sets(*uris, disabled=disabled), lambda: 0.5, 0.0, record)
    dispatcher.on_members_changed = lambda now: orders.apply(dispatcher, now)
    orders.apply(dispatcher, 0.0)
    return dispatcher


def resolve(dispatcher: Dispatcher, *targets: ResolvedAddress, now: float = 1.0) -> None:
    (place,) = dispatcher.names()
    dispatcher.resolved(place, targets, now)


def stands(dispatcher: Dispatcher) -> dict[str, AdminState]:
    return {str(member.target): member.admin_state for member in dispatcher.members()}


def ordered(order: AdminState, since: float = 0.0) -> Override:
    return Override(order, "root", "new kernel", since)


def test_an_override_for_a_name_applies_to_addresses_added_later() -> None:
    orders, decisions = OperatorOverrides(), list[Decision]()
    dispatcher = watched(orders, NAMED, recorded=decisions)
    orders.put(WHOLE, ordered(AdminState.DRAINING))
    resolve(dispatcher, FIRST)
    resolve(dispatcher, FIRST, SECOND)
    assert stands(dispatcher) == {"10.0.0.8:5060": AdminState.DRAINING, "10.0.0.9:5060": AdminState.DRAINING}
    assert [decision.source for decision in decisions] == ["10.0.0.8:5060", "10.0.0.9:5060"]
    assert all(decision.detail.endswith("active to draining: by order of root: new kernel") for decision in decisions)


def test_an_override_for_an_address_precedes_that_for_its_name() -> None:
    orders = OperatorOverrides()
    dispatcher = watched(orders, NAMED)
    resolve(dispatcher, FIRST, SECOND)
    orders.put(WHOLE, ordered(AdminState.DISABLED))
    orders.put(ONE, ordered(AdminState.ENABLED))
    orders.apply(dispatcher, 2.0)
    assert stands(dispatcher) == {"10.0.0.8:5060": AdminState.ENABLED, "10.0.0.9:5060": AdminState.DISABLED}
    orders.put(WHOLE, ordered(AdminState.DRAINING))
    orders.apply(dispatcher, 3.0)
    assert stands(dispatcher) == {"10.0.0.8:5060": AdminState.DRAINING, "10.0.0.9:5060": AdminState.DRAINING}
    assert len(orders) == 1


def test_an_override_without_a_member_is_kept_for_a_day() -> None:
    orders = OperatorOverrides()
    orders.put(("pbx", LITERAL, ""), ordered(AdminState.DRAINING))
    dispatcher = watched(orders, LITERAL)
    dispatcher.reload([], 100.0)
    day = limits.OVERRIDE_GONE_SECONDS
    dispatcher.reload(sets(LITERAL), 99.0 + day)
    assert list(stands(dispatcher).values()) == [AdminState.DRAINING]
    dispatcher.reload([], 200.0)
    dispatcher.reload(sets(LITERAL), 200.0 + day)
    assert list(stands(dispatcher).values()) == [AdminState.ENABLED]
    assert len(orders) == 0


def test_every_change_has_a_new_version() -> None:
    orders = OperatorOverrides()
    dispatcher = watched(orders, LITERAL)
    versions = [orders.version]
    orders.put(("pbx", LITERAL, ""), ordered(AdminState.DRAINING))
    versions.append(orders.version)
    dispatcher.reload([], 1.0)
    versions.append(orders.version)
    dispatcher.reload([], 2.0)
    assert orders.version == versions[-1]  # nothing is to be written
    orders.drop(("pbx", LITERAL, ""))
    versions.append(orders.version)
    assert len(set(versions)) == len(versions)


def test_what_the_policy_disables_again_is_disabled_again() -> None:
    orders = OperatorOverrides()
    orders.put(("pbx", LITERAL, ""), ordered(AdminState.ENABLED))
    dispatcher = watched(orders, LITERAL, disabled=True)
    assert list(stands(dispatcher).values()) == [AdminState.ENABLED]
    dispatcher.reload(sets(LITERAL), 1.0)
    assert len(orders) == 0
    dispatcher.reload(sets(LITERAL, disabled=True), 2.0)
    assert list(stands(dispatcher).values()) == [AdminState.DISABLED]


def test_overrides_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATOR_OVERRIDES", 2)
    orders = OperatorOverrides()
    orders.put(WHOLE, ordered(AdminState.DRAINING))
    assert orders.has_room([WHOLE, ONE])
    assert not orders.has_room([ONE, ("pbx", LITERAL, "")])
