"""Responses of the edge itself (RFC 3261 sections 8.2.2, 11.2 and 16.3, RFC 5393)."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite

from edgesbc.base.address import Flow
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.method import CALLS
from edgesbc.screen.stages.sanity import SanitySettings
from edgesbc.sip.message import Response

PBX = Flow(CORE, MEMBERS[0])


def screened(harness: EdgeHarness, settings: ScreenSettings) -> None:
    pipeline = Pipeline(settings, harness.standings, harness.decisions.append, lambda stage, error: None)
    harness.edge.adopt(RoutingTable((), ["pbx"]), pipeline)


def answered(harness: EdgeHarness, data: bytes) -> Response:
    ((to, answer),) = harness.receive(CALLER, data)
    assert to == CALLER
    assert isinstance(answer, Response)
    return answer


def test_unsupported_lists_what_is_not_supported_and_nothing_else(harness: EdgeHarness) -> None:
    """Sections 16.3 check 5 and 20.40."""
    screened(harness, ScreenSettings(sanity=SanitySettings(proxy_require=("Known",))))
    request = invite(extra="Proxy-Require: known, one\r\nProxy-Require: two\r\n")
    answer = answered(harness, request)
    assert answer.status == 420
    assert answer.get_all("Unsupported") == ["one, two"]


def test_options_to_the_edge_that_require_an_extension_get_420(harness: EdgeHarness) -> None:
    """Section 8.2.2.3."""
    answer = answered(harness, invite("OPTIONS", "sip:192.0.2.1", extra="Require: path, 100rel\r\n"))
    assert answer.status == 420
    assert answer.get_all("Unsupported") == ["100rel"]
    answer = answered(harness, invite("OPTIONS", "sip:192.0.2.1", extra="Require: path\r\n"))
    assert answer.status == 200
    assert answer.get_all("Supported") == ["path"]


def test_the_edge_lists_its_capabilities(harness: EdgeHarness) -> None:
    """Sections 8.2.1 and 11.2."""
    refused = answered(harness, invite("MESSAGE"))
    capabilities = answered(harness, invite("OPTIONS", "sip:192.0.2.1", branch="z9hG4bKo"))
    assert (refused.status, capabilities.status) == (405, 200)
    assert refused.get("Allow") == capabilities.get("Allow") == ", ".join(CALLS)
    assert capabilities.get("Accept") == "application/sdp"
    assert capabilities.to_tag


def test_a_repeated_request_gets_the_same_answer_though_nothing_is_kept_of_it(harness: EdgeHarness) -> None:
    """Section 8.2.7: a stateless server makes the same tag again."""
    one, two = (answered(harness, invite("MESSAGE")) for _ in range(2))
    other = answered(harness, invite("MESSAGE", branch="z9hG4bKother"))
    assert one.to_tag == two.to_tag != other.to_tag
    assert len(one.to_tag) == 16
    assert harness.edge.idle


def test_100_repeats_the_timestamp_and_has_no_tag(harness: EdgeHarness) -> None:
    """Section 8.2.6.1."""
    harness.receive(CALLER, invite(extra="Timestamp: 54\r\n"))
    (trying,) = [message for to, message in harness.wait(0.3) if to == CALLER and isinstance(message, Response)]
    assert (trying.status, trying.get("Timestamp"), trying.to_tag) == (100, "54", "")


def test_a_cancel_of_a_non_invite_request_gets_481(harness: EdgeHarness) -> None:
    """Section 9.2 asks for a 200 without effect; see the deviations."""
    harness.receive(CALLER, invite("REGISTER"))
    assert answered(harness, invite("CANCEL")).status == 481


def test_require_is_left_to_the_far_side(harness: EdgeHarness) -> None:
    """Section 20.32: a proxy ignores it."""
    ((to, forwarded),) = harness.receive(CALLER, invite(extra="Require: nobody-knows\r\n"))
    assert to == PBX
    assert forwarded.get("Require") == "nobody-knows"


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER"])
def test_max_forwards_is_enforced_if_screening_is_in_shadow_mode(harness: EdgeHarness, method: str) -> None:
    """Section 16.3 check 3: Max-Forwards cannot go below zero."""
    screened(harness, ScreenSettings(mode="shadow"))
    assert answered(harness, invite(method).replace(b"Max-Forwards: 70", b"Max-Forwards: 0")).status == 483
    assert harness.edge.idle


def test_the_response_to_an_exceeded_breadth_has_its_phrase(harness: EdgeHarness) -> None:
    answer = answered(harness, invite(extra="Max-Breadth: 0\r\n"))
    assert (answer.status, answer.phrase) == (440, "Max-Breadth Exceeded")
