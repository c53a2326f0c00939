"""Connections to destinations: one for each pair of an address and a proven name."""

from __future__ import annotations

import pytest
from support.signalling import Entropy

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect, Open
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.tokens import RemoteTarget, Sealer

TLS = Listener(0, "tls", Zone.CORE, Transport.TLS, "10.0.0.1", 5061)
TCP = Listener(1, "tcp", Zone.CORE, Transport.TCP, "10.0.0.1", 5060)
UDP = Listener(2, "udp", Zone.CORE, Transport.UDP, "10.0.0.1", 5060)
PEER = Source("10.0.0.11", 5061)


class Opened:
    """Flows over these listeners, and the names for which they asked to open a connection."""

    def __init__(self, known: dict[Source, str] | None = None) -> None:
        self.effects: list[Effect] = []
        names = known or {}
        self.flows = Flows([TLS, TCP, UDP], "epoch", self.effects.append, lambda peer, transport: names.get(peer, ""))

    @property
    def names(self) -> list[str]:
        return [effect.name for effect in self.effects if isinstance(effect, Open)]


def test_a_given_name_precedes_the_known_one_and_that_precedes_the_address() -> None:
    opened = Opened({PEER: "known.example.com"})
    opened.flows.to(TLS, PEER)
    opened.flows.to(TLS, PEER, "given.example.com")
    opened.flows.to(TLS, Source("10.0.0.12", 5061))
    assert opened.names == ["known.example.com", "given.example.com", "10.0.0.12"]


def test_inside_a_dialog_any_proven_connection_to_the_address_is_used() -> None:
    """The name that is known for the address may belong to another destination at that address."""
    opened = Opened({PEER: "known.example.com"})
    given_flow = opened.flows.to(TLS, PEER, "given.example.com")
    assert opened.flows.to(TLS, PEER) == given_flow
    known = opened.flows.to(TLS, PEER, "known.example.com")
    assert opened.flows.to(TLS, PEER) == known
    opened.flows.closed(known)
    opened.flows.closed(given_flow)
    opened.flows.to(TLS, PEER)
    assert opened.names == ["given.example.com", "known.example.com", "known.example.com"]


def test_a_connection_that_proved_one_name_is_not_used_for_another() -> None:
    """Two names may share an address, and the server may have a certificate for only one of them."""
    opened = Opened()
    one, other = (opened.flows.to(TLS, PEER, name) for name in ("a.example.com", "b.example.com"))
    assert one != other
    assert opened.flows.to(TLS, PEER, "a.example.com") == one
    assert len(opened.names) == 2


def test_a_closed_connection_is_opened_again() -> None:
    opened = Opened()
    flow = opened.flows.to(TLS, PEER, "a.example.com")
    other = opened.flows.to(TLS, PEER, "b.example.com")
    opened.flows.closed(flow)
    assert opened.flows.to(TLS, PEER, "a.example.com") != flow
    assert opened.flows.to(TLS, PEER, "b.example.com") == other
    assert len(opened.names) == 3


def test_without_tls_a_name_makes_no_difference() -> None:
    opened = Opened()
    assert opened.flows.to(TCP, PEER, "a.example.com") == opened.flows.to(TCP, PEER, "b.example.com")
    assert opened.names == [""]
    assert opened.flows.to(UDP, PEER, "a.example.com").serial == 0


def test_a_health_check_uses_the_name_of_its_own_member() -> None:
    """Two sets may have one address under two names; the second is up only if its own name is proven."""
    sets = [
        SetSettings(name, members=(MemberSettings("sip:10.0.0.11;transport=tls", tls_name=f"{name}.example.com"),))
        for name in ("a", "b")
    ]
    entropy = Entropy()
    edge = Edge(
        [TLS],
        Dispatcher(sets, lambda: 0.5, 0.0),
        RoutingTable((), ["a"]),
        Pipeline(ScreenSettings(), Standings([]), lambda decision: None, lambda stage, error: None),
        Sealer([b"k" * 16], entropy),
        entropy,
    )
    opened = {effect.name for effect in edge.expire(10.0) if isinstance(effect, Open)}
    assert opened == {"a.example.com", "b.example.com"}


