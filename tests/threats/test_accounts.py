"""THREATS 57: one account that passes for many, credentials that nobody has checked, and recorded ones."""

from __future__ import annotations

import pytest
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request

PBX = Flow(CORE, MEMBERS[0])
GOOD = 'username="alice", realm="inside", nonce="n1", uri="sip:x", response="{}"'
CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="n1"'


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness(trunks={})


class Registrar:
    """A registrar that accepts everything, and the flows that have registered."""

    def __init__(self, harness: EdgeHarness) -> None:
        self.harness = harness
        self.count = 0
        self.flows: list[Flow] = []

    def register(self, fields: str, to: str = "sip:alice@example.org", flow: Flow | None = None) -> Standing:
        """The standing of a flow, by default a new one, after its REGISTER got 200."""
        self.count += 1
        harness = self.harness
        flow = flow or Flow(PUBLIC, Source("203.0.113.9", 1024 + self.count))
        request = invite("REGISTER", branch=f"z9hG4bKr{self.count}", from_tag=f"r{self.count}", extra=fields)
        sent = harness.receive(flow, request.replace(b"To: <sip:100@192.0.2.1>", f"To: <{to}>".encode()))
        for to_flow, message in sent:
            if to_flow == PBX and isinstance(message, Request):
                binding = f"Contact: {message.get('Contact')};expires=3600"
                harness.receive(PBX, respond(message, 200, tag="pbx", extra=binding, contact=False))
        self.flows.append(flow)
        harness.wait(1.0)  # no stage limits so few
        return harness.standings.of(flow, harness.now)

    @property
    def registered(self) -> int:
        return sum(self.harness.standings.of(flow, self.harness.now) is Standing.REGISTERED for flow in self.flows)


def digest(params: str) -> str:
    return f"Authorization: Digest {params}\r\n"


SPELLINGS = (
    'username="alice"', 'username=alice', 'username="Alice"', 'username="al\\ice"', 'username=" alice "',
    "username*=UTF-8''alice", "username*=UTF-8''%61lice", "username*=utf-8'en'ALICE",
)  # fmt: skip
ADDRESSES = (
    "sip:alice@example.org", "sip:alice:{}@example.org", "sip:alice;p={}@example.org", "sip:%61lice{}@example.org",
    "sip:a{}@example.org", "sip:alice@h{}.example.org",
)  # fmt: skip


@pytest.mark.parametrize("to", ADDRESSES)
def test_57_an_account_has_a_bound_of_flows_however_its_address_is_written(harness: EdgeHarness, to: str) -> None:
    registrar = Registrar(harness)
    for number in range(limits.FLOWS_OF_ACCOUNT + 20):
        assert registrar.register(digest(GOOD.format(number)), to.format(number)) is Standing.REGISTERED
    assert registrar.registered == limits.FLOWS_OF_ACCOUNT


def test_57_and_however_its_name_is_written(harness: EdgeHarness) -> None:
    registrar = Registrar(harness)
    for number in range(limits.FLOWS_OF_ACCOUNT + 20):
        params = GOOD.format(number).replace('username="alice"', SPELLINGS[number % len(SPELLINGS)])
        params = params.replace('"inside"', '"INSIDE"' if number % 3 else "inside")
        assert registrar.register(digest(params)) is Standing.REGISTERED
    assert registrar.registered == limits.FLOWS_OF_ACCOUNT


def test_57_and_over_connections(harness: EdgeHarness) -> None:
    registrar = Registrar(harness)
    for number in range(limits.FLOWS_OF_ACCOUNT + 20):
        flow = harness.edge.new_flow(harness.edge.listeners[3], Source("203.0.113.9", 40_000 + number))
        harness.edge.flow_opened(flow)
        assert registrar.register(digest(GOOD.format(number)), flow=flow) is Standing.REGISTERED
    assert registrar.registered == limits.FLOWS_OF_ACCOUNT


def test_57_an_account_has_a_bound_of_addresses(harness: EdgeHarness) -> None:
    registrar = Registrar(harness)
    for number in range(limits.ADDRESSES_OF_ACCOUNT + 20):
        flow = Flow(PUBLIC, Source(f"203.0.113.{number}", 5060))
        assert registrar.register(digest(GOOD.format(number)), flow=flow) is Standing.REGISTERED
    assert registrar.registered == limits.ADDRESSES_OF_ACCOUNT


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "Authorization: \r\n",
        "Authorization: Digest\r\n",
        "Authorization: Digest username=alice\r\n",
        "Authorization: Basic YWxpY2U6eA==\r\n",
        "Authorization: x\r\n",
        digest(GOOD.format("")),
        digest(GOOD.format("r").replace('"alice"', '""')),
        digest(GOOD.format("r").replace('"alice"', '" "')),
        digest(GOOD.format("r").replace('realm="inside"', 'realm=""')),
        digest(GOOD.format("r").replace('nonce="n1", ', "")),
        digest(GOOD.format("r") + ", username=bob"),
        digest(GOOD.format("r") + ", username*=UTF-8''bob"),
        digest(GOOD.format("r")) * 2,
        digest(GOOD.format("r")) + digest(GOOD.format("s").replace("alice", "bob")),
    ],
)
def test_57_credentials_that_nobody_can_check_prove_nothing(harness: EdgeHarness, fields: str) -> None:
    """A registrar that accepts such a request has not looked at them."""
    assert Registrar(harness).register(fields) is Standing.UNPROVEN


def test_57_a_registrar_that_has_never_challenged_proves_nothing(harness: EdgeHarness) -> None:
    harness.edge.parts.challenges._challenging.clear()
    registrar = Registrar(harness)
    assert registrar.register(digest(GOOD.format("r"))) is Standing.UNPROVEN
    sent = harness.receive(Flow(PUBLIC, Source("203.0.113.1", 5060)), invite("REGISTER", branch="z9hG4bKc"))
    harness.receive(PBX, respond(sent[0][1], 401, extra="WWW-Authenticate: Bearer x"))
    assert registrar.register(digest(GOOD.format("r"))) is Standing.UNPROVEN
    sent = harness.receive(Flow(PUBLIC, Source("203.0.113.2", 5060)), invite("REGISTER", branch="z9hG4bKd"))
    harness.receive(PBX, respond(sent[0][1], 401, extra=CHALLENGE))
    assert registrar.register(digest(GOOD.format("r"))) is Standing.REGISTERED


def test_57_a_recorded_register_is_a_guess(harness: EdgeHarness) -> None:
    """A registrar that does not check ``nc`` accepts it from everywhere, as long as the nonce is valid."""
    registrar = Registrar(harness)
    fields = digest(GOOD.format("recorded"))
    for _ in range(limits.FLOWS_OF_PROOF):
        assert registrar.register(fields) is Standing.REGISTERED
    thief = Flow(PUBLIC, Source("198.51.100.66", 5060))
    for _ in range(10):
        assert registrar.register(fields, flow=thief) is Standing.UNPROVEN
    assert harness.receive(thief, invite("REGISTER", branch="z9hG4bKlast", extra=fields)) == []
    assert "guess" in harness.reasons


def test_57_a_phone_that_keeps_its_nonce_is_no_recording(harness: EdgeHarness) -> None:
    registrar = Registrar(harness)
    phone = Flow(PUBLIC, Source("203.0.113.9", 5060))
    for _ in range(5 * limits.FLOWS_OF_PROOF):
        assert registrar.register(digest(GOOD.format("same")), flow=phone) is Standing.REGISTERED
        harness.wait(30)
