"""A lease is counted once and given back once."""

from support.members import a_member

from edgesbc.dispatch.demand import Demand
from edgesbc.dispatch.leases import Lease, Leases


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
    lease = Lease(member, leases, 5.0, Demand(needs=("pstn",)))
    assert (member.used, list(leases)) == ({"pstn": 1}, [lease])
    lease.release()
    lease.release()
    assert (member.used, list(leases)) == ({"pstn": 0}, [])


def test_what_is_no_call_takes_up_no_place_of_one() -> None:
    """Or whoever registers again and again would use up the calls of a member."""
    member, leases = a_member(max_calls=1, max_cps=1), Leases()
    lease = Lease(member, leases, 5.0, Demand(call=False))
    assert (member.load, len(leases), lease.live, member.has_room(5.0)) == (0, 1, True, True)
    lease.release()
    lease.release()
    assert (member.load, len(leases), lease.live) == (0, 0, False)
