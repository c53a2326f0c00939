"""After a change of the policy, the connections that are open are judged again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from support.devices import Device
from support.signalling import BROWSERS, CARRIERS, CORE_TCP, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.settings import ScreenSettings
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.core_sources import CoreRules
from edgesbc.signalling.effects import Close, Open
from edgesbc.sip.message import Request

SERVER, TRUNK, STRANGER = Source("10.9.0.7", 40001), Source("198.51.100.7", 40002), Source("203.0.113.5", 40003)


def connect(harness: EdgeHarness, listener: Listener, peer: Source) -> Flow:
    flow = harness.edge.new_flow(listener, peer)
    harness.edge.flow_opened(flow)
    return flow


def change(
    harness: EdgeHarness,
    allow: Iterable[str] = (),
    trunks: Mapping[str, tuple[str, ...]] | None = None,
    **screen: Any,
) -> list[Flow]:
    """Put another policy in force; the connections that are closed because of it."""
    listed = {"carrier": (TRUNK.host,)} if trunks is None else trunks
    standings = Standings([Trunk(name, addresses) for name, addresses in listed.items()])
    admission = AdmissionSettings(open=("browsers", "carriers"))
    settings = ScreenSettings(admission=admission, **screen)
    pipeline = Pipeline(settings, standings, harness.decisions.append, lambda stage, error: None)
    harness.edge.adopt(RoutingTable((), ["pbx"]), pipeline, core=CoreRules(allow))
    harness.other.clear()
    harness.sort(harness.edge.judge_connections(harness.now))
    return [effect.flow for effect in harness.other if isinstance(effect, Close)]


def test_sources_that_the_private_side_does_not_allow_any_more() -> None:
    harness = EdgeHarness()
    server = connect(harness, CORE_TCP, SERVER)
    other = connect(harness, CORE_TCP, Source("10.8.0.1", 40000))
    assert change(harness, ("10.0.0.0/8",)) == []
    assert change(harness, ("10.8.0.0/16",)) == [server]
    assert harness.reasons == ["core-source"]
    assert harness.edge.pipeline.counts["core", "core-source"] == 1
    harness.closed(server)
    assert change(harness, ("10.8.0.0/16",)) == []
    assert harness.edge.may_be_silent(other, harness.now)


def over_tcp(harness: EdgeHarness, *uris: str) -> None:
    members = tuple(MemberSettings(uri) for uri in uris)
    harness.dispatcher.reload([SetSettings("pbx", members=members, health=HealthSettings(interval=0))], harness.now)


def test_a_connection_to_a_removed_destination_stays_while_a_call_lives_on_it() -> None:
    harness = EdgeHarness(open=("carriers",))
    over_tcp(harness, "sip:192.0.2.11;transport=tcp", "sip:192.0.2.12;transport=tcp")
    caller = connect(harness, CARRIERS, STRANGER)
    harness.receive(caller, invite())
    ((server, request),) = [(flow, sent) for flow, sent in harness.sent if isinstance(sent, Request)]
    assert [effect.flow for effect in harness.other if isinstance(effect, Open)] == [server]
    harness.receive(server, respond(request, 200))
    over_tcp(harness, "sip:192.0.2.99;transport=tcp")
    assert change(harness, ("10.0.0.0/8",)) == []
    harness.sort(harness.edge.end_calls(harness.now))
    over_tcp(harness, "sip:192.0.2.99;transport=tcp")
    assert change(harness, ("10.0.0.0/8",)) == [server]


def test_denied_addresses() -> None:
    """As when a connection is accepted: trunks and registered peers too."""
    harness = EdgeHarness()
    trunk, stranger = connect(harness, CARRIERS, TRUNK), connect(harness, BROWSERS, STRANGER)
    device = Device(harness, host="203.0.113.7")
    assert change(harness, acl=AclSettings(deny=("203.0.113.0/28",))) == [stranger, device.flow]
    assert change(harness, acl=AclSettings(deny=(TRUNK.host,)))[0] == trunk
    assert harness.edge.pipeline.counts["acl", "acl-denied"] == 3


def test_nothing_is_closed_in_shadow_mode() -> None:
    harness = EdgeHarness()
    connect(harness, BROWSERS, STRANGER)
    assert change(harness, acl=AclSettings(deny=("0.0.0.0/0",)), mode="shadow") == []
    assert harness.edge.pipeline.shadow_counts["acl", "acl-denied"] == 1


def test_a_ban_that_an_exemption_kept_from_its_address() -> None:
    harness = EdgeHarness()
    change(harness, exempt=(STRANGER.host,))
    stranger = connect(harness, BROWSERS, STRANGER)
    penalties = harness.edge.pipeline.penalties
    standing = harness.edge.pipeline.standings.of(stranger, harness.now)
    penalties.ban(stranger, standing, Reason.PIKE, 60.0, harness.now)
    assert change(harness, exempt=(STRANGER.host,)) == []
    assert change(harness) == [stranger]


def test_the_connections_of_a_removed_trunk_but_not_those_with_a_call() -> None:
    """They have places and turns that only trunks have. A registered one keeps both."""
    harness = EdgeHarness()
    idle, busy, stranger = (
        connect(harness, CARRIERS, TRUNK),
        connect(harness, CARRIERS, Source(TRUNK.host, 40009)),
        connect(harness, CARRIERS, STRANGER),
    )
    harness.receive(busy, invite())
    assert change(harness, trunks={"carrier": (TRUNK.host,)}) == []
    assert change(harness, trunks={"other": (STRANGER.host,)}) == [idle]
    assert harness.reasons[-1] == "flow-gone"
    assert harness.edge.calls == 1
    assert change(harness, trunks={"other": (STRANGER.host,)}) == []
    harness.closed(stranger)
