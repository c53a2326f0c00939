"""The time for which calls leave an address alone after connections to it have failed."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.dispatch.connection_backoff import ConnectionBackoff, ConnectionBackoffs, ConnectionKey
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import NO_REQUIREMENTS
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.sip.server_uri import ResolvedAddress

KEY: ConnectionKey = (Source("10.0.0.11", 5061), Transport.TLS, "pbx.example.com")


class Attempts:
    """One address, and what becomes of the connections to it."""

    def __init__(self, random: float = 0.5) -> None:
        self.decisions: list[Decision] = []
        self.backoffs = ConnectionBackoffs(lambda: random, self.decisions.append)
        self.backoffs.replace([KEY])
        self.state: ConnectionBackoff = self.backoffs.of(KEY)

    def fail(self, now: float) -> float:
        """Try in vain; for how long calls leave the address alone then."""
        self.backoffs.began(*KEY)
        self.backoffs.failed(*KEY, now)
        return self.state.until - now


def test_the_time_doubles_up_to_a_bound_and_a_connection_ends_it() -> None:
    attempts = Attempts()
    waits = [attempts.fail(100.0) for _ in range(9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert waits[-1] == limits.CONNECT_BACKOFF_MOST
    assert attempts.state.avoided(129.0)
    assert not attempts.state.avoided(130.0)
    attempts.backoffs.began(*KEY)
    attempts.backoffs.opened(*KEY, 131.0)
    assert not attempts.state.avoided(131.0)
    assert attempts.fail(200.0) == 0.5


@pytest.mark.parametrize(("random", "wait"), [(0.0, 0.375), (0.999, 0.6245)])
def test_the_time_has_jitter_so_that_edges_do_not_connect_in_step(random: float, wait: float) -> None:
    assert Attempts(random).fail(100.0) == pytest.approx(wait, abs=0.001)


def test_when_the_time_is_over_one_connection_is_tried_at_a_time() -> None:
    """The call that comes first may wait for nothing; all others of that time use another member."""
    attempts = Attempts()
    attempts.backoffs.began(*KEY)
    assert not attempts.state.avoided(100.0), "nothing is known of a first connection"
    attempts.backoffs.failed(*KEY, 100.0)
    assert not attempts.state.avoided(101.0)
    attempts.backoffs.began(*KEY)
    assert attempts.state.avoided(101.0)
    attempts.backoffs.failed(*KEY, 106.0)
    assert attempts.state.avoided(106.9)
    assert not attempts.state.avoided(107.0)


def test_a_connection_that_this_machine_could_not_try_says_nothing() -> None:
    attempts = Attempts()
    attempts.backoffs.began(*KEY)
    attempts.backoffs.not_tried(*KEY)
    assert not attempts.state.avoided(100.0)
    attempts.fail(100.0)
    attempts.backoffs.began(*KEY)
    attempts.backoffs.not_tried(*KEY)
    assert (attempts.state.failures, attempts.state.trying) == (1, 0)


def test_the_first_failure_and_the_connection_that_ends_it_are_recorded() -> None:
    attempts = Attempts()
    for now in (100.0, 101.0, 103.0):
        attempts.fail(now)
    attempts.backoffs.opened(*KEY, 110.0)
    attempts.backoffs.opened(*KEY, 120.0)
    assert [(decision.source, decision.reason.code, decision.detail) for decision in attempts.decisions] == [
        ("10.0.0.11:5061", "health", "no connection over tls: calls use other members until one is open"),
        ("10.0.0.11:5061", "health", "a connection over tls is open after 3 that failed"),
    ]


def test_only_the_addresses_of_members_are_kept() -> None:
    """A trunk, too, is connected to, and chooses the ports that it names."""
    attempts = Attempts()
    attempts.fail(100.0)
    for port in range(1, 1000):
        other: ConnectionKey = (Source("198.51.100.7", port), Transport.TCP, "")
        attempts.backoffs.began(*other)
        attempts.backoffs.failed(*other, 100.0)
        attempts.backoffs.opened(*other, 100.0)
    assert len(attempts.backoffs) == 1
    attempts.backoffs.replace([KEY])
    assert attempts.backoffs.of(KEY) is attempts.state, "a reload forgets nothing"
    attempts.backoffs.replace([])
    assert len(attempts.backoffs) == 0


# --- members ---------------------------------------------------------------------------------------------


def dispatcher(*uris: str) -> Dispatcher:
    members = tuple(MemberSettings(uri, priority=number) for number, uri in enumerate(uris))
    health = HealthSettings(interval=0)
    return Dispatcher([SetSettings("a", members=members, health=health, algorithm="priority")], lambda: 0.5, 0.0)


def fail(member: Member, destinations: Dispatcher, now: float) -> None:
    assert member.connection is not None
    destinations.backoffs.began(*member.connection)
    destinations.backoffs.failed(*member.connection, now)


def test_calls_use_another_member_and_this_one_only_where_there_is_no_other() -> None:
    destinations = dispatcher("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12")
    first, second = destinations.members()
    assert second.backoff is None, "over UDP nothing is connected"
    fail(first, destinations, 10.0)
    lease = destinations.acquire("a", 10.1)
    assert lease is not None
    assert lease.member is second
    lease = destinations.acquire("a", 10.1, [second])
    assert lease is not None
    assert lease.member is first
    lease = destinations.acquire("a", 10.6)
    assert lease is not None
    assert lease.member is first


def test_members_of_one_address_share_its_state_and_a_reload_keeps_it() -> None:
    destinations = dispatcher("sip:10.0.0.11;transport=tcp")
    (member,) = destinations.members()
    fail(member, destinations, 10.0)
    other = SetSettings("b", members=(MemberSettings("sip:x@10.0.0.11:5060;transport=tcp"),))
    destinations.reload([SetSettings("a", members=(member.settings,)), other], 11.0)
    one, two = destinations.members()
    assert one.backoff is two.backoff
    assert one.backoff is not None
    assert one.backoff.failures == 1


# --- other addresses of a host ---------------------------------------------------------------------------

HOSTS = [
    ("2001:db8::1", 0, "a.example.com"), ("2001:db8::2", 0, "a.example.com"), ("192.0.2.1", 0, "a.example.com"),
    ("192.0.2.2", 0, "b.example.com"), ("192.0.2.3", 1, "a.example.com"),
]  # fmt: skip


def named(**settings: int) -> tuple[Dispatcher, list[Member]]:
    destinations = dispatcher()
    uri = MemberSettings("sip:example.com;transport=tcp", **settings)
    destinations.reload([SetSettings("a", members=(uri, MemberSettings("sip:192.0.2.9;transport=tcp")))], 0.0)
    addresses = [
        ResolvedAddress(Source(host, 5060), Transport.TCP, priority, 1, name) for host, priority, name in HOSTS
    ]
    destinations.resolved(uri.server_uri, addresses, 0.0)
    return destinations, list(destinations.members())


def test_the_alternative_is_of_the_same_host_and_priority_and_first_of_the_other_family() -> None:
    destinations, members = named()
    hosts = []
    tried = [members[0]]
    while lease := destinations.acquire_alternative(members[0], 0.0, tried, NO_REQUIREMENTS):
        tried.append(lease.member)
        hosts.append(lease.member.target.host)
    assert hosts == ["192.0.2.1", "2001:db8::2"]
    for alone in (members[3], members[5]):
        assert destinations.acquire_alternative(alone, 0.0, [alone], NO_REQUIREMENTS) is None


def test_an_alternative_is_able_to_take_the_call() -> None:
    destinations, members = named(max_calls=1)
    first, third, fourth = members[0], members[1], members[2]
    fail(third, destinations, 0.0)
    lease = destinations.acquire_alternative(first, 0.1, [first], NO_REQUIREMENTS)
    assert lease is not None
    assert lease.member is fourth
    assert destinations.acquire_alternative(first, 0.1, [first], NO_REQUIREMENTS) is None, "full, or not connected"


def test_a_withdrawn_lease_was_no_call() -> None:
    destinations, members = named(max_cps=1)
    for _ in range(3):
        lease = destinations.acquire_alternative(members[0], 0.0, [members[0], members[1]], NO_REQUIREMENTS)
        assert lease is not None
        lease.withdraw()
        lease.withdraw()
    assert destinations.leases == 0
    assert destinations.acquire_alternative(members[0], 0.0, [members[0], members[1]], NO_REQUIREMENTS) is not None
