"""Keep-alives to registered UDP phones behind NAT: to whom they go, when, and what ends a flow."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Record, Send
from edgesbc.signalling.keep_alives import KeepAliveMethod, KeepAliveSettings
from edgesbc.signalling.registration_rules import RegistrationRules
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

PBX = Flow(CORE, MEMBERS[0])
BEHIND_NAT = Flow(PUBLIC, Source("203.0.113.9", 40000))
DIGEST = 'Authorization: Digest username="{}", realm="inside", nonce="n", uri="sip:x", response="{}"\r\n'
CRLF = KeepAliveSettings(KeepAliveMethod.CRLF, 25.0)
OPTIONS = KeepAliveSettings(KeepAliveMethod.OPTIONS, 25.0)


class Registered:
    """An edge with phones that register."""

    def __init__(self, settings: KeepAliveSettings = CRLF) -> None:
        self.harness = EdgeHarness(trunks={})
        edge = self.harness.edge
        edge.adopt(RoutingTable((), ["pbx"]), edge.pipeline, registrations=RegistrationRules(keep_alive=settings))
        self.count = 0

    def register(self, flow: Flow, via: str = "192.168.1.5:5062", expires: int = 3600) -> None:
        self.count += 1
        data = invite("REGISTER", branch=f"z9hG4bKr{self.count}", extra=DIGEST.format(flow.peer.host, self.count))
        data = data.replace(b"SIP/2.0/UDP 198.51.100.7:5060", f"SIP/2.0/UDP {via}".encode())
        data = data.replace(b"Call-ID: c1", f"Call-ID: r{self.count}".encode())
        ((_, request),) = self.harness.receive(flow, data)
        contact = f"Contact: {request.get('Contact')};expires={expires}"
        self.harness.receive(PBX, respond(request, 200, tag="pbx", extra=contact, contact=False))

    def run(self, seconds: float) -> list[tuple[float, Flow, bytes]]:
        """The keep-alives that leave in so many seconds: the time, the flow and the datagram."""
        harness, sent = self.harness, []
        end = harness.now + seconds
        while (due := harness.edge.deadline()) is not None and due <= end:
            harness.now = max(due, harness.now)
            effects = harness.edge.expire(harness.now)
            harness.decisions += [effect.decision for effect in effects if isinstance(effect, Record)]
            sent += [(harness.now, effect.flow, effect.data) for effect in effects if isinstance(effect, Send)]
        harness.now = end
        return sent

    def standing(self, flow: Flow) -> Standing:
        return self.harness.standings.of(flow, self.harness.now)


def test_a_phone_behind_nat_gets_empty_lines_at_the_interval_while_it_is_registered() -> None:
    phones = Registered()
    phones.register(BEHIND_NAT, expires=120)
    sent = phones.run(300.0)
    assert {(flow, data) for _, flow, data in sent} == {(BEHIND_NAT, b"\r\n\r\n")}
    times = [time for time, _, _ in sent]
    assert 4 <= len(times) <= 5
    assert {round(later - time, 3) for time, later in pairwise(times)} == {25.0}
    assert len(phones.harness.edge.parts.keep_alives) == 0
    assert phones.harness.edge.idle


@pytest.mark.parametrize("via", ["203.0.113.9:40000", "203.0.113.9:40000;x=y"])
def test_a_phone_that_knows_its_address_gets_none(via: str) -> None:
    phones = Registered()
    phones.register(BEHIND_NAT, via)
    assert phones.run(100.0) == []


def test_the_default_port_of_the_via_counts() -> None:
    phones = Registered()
    phones.register(Flow(PUBLIC, Source("203.0.113.9", 5060)), "203.0.113.9")
    assert phones.run(100.0) == []
    phones.register(BEHIND_NAT, "203.0.113.9")
    assert phones.run(100.0)


def test_a_phone_that_is_behind_nat_no_more_gets_no_more() -> None:
    phones = Registered()
    phones.register(BEHIND_NAT)
    phones.register(BEHIND_NAT, "203.0.113.9:40000")
    assert phones.run(100.0) == []


def test_a_phone_that_deregisters_gets_no_more() -> None:
    phones = Registered()
    phones.register(BEHIND_NAT)
    phones.register(BEHIND_NAT, expires=0)
    assert phones.run(100.0) == []


@pytest.mark.parametrize("settings", [CRLF, OPTIONS])
def test_connections_have_keep_alives_of_their_own(settings: KeepAliveSettings) -> None:
    phones = Registered(settings)
    phones.harness.edge.parts.keep_alives.registered(
        Flow(PUBLIC, Source("203.0.113.9", 40000), 7), _register(), phones.harness.now
    )
    assert phones.run(100.0) == []


def _register() -> Request:
    message = parse_message(invite("REGISTER"))
    assert isinstance(message, Request)
    return message


def test_keep_alives_of_many_phones_are_spread_over_the_interval() -> None:
    phones = Registered()
    for number in range(50):
        phones.register(Flow(PUBLIC, Source(f"203.0.113.{number + 10}", 40000)))
    times = sorted(round(time - phones.harness.now, 1) for time, _, _ in phones.run(25.0))
    assert len(times) == 50
    assert len(set(times)) > 25


def test_the_options_of_a_phone_that_answers_go_on() -> None:
    phones = Registered(OPTIONS)
    phones.register(BEHIND_NAT)
    harness = phones.harness
    for _ in range(6):
        ((_, flow, data),) = phones.run(25.0)[:1]
        request = parse_message(data)
        assert isinstance(request, Request)
        assert (request.method, str(request.uri), flow) == ("OPTIONS", "sip:203.0.113.9:40000", BEHIND_NAT)
        harness.receive(BEHIND_NAT, respond(request, 404, contact=False))
    assert phones.standing(BEHIND_NAT) is Standing.REGISTERED


def test_a_phone_that_answers_no_options_loses_its_registration() -> None:
    phones = Registered(OPTIONS)
    phones.register(BEHIND_NAT)
    phones.run(200.0)
    assert phones.standing(BEHIND_NAT) is Standing.UNPROVEN
    assert [decision.reason.code for decision in phones.harness.decisions][-1] == "flow-gone"
    assert phones.run(200.0) == []
    assert phones.harness.edge.idle


def test_a_policy_without_keep_alives_ends_them() -> None:
    phones = Registered()
    phones.register(BEHIND_NAT)
    edge = phones.harness.edge
    edge.adopt(RoutingTable((), ["pbx"]), edge.pipeline, registrations=RegistrationRules())
    assert phones.run(100.0) == []
    assert len(edge.parts.keep_alives) == 0


def test_the_flows_of_the_last_run_are_kept_open() -> None:
    phones = Registered()
    phones.harness.standings.prove(BEHIND_NAT, Standing.REGISTERED, phones.harness.now, 600.0, 1)
    phones.harness.edge.keep_restored_flows_open(phones.harness.now)
    assert phones.run(25.0)


def test_the_number_of_flows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_alives = Registered().harness.edge.parts.keep_alives
    for number in range(limits.REGISTERED_FLOWS + 1):
        keep_alives.add(Flow(PUBLIC, Source("203.0.113.9", number)), 0.0)
    assert len(keep_alives) == limits.REGISTERED_FLOWS
