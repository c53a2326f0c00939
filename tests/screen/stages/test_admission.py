"""Stage admission: which sources may call, and the bounds on ringing calls and on calls of a trunk."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, LoadSnapshot, Phase, Reject, Subject, Verdict
from edgesbc.screen.stages.admission import Admission, AdmissionSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.trunk import Trunk

TRUNK = Trunk("carrier", ("192.0.2.1",), max_calls=3)


def judged(subject: Subject, load: LoadSnapshot | None = None, **settings) -> Verdict:
    subject.load = load or LoadSnapshot()
    return Admission(AdmissionSettings(**settings), Standings([TRUNK])).judge(subject, Phase.CALL, 1.0)


def test_an_unproven_source_gets_no_response(subject, request_of) -> None:
    verdict = judged(subject(request_of()))
    assert isinstance(verdict, Drop)
    assert (verdict.reason, verdict.ban) == (Reason.ADMISSION, 0.0)


def test_a_reachable_source_gets_403(flow, subject, request_of) -> None:
    verdict = judged(subject(request_of(), Standing.REACHABLE, of=flow("tls")))
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.reason, verdict.retry_after) == (403, Reason.ADMISSION, None)


@pytest.mark.parametrize("standing", [Standing.REGISTERED, Standing.TRUNK])
def test_registered_users_and_trunks_may_call(flow, subject, request_of, standing: Standing) -> None:
    assert judged(subject(request_of(), standing, "carrier" if standing is Standing.TRUNK else None)) is PASS


def test_the_private_side_may_call(flow, subject, request_of) -> None:
    assert judged(subject(request_of(), Standing.TRUNK, of=flow("core")), LoadSnapshot(1000, 1000)) is PASS


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "NOTIFY", "INFO", "FROBNICATE"])
def test_other_methods_outside_a_dialog_are_refused_too(flow, subject, request_of, method: str) -> None:
    """THREATS 31 and 32: responses to other methods would show which users exist."""
    assert judged(subject(request_of(method))) is not PASS
    assert judged(subject(request_of(method), Standing.REGISTERED)) is PASS


def test_any_source_may_register(subject, request_of) -> None:
    assert judged(subject(request_of("REGISTER"))) is PASS


@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization"])
def test_credentials_do_not_replace_a_registration(flow, subject, request_of, field: str) -> None:
    request = request_of("INVITE", f'{field}: Digest username="a", realm="b", nonce="c", uri="sip:x", response="d"')
    assert isinstance(judged(subject(request, Standing.REACHABLE, of=flow("tls"))), Reject)


@pytest.mark.parametrize(
    ("listeners", "udp", "tls"),
    [
        ((), False, False),
        (("browsers",), False, True),
        (("public",), True, True),
        (("carriers", "browsers"), True, True),
    ],
)
def test_the_policy_opens_it_by_listener_or_altogether(flow, subject, request_of, listeners, udp, tls) -> None:
    assert (judged(subject(request_of()), open=listeners) is PASS) == udp
    assert (judged(subject(request_of(), Standing.REACHABLE, of=flow("tls")), open=listeners) is PASS) == tls


@pytest.mark.parametrize("standing", [Standing.REACHABLE, Standing.REGISTERED])
def test_ringing_calls_are_bounded_and_retry_after_differs(flow, subject, request_of, standing) -> None:
    delays = set()
    for number in range(50):
        asking = subject(request_of(call_id=f"call-{number}"), standing, of=flow("tls"))
        assert judged(asking, LoadSnapshot(ringing=19), open=("public",)) is PASS
        verdict = judged(asking, LoadSnapshot(ringing=20), open=("public",))
        assert isinstance(verdict, Reject)
        assert (verdict.status, verdict.reason, verdict.limit, verdict.value) == (503, Reason.RINGING, 20, 20)
        assert verdict.retry_after is not None
        assert 0 < verdict.retry_after <= limits.RETRY_AFTER_SECONDS
        delays.add(verdict.retry_after)
    assert len(delays) > 5


def test_too_many_ringing_calls_of_an_unproven_source_get_no_response(subject, request_of) -> None:
    verdict = judged(subject(request_of()), LoadSnapshot(ringing=20), open=("public",))
    assert isinstance(verdict, Drop)
    assert verdict.reason is Reason.RINGING


def test_only_calls_count_as_ringing(subject, request_of) -> None:
    assert judged(subject(request_of("OPTIONS"), Standing.REGISTERED), LoadSnapshot(ringing=20)) is PASS


def test_a_trunk_is_bounded_by_max_calls_and_not_by_ringing(subject, request_of) -> None:
    assert judged(subject(request_of(), Standing.TRUNK, "carrier"), LoadSnapshot(ringing=500, trunk_calls=2)) is PASS
    verdict = judged(subject(request_of(), Standing.TRUNK, "carrier"), LoadSnapshot(trunk_calls=3))
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.reason, verdict.limit, verdict.value) == (503, Reason.TRUNK_CALLS, 3, 3)
    assert verdict.retry_after is not None
    assert judged(subject(request_of("OPTIONS"), Standing.TRUNK, "carrier"), LoadSnapshot(trunk_calls=3)) is PASS
    assert judged(subject(request_of(), Standing.TRUNK, "other"), LoadSnapshot(trunk_calls=3000)) is PASS


def test_calls_of_an_account_or_address_are_bounded_answered_or_not(flow, subject, request_of) -> None:
    for standing in (Standing.REACHABLE, Standing.REGISTERED):
        asking = subject(request_of(), standing, of=flow("tls"))
        assert judged(asking, LoadSnapshot(calls=199), open=("public",)) is PASS
        verdict = judged(asking, LoadSnapshot(calls=200), open=("public",))
        assert isinstance(verdict, Reject)
        assert (verdict.status, verdict.reason, verdict.limit, verdict.value) == (503, Reason.SOURCE_CALLS, 200, 200)
        assert judged(asking, LoadSnapshot(calls=200), open=("public",), calls=201) is PASS
    assert isinstance(judged(subject(request_of()), LoadSnapshot(calls=200), open=("public",)), Drop)
    assert judged(subject(request_of("OPTIONS"), Standing.REGISTERED), LoadSnapshot(calls=200)) is PASS
    assert judged(subject(request_of(), Standing.TRUNK, "carrier"), LoadSnapshot(calls=200)) is PASS
