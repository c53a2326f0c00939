"""A lease is counted once and given back once."""

from collections import Counter
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.members import a_member

from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.leases import Lease, Leases
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings


def test_release_is_idempotent() -> None:
    member, leases = a_member(), Leases()
    first, second = Lease(member, leases, 5.0), Lease(member, leases, 6.0)
    assert (member.load, len(leases), first.live, first.since) == (2, 2, True, 5.0)
    first.release()
    first.release()
    assert (member.load, len(leases), first.live, second.live) == (1, 1, False, True)
    second.release()
    assert (member.load, len(leases)) == (0, 0)


def test_what_a_call_uses_is_given_back_with_it() -> None:
    member, leases = a_member(resources={"pstn": 2}), Leases()
    lease = Lease(member, leases, 5.0, SelectionRequest(needs=("pstn",)))
    assert (member.used, list(leases)) == ({"pstn": 1}, [lease])
    lease.release()
    lease.release()
    assert (member.used, list(leases)) == ({"pstn": 0}, [])


def test_a_request_that_is_no_call_does_not_count_as_a_call() -> None:
    """Otherwise a source that registers again and again would use up ``max_calls`` of a member."""
    member, leases = a_member(max_calls=1, max_cps=1), Leases()
    lease = Lease(member, leases, 5.0, SelectionRequest(call=False))
    assert (member.load, len(leases), lease.live, member.has_room(5.0)) == (0, 1, True, True)
    lease.release()
    lease.release()
    assert (member.load, len(leases), lease.live) == (0, 0, False)


def a_set(*members: MemberSettings) -> SetSettings:
    health = HealthSettings(interval=5.0, timeout=1.0, fall=2, rise=2, slow_start=0)
    return SetSettings(set="pbx", members=members, health=health)


def at(host: int, **fields: int) -> MemberSettings:
    return MemberSettings(uri=f"sip:10.0.0.{host}", **fields)  # type: ignore[arg-type]


class Leasing(RuleBasedStateMachine):
    """Whatever happens, in whatever order: load == live leases, and within the member's bound."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.leases: list[Lease] = []
        self.dispatcher = Dispatcher(
            [a_set(at(1, max_calls=3), at(2, weight=4), at(3, priority=1, max_calls=2))], Random(7).random, 0.0
        )

    @rule()
    def acquire(self) -> None:
        lease = self.dispatcher.acquire("pbx", self.now)
        if lease is not None:
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), times=st.integers(1, 3))
    def release(self, data: st.DataObject, times: int) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        for _ in range(times):
            lease.release()

    @rule(data=st.data(), good=st.booleans())
    def evidence(self, data: st.DataObject, good: bool) -> None:
        member = data.draw(st.sampled_from(list(self.dispatcher.members())))
        if good:
            self.dispatcher.health_monitor.succeeded(member, self.now)
        else:
            self.dispatcher.health_monitor.failed(member, self.now, "silence")

    @rule(data=st.data(), order=st.sampled_from(AdminState))
    def order(self, data: st.DataObject, order: AdminState) -> None:
        member = data.draw(st.sampled_from(list(self.dispatcher.members())))
        self.dispatcher.set_admin_state(member, order, self.now)

    @rule(hosts=st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
    def reload(self, hosts: list[int]) -> None:
        self.dispatcher.reload([a_set(*(at(host, max_calls=host) for host in hosts))], self.now)

    @rule(seconds=st.floats(0.01, 8))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.dispatcher.health_monitor.expire(self.now)

    @invariant()
    def load_is_live_leases(self) -> None:
        live = Counter(lease.member for lease in self.leases if lease.live)
        assert self.dispatcher.leases == live.total()
        for member in {*self.dispatcher.members(), *(lease.member for lease in self.leases)}:
            assert member.load == live[member] >= 0


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
