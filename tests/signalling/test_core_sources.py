"""From which addresses core listeners accept messages."""

from __future__ import annotations

import pytest
from support.signalling import CORE, MEMBERS, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.policy.compile_policy import core_rules_of
from edgesbc.policy.load import parse_policy
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.signalling.core_sources import CoreRules, CoreSources
from edgesbc.sip.message import Request
from edgesbc.sip.server_uri import ResolvedAddress, parse_server_uri

OUTSIDE = Source("203.0.113.9", 5060)
NEAR = Source("10.9.9.9", 5060)
ASSERTED = "P-Asserted-Identity: <sip:boss@example.org>\r\n"


def harness(core: CoreRules | None = None) -> EdgeHarness:
    made = EdgeHarness()
    routes = [Route("in", "pbx"), Route("out", "pbx", "core")]
    made.edge.adopt(RoutingTable(routes, ["pbx"]), made.edge.pipeline, core=core)
    return made


def dispatcher(*uris: str, name: str = "pbx") -> Dispatcher:
    members = tuple(MemberSettings(uri) for uri in uris)
    return Dispatcher([SetSettings(name, members=members, health=HealthSettings(interval=0))], lambda: 0.5, 0.0)


def core_at(host: str) -> Listener:
    return Listener(7, "inside", Zone.CORE, Transport.UDP, host, 5060)


def sources(host: str, of: Dispatcher, rules: CoreRules | None = None) -> tuple[Listener, CoreSources]:
    listener = core_at(host)
    return listener, CoreSources([listener], of, rules or CoreRules())


def test_a_stranger_is_not_of_the_private_side() -> None:
    edge = harness()
    assert edge.receive(Flow(CORE, OUTSIDE), invite(extra=ASSERTED)) == []
    assert edge.receive(Flow(CORE, OUTSIDE), b"no SIP at all") == []
    assert edge.reasons == ["core-source"] * 2
    assert edge.edge.pipeline.counts["core", "core-source"] == 2
    assert (edge.edge.calls, edge.edge.transactions) == (0, 0)


def test_its_answers_count_for_nothing() -> None:
    edge = harness()
    (_, forwarded), *_ = edge.receive(Flow(CORE, NEAR), invite(extra=ASSERTED))
    assert isinstance(forwarded, Request)
    assert edge.receive(Flow(CORE, OUTSIDE), respond(forwarded, 200)) == []
    assert edge.reasons[-1] == "core-source"


@pytest.mark.parametrize("host", ["10.9.9.9", "172.16.5.5", "192.168.1.1", "127.0.0.9", "169.254.1.1", "10.0.0.11"])
def test_at_a_private_address_private_addresses_are_accepted(host: str) -> None:
    assert harness().receive(Flow(CORE, Source(host, 5070)), invite()) != []


@pytest.mark.parametrize(
    ("port", "admitted"), [(CORE.port, True), (CORE.port + 1, False)], ids=["itself", "another program"]
)
def test_what_the_edge_sends_to_itself_is_accepted_whatever_the_policy_lists(port: int, admitted: bool) -> None:
    edge = harness(CoreRules(["10.9.0.0/16"]))
    assert bool(edge.receive(Flow(CORE, Source(CORE.host, port)), invite())) is admitted


@pytest.mark.parametrize(
    ("bound", "host", "admitted"),
    [
        ("10.0.0.1", "192.168.1.1", True),
        ("10.0.0.1", "203.0.113.9", False),
        ("10.0.0.1", "198.51.100.11", True),
        ("10.0.0.1", "100.64.0.1", False),
        ("0.0.0.0", "10.1.1.1", True),
        ("0.0.0.0", "203.0.113.9", False),
        ("203.0.113.1", "10.1.1.1", False),
        ("203.0.113.1", "127.0.0.1", False),
        ("203.0.113.1", "198.51.100.11", True),
        ("fd00::1", "fd12::5", True),
        ("fd00::1", "fe80::5%eth0", True),
        ("fd00::1", "2001:db8::5", False),
        ("2001:db8::1", "fd00::5", False),
        ("2001:db8::1", "2001:db8::11", True),
        ("::1", "::1", True),
    ],
)
def test_by_the_address_of_the_listener(bound: str, host: str, admitted: bool) -> None:
    listener, core = sources(bound, dispatcher("sip:198.51.100.11", "sip:[2001:db8::11]"))
    assert core.admits(listener, host) is admitted


def test_the_policy_says_which_prefixes_instead() -> None:
    listener, core = sources("10.0.0.1", dispatcher("sip:198.51.100.11"), CoreRules(["203.0.113.0/24"]))
    assert core.admits(listener, "203.0.113.9")
    assert core.admits(listener, "198.51.100.11"), "members always are"
    assert not core.admits(listener, "10.9.9.9")
    core.adopt(CoreRules())
    assert not core.admits(listener, "203.0.113.9")
    assert core.admits(listener, "10.9.9.9")