@pytest.mark.parametrize(("uri", "port"), [("sip:carrier@sbc.example.com", 5061), ("sip:carrier@192.0.2.9:5071", 5071)])
@pytest.mark.parametrize("known", ["sbc.example.com", ""])
def test_in_the_place_of_a_trunks_tls_connection_over_ipv6_there_is_one_to_it(uri: str, port: int, known: str) -> None:
    """Without a port the default one of TLS; the certificate has the destination's name there, or the address."""
    listener = Listener(0, "tls", Zone.PUBLIC, Transport.TLS, "2001:db8::1", 5061)
    host = "2001:db8::7"
    effects: list[Effect] = []
    flows = Flows([listener], "now", effects.append, lambda *_: known, lambda flow: flow.peer.host == host)
    target = RemoteTarget("tls", Source(host, 40000), 7, "before", uri)
    flow = flows.of(target)
    assert flow is not None
    assert (flow.listener, flow.peer) == (listener, (host, port))
    assert effects == [Open(flow, known or host)]
    assert flows.of(target) is flow
    assert flows.of(RemoteTarget("tls", Source("2001:db8::8", 40000), 7, "before", uri)) is None


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_in_the_place_of_a_websocket_there_is_no_other_connection(transport: Transport) -> None:
    listener = Listener(0, "ws", Zone.PUBLIC, transport, "192.0.2.1", 443)
    effects: list[Effect] = []
    flows = Flows([listener], "now", effects.append, is_trunk=lambda flow: True)
    assert flows.of(RemoteTarget("ws", PEER, 7, "now", "sip:a@10.0.0.11")) is None
    assert effects == []


CARRIERS = Listener(3, "carriers", Zone.PUBLIC, Transport.TLS, "192.0.2.1", 5061)


def trunk_flows() -> tuple[Flows, list[Effect]]:
    """Flows of an edge that knows a trunk by the names of its certificate."""
    effects: list[Effect] = []
    standings = Standings([Trunk("carrier", tls_names=("sip.carrier.example",))])
    flows = Flows([CARRIERS], "epoch", effects.append, is_trunk=lambda flow: standings.trunk(flow) is not None)
    return flows, effects


def closed_trunk(flows: Flows, *names: str) -> RemoteTarget:
    """A token of a connection with a certificate, which has closed."""
    flow = Flow(CARRIERS, Source("198.51.100.7", 40000), flows.new_serial(), names)
    flows.opened(flow)
    flows.closed(flow)
    return RemoteTarget("carriers", flow.peer, flow.serial, "epoch", "sip:198.51.100.7:5061")


def test_a_trunk_that_is_known_by_its_certificate_is_connected_to_under_that_name() -> None:
    flows, effects = trunk_flows()
    target = closed_trunk(flows, "*.carrier.example", "other.example", "sip.carrier.example")
    flow = flows.of(target)
    assert flow is not None
    assert (flow.peer, flow.names) == (("198.51.100.7", 5061), ("sip.carrier.example",))
    assert effects == [Open(flow, "sip.carrier.example")]
    assert flows.of(target) is flow


def test_no_other_certificate_and_no_other_process_opens_a_connection_to_a_trunk() -> None:
    flows, effects = trunk_flows()
    assert flows.of(closed_trunk(flows, "other.example")) is None
    assert flows.of(closed_trunk(flows)) is None
    target = closed_trunk(flows, "sip.carrier.example")
    target.epoch = "another"
    assert flows.of(target) is None
    assert effects == []


def test_closed_connections_of_trunks_are_remembered_up_to_a_bound() -> None:
    flows, _ = trunk_flows()
    first = closed_trunk(flows, "sip.carrier.example")
    second = closed_trunk(flows, "sip.carrier.example")
    for _ in range(limits.CLOSED_TRUNKS - 1):
        closed_trunk(flows, "sip.carrier.example")
    assert flows.of(first) is None
    assert flows.of(second) is not None
