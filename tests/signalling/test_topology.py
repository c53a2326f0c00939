"""Which header fields cross the edge, in which direction."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
UNPROVEN = Flow(PUBLIC, Source("203.0.113.5", 5060))
ASSERTED = ["P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"]
FIELDS = "".join(f"{name}: <sip:boss@example.org>\r\n" for name in [*ASSERTED, "P-Charging-Vector", "X-Account"])


def only(sent: list[tuple[Flow, Request | Response]]) -> Request | Response:
    ((_, message),) = sent
    return message


def test_a_trunk_may_assert_the_caller() -> None:
    forwarded = only(EdgeHarness().receive(CALLER, invite(extra=FIELDS)))
    assert [name for name, _ in forwarded.fields if name in ASSERTED] == ASSERTED
    assert forwarded.get("P-Charging-Vector") is None
    assert forwarded.get("X-Account") is None


@pytest.mark.parametrize("name", ASSERTED)
def test_an_unproven_source_may_not(name: str) -> None:
    forwarded = only(EdgeHarness(open=("public",)).receive(UNPROVEN, invite(extra=FIELDS)))
    assert forwarded.get(name) is None


@pytest.mark.parametrize(
    "name", [*ASSERTED, "Server", "User-Agent", "Warning", "Call-Info", "Error-Info", "Service-Route", "X-Secret"]
)
def test_an_answer_tells_nothing_of_the_inside(name: str) -> None:
    harness = EdgeHarness(open=("public",))
    forwarded = only(harness.receive(UNPROVEN, invite()))
    passed_on = only(harness.receive(PBX, respond(forwarded, 200, extra=f"{name}: <sip:10.0.0.9>")))
    assert passed_on.get(name) is None


def test_a_public_set_gets_the_asserted_caller_whatever_privacy_says() -> None:
    """RFC 3325: a carrier that is a destination counts as trusted."""
    harness = EdgeHarness()
    harness.edge.adopt(RoutingTable((Route("out", "pbx", "core"),), ["pbx"]), harness.edge.pipeline)
    forwarded = only(harness.receive(PBX, invite(extra=f"{FIELDS}Privacy: id\r\n")))
    assert isinstance(forwarded, Request)
    assert forwarded.get("P-Asserted-Identity") == "<sip:boss@example.org>"
    assert forwarded.get("Privacy") == "id"
    assert forwarded.get("X-Account") is None