def test_members_count_as_soon_as_they_are_known() -> None:
    of = dispatcher("sip:pbx.example", "sip:198.51.100.11")
    listener, core = sources("203.0.113.1", of)
    assert not core.admits(listener, "198.51.100.20")
    uri = parse_server_uri("sip:pbx.example")
    of.resolved(uri, [ResolvedAddress(Source("198.51.100.20", 5060), Transport.UDP)], 1.0)
    assert core.admits(listener, "198.51.100.20")
    of.resolved(uri, [ResolvedAddress(Source("198.51.100.21", 5060), Transport.UDP)], 2.0)
    assert core.admits(listener, "198.51.100.21")
    assert not core.admits(listener, "198.51.100.20")
    of.reload([SetSettings("pbx", members=(MemberSettings("sip:198.51.100.30"),))], 3.0)
    assert core.admits(listener, "198.51.100.30")
    assert not core.admits(listener, "198.51.100.11")


def test_a_member_that_has_gone_ends_its_calls() -> None:
    of = dispatcher("sip:198.51.100.11", "sip:198.51.100.12")
    listener, core = sources("203.0.113.1", of)
    lease = of.acquire("pbx", 1.0)
    assert lease is not None
    host = lease.member.target.host
    other = next(member.target.host for member in of.members() if member.target.host != host)
    of.reload([SetSettings("pbx", members=(MemberSettings("sip:198.51.100.30"),))], 2.0)
    assert core.admits(listener, host)
    assert not core.admits(listener, other)
    assert host in core.hosts
    lease.release()
    assert not core.admits(listener, host)
    assert not core.is_inside(host)
    assert host not in core.hosts


def test_connections_are_judged_when_they_are_accepted() -> None:
    edge = harness()
    assert edge.edge.accept(CORE, NEAR, edge.now)
    assert edge.edge.accept(CORE, MEMBERS[0], edge.now)
    assert not edge.edge.accept(CORE, OUTSIDE, edge.now)
    assert edge.reasons == ["core-source"]
    assert edge.edge.take_effects() == []


def test_a_connection_that_the_edge_has_opened_is_of_the_private_side() -> None:
    """Its address came from a member: the Contact of a server that is not one itself."""
    edge = harness()
    assert edge.receive(Flow(CORE, OUTSIDE, 3), invite()) != []


POLICY = """
[[listen]]
name = "out"
zone = "public"
transport = "udp"
bind = "203.0.113.10:5060"
[[listen]]
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
[[destinations]]
set = "pbx"
members = [{ uri = "sip:10.0.0.11" }]
fallback = "spare"
[[destinations]]
set = "spare"
members = [{ uri = "sip:10.0.0.12" }]
[[destinations]]
set = "carrier"
members = [{ uri = "sip:198.51.100.1" }]
[[destinations]]
set = "both"
members = [{ uri = "sip:198.51.100.2" }]
[[destinations]]
set = "unused"
members = [{ uri = "sip:10.0.0.13" }]
[[route]]
name = "in"
from = "out"
to = ["pbx", "both"]
[[route]]
name = "back"
from = "core"
to = ["carrier", "both"]
"""


def test_carriers_are_not_of_the_private_side() -> None:
    rules = core_rules_of(parse_policy(POLICY + '[core]\nallow = ["10.1.0.0/16"]\n', "p.toml"))
    assert rules.sets == {"pbx", "spare", "both", "unused"}
    assert rules.allow == ("10.1.0.0/16",)
    only = POLICY[: POLICY.index("[[route]]")].replace('fallback = "spare"', "")
    first = only.index("[[destinations]]")
    one_set = only[: only.index("[[destinations]]", first + 1)]
    assert core_rules_of(parse_policy(one_set, "p.toml")).sets == {"pbx"}


def test_what_is_inside_for_the_media_of_public_peers() -> None:
    """Members, allowed prefixes and listeners are; private addresses as such are not, since phones have them too."""
    edge = harness(CoreRules(["10.3.0.0/16"])).edge
    assert all(edge.is_inside(host) for host in (MEMBERS[0].host, CORE.host, "10.3.4.5"))
    assert not any(edge.is_inside(host) for host in (NEAR.host, "198.51.100.7"))


def test_a_member_that_is_a_trunk_as_well_is_a_public_peer_too() -> None:
    edge = EdgeHarness(trunks={"pbx": (f"{MEMBERS[0].host}:5060",), "other": (MEMBERS[1].host,)}).edge
    assert not edge.is_inside(MEMBERS[0].host)
    assert not edge.is_inside(MEMBERS[1].host)
