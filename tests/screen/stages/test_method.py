"""Stage method."""

from __future__ import annotations

import pytest

from edgesbc.screen.stage import PASS, Phase, Reject
from edgesbc.screen.stages.method import Method, MethodSettings
from edgesbc.screen.standing import Standings


@pytest.mark.parametrize(
    ("listener", "method", "passes"),
    [
        ("udp", "INVITE", True),
        ("udp", "REGISTER", True),
        ("udp", "PRACK", True),
        ("udp", "MESSAGE", False),
        ("tls", "SUBSCRIBE", False),
        ("udp", "PUBLISH", False),
        ("udp", "FOO", False),
        ("udp", "invite", False),
        ("core", "MESSAGE", True),
        ("core", "FOO", False),
    ],
)
def test_methods_by_side(flow, subject, request_of, listener: str, method: str, passes: bool) -> None:
    verdict = Method(MethodSettings(), Standings()).judge(
        subject(request_of(method), of=flow(listener)), Phase.REQUEST, 1.0
    )
    assert (verdict is PASS) == passes
    if not passes:
        assert isinstance(verdict, Reject)
        assert verdict.status == 405
