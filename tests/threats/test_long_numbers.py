"""THREATS 53: numbers of thousands of digits, which Python does not convert, in fields that the edge reads late."""

from __future__ import annotations

import pytest
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Request

PBX = Flow(CORE, MEMBERS[0])
PHONE = Flow(PUBLIC, Source("203.0.113.9", 5060))
DIGEST = 'Authorization: Digest username="alice", realm="inside", nonce="n", uri="sip:x", response="r"\r\n'
DIGITS = "9" * 5_000


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (f"Expires: {DIGITS}\r\n", "Contact: {}"),
        (f"Expires: {'0' * 4_999}9\r\n", "Contact: {}"),
        ("", f"Contact: {{}};expires={DIGITS}"),
        ("", f"Contact: {{}}\r\nExpires: {DIGITS}"),
    ],
)
def test_53_an_expiry_of_thousands_of_digits_costs_nothing(asked: str, granted: str) -> None:
    """Written by the phone, where a registrar does not repeat it, or by the registrar."""
    harness = EdgeHarness(trunks={})
    ((_, request),) = harness.receive(PHONE, invite("REGISTER", extra=DIGEST + asked))
    assert isinstance(request, Request)
    extra = granted.format(request.get("Contact"))
    sent = harness.receive(PBX, respond(request, 200, tag="pbx", extra=extra, contact=False))
    assert [message.status for _, message in sent if not isinstance(message, Request)] == [200]
    assert harness.standings.of(PHONE, harness.now) is Standing.REGISTERED
    harness.wait(60)
    assert harness.edge.idle
