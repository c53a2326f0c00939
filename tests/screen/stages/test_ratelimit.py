"""Stage ratelimit: the bucket of each request, and the refusal by an empty one."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase, Reject
from edgesbc.screen.stages.ratelimit import DEFAULT_BUCKETS, BucketSettings, RateLimit
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.trunk import Trunk


def passed(stage: RateLimit, subjects, phase: Phase = Phase.CALL, now: float = 1.0) -> int:
    return sum(stage.judge(subject, phase, now) is PASS for subject in subjects)


def one(key: str, **settings) -> RateLimit:
    return RateLimit((BucketSettings("b", key, rate=1.0, burst=3, **settings),), Standings())


def test_defaults(subject, request_of) -> None:
    stage = RateLimit(DEFAULT_BUCKETS, Standings())
    assert passed(stage, [subject(request_of())] * 100) == 30
    assert passed(stage, [subject(request_of("REGISTER"))] * 100, Phase.REQUEST) == 60
    assert passed(stage, [subject(request_of("OPTIONS"))] * 100, Phase.REQUEST) == 100


def test_invite_is_charged_as_a_call_and_others_as_requests(subject, request_of) -> None:
    stage = one("global")
    assert passed(stage, [subject(request_of())] * 10, Phase.REQUEST) == 10
    assert passed(stage, [subject(request_of("OPTIONS"))] * 10, Phase.CALL) == 10
    assert passed(stage, [subject(request_of())] * 2, Phase.CALL) == 2
    assert passed(stage, [subject(request_of("OPTIONS"))] * 10, Phase.REQUEST) == 1


@pytest.mark.parametrize("method", ["ACK", "BYE", "CANCEL"])
def test_what_ends_or_confirms_a_call_is_never_charged(subject, request_of, method: str) -> None:
    stage = one("global", methods=(method, "INVITE"))
    for phase in stage.phases:
        assert passed(stage, [subject(request_of(method))] * 10, phase) == 10


@pytest.mark.parametrize("method", ["INVITE", "INFO"])
def test_requests_inside_a_call_are_not_charged_and_those_with_a_tag_are(subject, request_of, method: str) -> None:
    tagged = subject(request_of(method, to="<sip:100@edge.example>;tag=9"))
    assert passed(one("global"), [tagged] * 10, Phase.REQUEST) == 3
    tagged.in_call = True
    assert passed(one("global"), [tagged] * 10, Phase.REQUEST) == 10


def test_an_invite_with_a_tag_is_no_new_call_of_its_trunk(subject, request_of) -> None:
    stage = RateLimit((), Standings([Trunk("carrier", ("192.0.2.1",), max_cps=1.0)]))
    tagged = subject(request_of("INVITE", to="<sip:100@edge.example>;tag=9"), Standing.TRUNK, "carrier")
    assert passed(stage, [tagged] * 10, Phase.REQUEST) == 10


def test_unproven_sources_get_no_response(subject, request_of) -> None:
    stage = one("source")
    verdicts = [stage.judge(subject(request_of()), Phase.CALL, 1.0) for _ in range(4)]
    refused = verdicts[3]
    assert isinstance(refused, Drop)
    assert (refused.reason, refused.limit, refused.detail) == (Reason.RATELIMIT, 1.0, "b")


def test_others_get_a_retry_after_that_differs(flow, subject, request_of) -> None:
    stage = one("global")
    passed(stage, [subject(request_of())] * 3)
    delays = set()
    for n in range(60):
        verdict = stage.judge(subject(request_of(call_id=f"c{n}"), Standing.REACHABLE, of=flow("tls")), Phase.CALL, 1.0)
        assert isinstance(verdict, Reject)
        assert verdict.status == 503
        assert verdict.retry_after is not None
        assert 1 <= verdict.retry_after <= limits.RETRY_AFTER_SECONDS
        delays.add(verdict.retry_after)
    assert len(delays) >= 4


def test_keys(flow, subject, request_of) -> None:
    invite = request_of()

    def unproven(*hosts: str) -> list:
        return [subject(invite, of=flow(host=host)) for host in hosts]

    many = [f"192.0.2.{n}" for n in range(10)]
    assert passed(one("source"), unproven(*many)) == 10
    assert passed(one("source"), [subject(invite, of=flow(port=n)) for n in range(1, 11)]) == 3
    flows = [subject(invite, Standing.REACHABLE, of=flow("tls", serial=n)) for n in range(1, 11)]
    assert passed(one("source"), flows) == 10
    assert passed(one("prefix"), unproven(*many)) == 3
    assert passed(one("prefix"), unproven(*(f"2001:db8::{n}" for n in range(10)))) == 3
    assert passed(one("prefix"), unproven("2001:db8:0:0:1::1", "2001:db8::2", "2001:db8::3:4", "2001:db8::5")) == 3
    assert passed(one("prefix"), unproven(*(f"2001:db8:0:{n}::1" for n in range(1, 10)))) == 9
    assert passed(one("listener"), [subject(invite), *flows]) == 1 + 3
    assert passed(one("global"), [subject(invite), *flows]) == 3


def test_keys_from_the_message(subject, request_of) -> None:
    to_users = [subject(request_of(to=f"<sip:{n}@edge.example>")) for n in range(5)]
    assert passed(one("aor"), to_users) == 5
    assert passed(one("destination"), to_users) == 3
    at_users = [subject(request_of(uri=f"sip:{n}@edge.example")) for n in range(5)]
    assert passed(one("aor"), at_users) == 3
    assert passed(one("destination"), at_users) == 5
    spellings = ("+4930123", "+49-30-123", "%2B4930123", "+4930123;npdi", "+49.30.123:secret")
    assert passed(one("aor"), [subject(request_of(to=f"<sip:{n}@edge.example>")) for n in spellings]) == 3
    assert passed(one("destination"), [subject(request_of(uri=f"sip:{n}@edge.example")) for n in spellings]) == 3
    mixed = [subject(request_of(m)) for m in ("OPTIONS", "REGISTER", "INFO") for _ in range(4)]
    assert passed(one("method"), mixed, Phase.REQUEST) == 9


def test_trunks_have_buckets_of_their_own(subject, request_of) -> None:
    carriers = [subject(request_of(), Standing.TRUNK, "a")] * 10
    assert passed(one("source"), carriers) == 10
    assert passed(one("prefix"), carriers) == 10
    assert passed(one("trunk"), [*carriers, *[subject(request_of(), Standing.TRUNK, "b")] * 10]) == 6
    assert passed(one("trunk"), [subject(request_of())] * 10) == 10


def test_max_cps_of_a_trunk(subject, request_of) -> None:
    stage = RateLimit((), Standings((Trunk("a", ("192.0.2.1",), max_cps=20.0), Trunk("b"))))
    carrier = subject(request_of(), Standing.TRUNK, "a")
    assert passed(stage, [carrier] * 100) == 20
    verdict = stage.judge(carrier, Phase.CALL, 1.0)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.detail, verdict.limit) == (503, "max_cps", 20.0)
    assert passed(stage, [carrier] * 100, now=2.0) == 20
    assert passed(stage, [subject(request_of(), Standing.TRUNK, "b")] * 100) == 100


def test_a_request_that_one_bucket_refuses_takes_no_token_from_another(flow, subject, request_of) -> None:
    stage = RateLimit(
        (BucketSettings("all", "global", rate=1.0, burst=5), BucketSettings("each", "source", rate=1.0, burst=2)),
        Standings(),
    )
    assert passed(stage, [subject(request_of())] * 10) == 2
    assert passed(stage, [subject(request_of(), of=flow(host=f"192.0.2.{n}")) for n in range(2, 10)]) == 3


def test_keys_are_bounded(flow, subject, request_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BUCKET_KEYS", 50)
    stage = one("source")
    invite = request_of()
    for n in range(1000):
        stage.judge(subject(invite, of=flow(host=f"10.0.{n >> 8}.{n & 255}")), Phase.CALL, 1.0)
    [(_, _, bucket)] = stage._buckets
    assert len(bucket) <= 100
