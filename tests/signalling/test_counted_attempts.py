"""Which calls count as attempted, and which of them as failed."""

from __future__ import annotations

from typing import Any

import pytest
from support.signalling import CALLER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.statistics import Tally
from edgesbc.sip.message import Request

UNPROVEN = Flow(PUBLIC, Source("203.0.113.9", 5060))


def tally(harness: EdgeHarness) -> Tally:
    return harness.edge.call_attempts.tally(0.0)


def answered(harness: EdgeHarness, status: int) -> Tally:
    """A call to which the destination gives this answer."""
    ((to, forwarded),) = harness.receive(CALLER, invite())
    assert isinstance(forwarded, Request)
    assert tally(harness) == Tally(1, 0)
    harness.receive(to, respond(forwarded, status))
    return tally(harness)


@pytest.mark.parametrize(("status", "failed"), [(200, 0), (486, 1), (404, 1), (603, 1), (180, 0)])
def test_what_a_destination_answers(status: int, failed: int) -> None:
    assert answered(EdgeHarness(), status) == Tally(1, failed)


def test_a_cancelled_call_has_not_failed() -> None:
    harness = EdgeHarness()
    ((to, forwarded),) = harness.receive(CALLER, invite())
    assert isinstance(forwarded, Request)
    harness.receive(to, respond(forwarded, 180))
    harness.receive(CALLER, invite("CANCEL"))
    harness.receive(to, respond(forwarded, 487))
    assert harness.edge.counters.outcomes == {("cancelled",): 1}
    assert tally(harness) == Tally(1, 0)


def test_a_call_that_no_route_takes_has_failed() -> None:
    harness = EdgeHarness()
    nobody = RoutingTable([Route("never", ("pbx",), request_user="^nobody$")], ["pbx"])
    harness.edge.adopt(nobody, harness.edge.pipeline)
    harness.receive(CALLER, invite())
    assert harness.reasons[-1] == "no-route"
    assert tally(harness) == Tally(1, 1)
    harness.receive(CALLER, invite("MESSAGE", branch="z9hG4bKm"))
    assert tally(harness) == Tally(1, 1), "a MESSAGE is no call"


def test_a_call_that_a_route_refuses_has_failed() -> None:
    harness = EdgeHarness()
    harness.edge.adopt(RoutingTable([Route("barred", answer=403)], ["pbx"]), harness.edge.pipeline)
    harness.receive(CALLER, invite())
    assert harness.reasons[-1] == "blocked"
    assert tally(harness) == Tally(1, 1)


DENIED: dict[str, Any] = {"acl": AclSettings(deny=("198.51.100.7", "203.0.113.9"))}


def test_a_denied_call_of_a_trunk_has_failed_and_that_of_an_unproven_source_has_not() -> None:
    harness = EdgeHarness(screen=DENIED)
    harness.receive(UNPROVEN, invite())
    assert tally(harness) == Tally(0, 0)
    harness.receive(CALLER, invite("OPTIONS"))
    assert tally(harness) == Tally(0, 0)
    harness.receive(CALLER, invite())
    assert tally(harness) == Tally(1, 1)


def test_a_refused_call_of_a_former_trunk_has_failed() -> None:
    harness = EdgeHarness(trunks={})
    harness.receive(CALLER, invite())
    assert harness.reasons[-1] == "admission"
    assert tally(harness) == Tally(0, 0), "unproven sources are meant to be refused"
    harness.edge.count_refusals_of(Standings([Trunk("carrier", ("198.51.100.7",))]))
    harness.receive(CALLER, invite(branch="z9hG4bKagain"))
    assert tally(harness) == Tally(1, 1)
    harness.receive(UNPROVEN, invite(branch="z9hG4bKother"))
    assert tally(harness) == Tally(1, 1)
