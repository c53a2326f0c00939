"""Stage sanity, check by check (RFC 3261 section 16.3)."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Phase, Reject
from edgesbc.screen.stages.sanity import Sanity, SanitySettings
from edgesbc.screen.standing import Standing, Standings


@pytest.mark.parametrize(
    ("fields", "changes", "status"),
    [
        ((), {}, None),
        ((), {"uri": "sips:100@edge.example"}, None),
        ((), {"uri": "tel:+4930123456"}, None),
        ((), {"forwards": ""}, None),
        ((), {"forwards": "Max-Forwards: 1"}, None),
        (("Content-Type: application/sdp",), {}, None),
        (("Require: 100rel",), {}, None),
        ((), {"forwards": "Max-Forwards: 0"}, 483),
        ((), {"contact": ""}, 400),
        (("Proxy-Require: nothing-known",), {}, 420),
        ((), {"vias": 6}, 483),
    ],
)
def test_checks(subject, request_of, fields, changes, status: int | None) -> None:
    verdict = Sanity(SanitySettings(via_hops=5), Standings()).judge(
        subject(request_of("INVITE", *fields, **changes)), Phase.REQUEST, 1.0
    )
    assert (verdict.status if isinstance(verdict, Reject) else None) == status
    assert status is not None or verdict is PASS


def test_a_scheme_that_is_not_routed(subject, request_of) -> None:
    sanity = Sanity(SanitySettings(schemes=("sip",)), Standings())
    verdict = sanity.judge(subject(request_of(uri="tel:+4930123456")), Phase.REQUEST, 1.0)
    assert isinstance(verdict, Reject)
    assert verdict.status == 416


def test_proxy_require_lists_in_any_case(subject, request_of) -> None:
    sanity = Sanity(SanitySettings(proxy_require=("Foo", "bar")), Standings())
    known = request_of("OPTIONS", "Proxy-Require: foo , BAR")
    assert sanity.judge(subject(known), Phase.REQUEST, 1.0) is PASS
    mixed = request_of("OPTIONS", "Proxy-Require: foo", "Proxy-Require: bar, baz")
    assert isinstance(sanity.judge(subject(mixed), Phase.REQUEST, 1.0), Reject)


def test_only_an_invite_must_have_a_contact(subject, request_of) -> None:
    sanity = Sanity(SanitySettings(), Standings())
    assert sanity.judge(subject(request_of("OPTIONS", contact="")), Phase.REQUEST, 1.0) is PASS


@pytest.mark.parametrize(
    "names", [("Authorization",), ("Proxy-Authorization",), ("Authorization", "Proxy-Authorization")]
)
def test_credentials_are_bounded(subject, request_of, names: tuple[str, ...]) -> None:
    """Each of them is an attempt on its user; trunks and the private side are not counted."""
    stage = Sanity(SanitySettings(), Standings())
    fields = [f"{names[n % len(names)]}: Digest username=u{n}" for n in range(limits.CREDENTIALS + 1)]
    assert stage.judge(subject(request_of("REGISTER", *fields[1:])), Phase.REQUEST, 1.0) is PASS
    verdict = stage.judge(subject(request_of("REGISTER", *fields)), Phase.REQUEST, 1.0)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.reason, verdict.detail) == (400, Reason.SANITY, "credentials")
    assert stage.judge(subject(request_of("REGISTER", *fields), Standing.TRUNK), Phase.REQUEST, 1.0) is PASS
