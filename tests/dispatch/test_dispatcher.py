"""The dispatcher as a whole: choice, leases, probes, evidence, orders of the operator, reload."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState, Evidence, MemberState
from edgesbc.dispatch.health_monitor import Probe
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress

HEALTH = HealthSettings(interval=5.0, timeout=1.0, fall=2, rise=2, slow_start=0)


def a_set(*members: MemberSettings, name: str = "pbx", health: HealthSettings = HEALTH) -> SetSettings:
    return SetSettings(set=name, members=members, health=health)


def at(host: int, **fields: object) -> MemberSettings:
    return MemberSettings(uri=f"sip:10.0.0.{host}", **fields)  # type: ignore[arg-type]


def dispatcher(*sets: SetSettings, recorded: list[Decision] | None = None) -> Dispatcher:
    record = (lambda decision: None) if recorded is None else recorded.append
    return Dispatcher(sets, Random(7).random, 0.0, record)


def take(d: Dispatcher, now: float = 0.0, **kinds: object) -> Lease:
    lease = d.acquire("pbx", now, **kinds)  # type: ignore[arg-type]
    assert lease is not None
    return lease


def next_probe(d: Dispatcher) -> tuple[Probe, float]:
    """Let time pass until a probe is to be sent."""
    while True:
        now = d.health_monitor.deadline()
        assert now is not None
        for probe in d.health_monitor.expire(now):
            return probe, now


def take_down(d: Dispatcher, member: Member, now: float = 0.0) -> None:
    for _ in range(member.health.settings.fall):
        d.health_monitor.failed(member, now, "silence")
    assert member.state is MemberState.INACTIVE


def test_evidence_against_a_member_is_counted_by_its_origin() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    probe, now = next_probe(d)
    d.health_monitor.probe_failed(probe, now)
    d.health_monitor.failed(member, now, "gave no answer in time")
    assert member.failures == {Evidence.PROBE: 1, Evidence.TRAFFIC: 1, Evidence.REFUSAL: 0}
    d.health_monitor.succeeded(member, now)
    assert (member.failure, member.failed) == ("gave no answer in time", now)


def test_probes_that_do_not_count_take_no_member_out_and_keep_none_out() -> None:
    health = HealthSettings(interval=5.0, counts=("silence",), retry=20.0)
    d = dispatcher(a_set(at(1), health=health))
    (member,) = d.members()
    for _ in range(5):
        d.health_monitor.probe_failed(*next_probe(d))
    assert (member.state, member.failures[Evidence.PROBE]) == (MemberState.ACTIVE, 5)
    probe, out = next_probe(d)
    take_down(d, member, out)
    now = out
    while member.state is MemberState.INACTIVE:
        d.health_monitor.probe_failed(probe, now)
        before, (probe, now) = now, next_probe(d)
    assert before >= out + 20.0


def test_weights_share_the_calls() -> None:
    d = dispatcher(a_set(at(1, weight=70), at(2, weight=30)))
    counts = Counter(take(d).member.name for _ in range(10_000))
    assert counts == {"sip:10.0.0.1": 7000, "sip:10.0.0.2": 3000}


def test_the_next_priority_only_when_the_first_cannot() -> None:
    d = dispatcher(a_set(at(1, priority=1), at(2, priority=0, max_calls=1)))
    first, second = take(d), take(d)
    assert [first.member.name, second.member.name] == ["sip:10.0.0.2", "sip:10.0.0.1"]
    first.release()
    assert take(d).member is first.member


def test_failover_goes_through_every_member_once() -> None:
    d = dispatcher(a_set(at(1), at(2), at(3, priority=5)))
    tried: list[Member] = []
    while (lease := d.acquire("pbx", 0.0, exclude=tried)) is not None:
        lease.release()
        tried.append(lease.member)
    assert [member.name for member in tried] == ["sip:10.0.0.1", "sip:10.0.0.2", "sip:10.0.0.3"]
    assert d.leases == 0


def test_no_member_has_room() -> None:
    d = dispatcher(a_set(at(1, max_calls=2), at(2, max_cps=1)))
    assert [d.acquire("pbx", 0.0) is None for _ in range(4)] == [False, False, False, True]
    assert d.acquire("pbx", 1.0) is not None
    assert d.leases == 4


def test_an_unknown_set_raises_a_key_error() -> None:
    with pytest.raises(KeyError):
        dispatcher(a_set(at(1))).acquire("nowhere", 0.0)


def test_failures_of_live_traffic_take_a_member_out_and_are_recorded() -> None:
    recorded: list[Decision] = []
    d = dispatcher(a_set(at(1), at(2)), recorded=recorded)
    bad, good = d.members()
    d.health_monitor.failed(bad, 3.0, "503")
    assert bad.state is MemberState.TRYING
    d.health_monitor.failed(bad, 3.5, "503")
    assert {take(d).member for _ in range(6)} == {good}
    assert [(decision.time, decision.reason, decision.source) for decision in recorded] == [
        (3.0, Reason.HEALTH, "10.0.0.1:5060"),
        (3.5, Reason.HEALTH, "10.0.0.1:5060"),
    ]
    assert recorded[1].detail == "pbx sip:10.0.0.1: trying to inactive: 503"


def test_a_success_between_failures_keeps_it_in() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    for _ in range(5):
        d.health_monitor.failed(member, 0.0, "silence")
        d.health_monitor.succeeded(member, 0.0)
    assert member.state is MemberState.ACTIVE


def test_a_failure_brings_the_next_probe_forward() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    probe, now = next_probe(d)
    d.health_monitor.probe_answered(probe, 200, now)
    assert member.due is not None
    assert now + 4.5 <= member.due < now + 5.5
    d.health_monitor.failed(member, now, "silence")
    assert now + 0.9 <= member.due < now + 1.1
    deadline = d.health_monitor.deadline()
    assert deadline is not None
    assert deadline <= member.due


@pytest.mark.parametrize("status", [200, 401, 404, 405, 480, 486, 500, 603])
def test_responses_that_show_a_live_member(status: int) -> None:
    d = dispatcher(a_set(at(1)))
    for _ in range(4):
        probe, now = next_probe(d)
        d.health_monitor.probe_answered(probe, status, now)
    assert probe.member.state is MemberState.ACTIVE


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_responses_that_mean_that_a_member_takes_no_calls_now(status: int) -> None:
    d = dispatcher(a_set(at(1)))
    for _ in range(2):
        probe, now = next_probe(d)
        d.health_monitor.probe_answered(probe, status, now)
    assert probe.member.state is MemberState.INACTIVE


def test_silent_probes_fail_by_themselves_and_good_ones_bring_it_back() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    while member.state is not MemberState.INACTIVE:
        probe, now = next_probe(d)
    assert now < 2.0 + 1.0 + 1.2 + 1.0  # first probe, its timeout, a short pause, the second probe
    late = Probe(member, probe.serial - 1)
    d.health_monitor.probe_answered(late, 200, now)
    d.health_monitor.probe_failed(late, now)
    assert (member.health.successes, member.probe) == (0, probe.serial)
    d.health_monitor.probe_answered(probe, 200, now)
    assert member.state is MemberState.INACTIVE
    probe, now = next_probe(d)
    d.health_monitor.probe_answered(probe, 200, now)
    assert member.state is MemberState.ACTIVE


def test_a_probe_is_answered_once() -> None:
    d = dispatcher(a_set(at(1)))
    probe, now = next_probe(d)
    for _ in range(3):
        d.health_monitor.probe_failed(probe, now)
    assert probe.member.health.probes_failed == 1


def test_one_probe_at_a_time_at_each_member_with_jitter() -> None:
    d = dispatcher(*(a_set(*(at(host) for host in range(1, 20)), name=name) for name in ("a", "b")))
    sent: dict[Member, list[float]] = {}
    while (now := d.health_monitor.deadline() or 0.0) < 60.0:
        for probe in d.health_monitor.expire(now):
            sent.setdefault(probe.member, []).append(now)
            d.health_monitor.probe_answered(probe, 200, now)
    assert set(sent) == set(d.members())
    for times in sent.values():
        assert times[0] < 1.0
        assert all(4.5 <= later - sooner < 5.5 for sooner, later in pairwise(times))
    assert len({time for times in sent.values() for time in times}) > 300


def test_panic_uses_all_when_all_are_down() -> None:
    d = dispatcher(a_set(at(1), at(2), at(3)))
    one, two, three = d.members()
    take_down(d, one)
    take_down(d, two)
    assert {take(d).member for _ in range(6)} == {three}
    assert d.acquire("pbx", 0.0, exclude=[three]) is None
    take_down(d, three)
    assert {take(d).member for _ in range(6)} == {one, two, three}
    d.set_admin_state(two, AdminState.DISABLED, 0.0)
    assert {take(d).member for _ in range(6)} == {one, three}


def test_panic_begins_below_a_share_of_members_that_are_up() -> None:
    d = dispatcher(a_set(at(1), at(2), at(3), health=HealthSettings(panic=34)))
    one, two, three = d.members()
    take_down(d, one)
    assert {take(d).member for _ in range(6)} == {two, three}
    take_down(d, two)
    assert {take(d).member for _ in range(6)} == {one, two, three}


def test_without_probes_a_member_rests_and_is_tried_by_live_traffic() -> None:
    d = dispatcher(a_set(at(1), at(2), health=HealthSettings(interval=0, retry=10, slow_start=0)))
    member, _ = d.members()
    assert d.health_monitor.deadline() is None
    take_down(d, member, now=100.0)
    deadline = d.health_monitor.deadline()
    assert deadline == 110.0
    assert d.health_monitor.expire(110.0) == []
    assert member.state is MemberState.TRYING
    assert d.health_monitor.deadline() is None
    d.health_monitor.failed(member, 111.0, "silence")
    assert member.state is MemberState.INACTIVE
    assert d.health_monitor.expire(121.0) == []
    d.health_monitor.succeeded(member, 122.0)
    assert member.state is MemberState.ACTIVE


def test_draining_and_disabled_members_take_no_calls() -> None:
    recorded: list[Decision] = []
    d = dispatcher(a_set(at(1), at(2)), recorded=recorded)
    one, two = d.members()
    lease = take(d)
    assert lease.member is one
    d.set_admin_state(one, AdminState.DRAINING, 1.0)
    assert {take(d).member for _ in range(4)} == {two}
    assert (one.state, one.load) == (MemberState.DRAINING, 1)
    d.set_admin_state(two, AdminState.DISABLED, 1.0)
    assert d.acquire("pbx", 1.0) is None
    d.set_admin_state(one, AdminState.ENABLED, 2.0)
    assert take(d).member is one
    assert [decision.detail.split(": ")[1] for decision in recorded] == [
        "active to draining",
        "active to disabled",
        "draining to active",
    ]


def test_a_disabled_member_is_not_probed_and_an_enabled_one_is_again() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    probe, now = next_probe(d)
    d.set_admin_state(member, AdminState.DISABLED, now)
    assert d.health_monitor.deadline() is None
    d.health_monitor.probe_failed(probe, now)
    assert member.health.probes_failed == 0
    d.set_admin_state(member, AdminState.ENABLED, now)
    assert next_probe(d)[0].member is member


def test_member_at() -> None:
    d = dispatcher(a_set(at(1)), a_set(at(1), at(2), name="other"))
    first, _, second = d.members()
    assert d.member_at(Source("10.0.0.1", 5060), Transport.UDP) is first
    assert d.member_at(Source("10.0.0.2", 5060), Transport.UDP) is second
    assert d.member_at(Source("10.0.0.2", 5060), Transport.TCP) is None
    assert d.member_at(Source("10.0.0.2", 5061), Transport.UDP) is None


def test_reload_keeps_what_is_unchanged() -> None:
    d = dispatcher(a_set(at(1), at(2)), a_set(at(9), name="gone"))
    one, two, nine = d.members()
    leases = [take(d), take(d), d.acquire("gone", 0.0)]
    take_down(d, one)
    d.reload([a_set(at(3), at(1, weight=5, max_calls=1))], 10.0)
    three, same_member = d.members()
    assert same_member is one
    assert (one.state, one.load, one.settings.weight) == (MemberState.INACTIVE, 1, 5)
    assert (three.state, three.name) == (MemberState.ACTIVE, "sip:10.0.0.3")
    assert (two.removed, nine.removed, one.removed) == (True, True, False)
    assert d.leases == 3
    assert d.member_at(nine.target, nine.transport) is None
    with pytest.raises(KeyError):
        d.acquire("gone", 10.0)
    for lease in leases:
        assert lease is not None
        lease.release()
    assert (d.leases, one.load, two.load, nine.load) == (0, 0, 0, 0)


def test_reload_stops_the_probes_of_removed_members() -> None:
    d = dispatcher(a_set(at(1)))
    probe, now = next_probe(d)
    d.reload([a_set(at(2))], now)
    d.health_monitor.probe_failed(probe, now)
    assert probe.member.health.probes_failed == 0
    assert next_probe(d)[0].member.name == "sip:10.0.0.2"


def test_a_tried_member_is_not_tried_again_after_its_removal_and_return() -> None:
    d = dispatcher(a_set(at(1), at(2, priority=1)))
    first = take(d)
    first.release()  # it was silent
    d.reload([a_set(at(2, priority=1))], 1.0)
    d.reload([a_set(at(1), at(2, priority=1))], 1.0)
    second = take(d, 1.0, exclude=[first.member])
    assert second.member.name == "sip:10.0.0.2"
    assert d.acquire("pbx", 1.0, exclude=[first.member, second.member]) is None


def test_reload_takes_new_health_settings() -> None:
    d = dispatcher(a_set(at(1)))
    (member,) = d.members()
    d.reload([a_set(at(1), health=HealthSettings(interval=0, fall=1))], 0.0)
    assert d.health_monitor.deadline() is None
    d.health_monitor.failed(member, 0.0, "silence")
    assert member.state is MemberState.INACTIVE
    d.reload([a_set(at(1))], 50.0)
    assert member.due is not None
    assert 50.0 < member.due < 56.0


def test_a_member_enabled_by_a_reload_is_probed() -> None:
    d = dispatcher(a_set(at(1, disabled=True)))
    assert d.health_monitor.deadline() is None
    d.reload([a_set(at(1))], 10.0)
    assert d.health_monitor.deadline() is not None
    d.reload([a_set(at(1, disabled=True))], 11.0)
    assert d.health_monitor.expire(20.0) == []


def test_an_inactive_member_added_again_is_tried_again() -> None:
    settings = a_set(at(1), health=HealthSettings(interval=0, retry=30))
    d = dispatcher(settings)
    member = take(d).member
    take_down(d, member)
    d.reload([], 1.0)
    d.reload([settings], 2.0)
    assert list(d.members()) == [member]
    d.health_monitor.expire(40.0)
    assert member.health.state is MemberState.TRYING


def test_a_set_without_a_member_that_is_up_is_not_usable() -> None:
    d = dispatcher(a_set(at(1)))
    assert d.usable("pbx")
    take_down(d, *d.members())
    assert not d.usable("pbx")


def test_one_address_over_two_transports_is_two_members_by_name() -> None:
    """By the name they share the keys of a hash, and an operator and metrics tell them apart."""
    named = MemberSettings("sip:pbx.example.com")
    d = dispatcher(SetSettings(set="pbx", members=(named,), algorithm="hash", hash_bound=0))
    where = Source("10.0.0.1", 5060)
    d.resolved(named.server_uri, [ResolvedAddress(where, Transport.UDP), ResolvedAddress(where, Transport.TCP)], 0.0)
    chosen = Counter(take(d, selection=SelectionRequest(str(n).encode())).member.name for n in range(200))
    assert len(chosen) == 2
