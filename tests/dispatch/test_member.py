"""The limits of a member, exactly: calls at once, and calls a second."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.members import a_member

from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import HealthSettings, MemberSettings
from edgesbc.sip.server_uri import ResolvedAddress


def member(**fields: object) -> Member:
    return a_member(**fields)  # type: ignore[arg-type]


def test_max_calls() -> None:
    one = member(max_calls=2)
    assert one.has_room(0.0)
    one.load = 2
    assert not one.has_room(0.0)


@given(st.integers(1, 8), st.lists(st.floats(0, 0.4), max_size=60))
@settings(max_examples=60, deadline=None)
def test_max_cps_holds_in_every_second(rate: int, pauses: list[float]) -> None:
    one, now, starts = member(max_cps=rate), 0.0, list[float]()
    for pause in pauses:
        now += pause
        has_room = one.has_room(now)
        recent = [start for start in starts if now - start < 1.0]
        assert has_room is (len(recent) < rate)
        if has_room:
            one.starts.append(now)
            starts.append(now)


def test_less_than_one_call_a_second() -> None:
    one = member(max_cps=0.5)
    one.starts.append(10.0)
    assert not one.has_room(11.9)
    assert one.has_room(12.0)


def test_new_settings_keep_the_recent_starts() -> None:
    one = member(max_cps=4)
    one.starts.extend([1.0, 1.1, 1.2])
    one.adopt(
        MemberSettings(uri="sip:10.0.0.1", max_cps=2), HealthSettings(), ResolvedAddress(one.target, one.transport), 1.0
    )
    assert not one.has_room(1.5)
    assert one.has_room(2.1)


def test_a_member_needs_a_free_unit_of_every_resource_of_a_call() -> None:
    one = member(resources={"pstn": 2, "transcoder": 1})
    one.take(("pstn", "transcoder"), 1)
    assert one.has_room(0.0, ("pstn",))
    assert not one.has_room(0.0, ("pstn", "transcoder"))
    assert not one.has_room(0.0, ("fax",))
    one.take(("pstn", "transcoder"), -1)
    assert one.has_room(0.0, ("pstn", "transcoder"))


def test_the_name_that_its_certificate_has() -> None:
    assert member().tls_name == "10.0.0.1"
    assert member(tls_name="pbx.example").tls_name == "pbx.example"
    at_a_name = member(uri="sips:PBX.example.com", target=ResolvedAddress(Source("10.0.0.7", 5061), Transport.TLS))
    assert at_a_name.tls_name == "pbx.example.com"
    assert at_a_name.name == "sips:PBX.example.com at 10.0.0.7:5061 over tls"


def test_a_member_disabled_by_the_policy_can_be_enabled_by_the_operator() -> None:
    one = member(disabled=True)
    where = ResolvedAddress(one.target, one.transport)
    assert one.admin_state is AdminState.DISABLED
    one.admin_state = AdminState.ENABLED
    one.adopt(MemberSettings(uri="sip:10.0.0.1", disabled=True), HealthSettings(), where, 1.0)
    assert one.admin_state is AdminState.ENABLED
    one.adopt(MemberSettings(uri="sip:10.0.0.1"), HealthSettings(), where, 1.0)
    one.adopt(MemberSettings(uri="sip:10.0.0.1", disabled=True), HealthSettings(), where, 1.0)
    assert one.admin_state is AdminState.DISABLED


def test_the_response_time_is_smoothed() -> None:
    one = member()
    assert one.latency is None
    one.answered_after(0.1)
    one.answered_after(0.6)
    assert one.latency == pytest.approx(0.2)
