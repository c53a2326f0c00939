"""A lease is counted once and given back once."""

from edgesbc.dispatch.leases import Lease, Leases
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.sets import HealthSettings, MemberSettings


def test_release_is_idempotent() -> None:
    member, leases = Member("set", MemberSettings(uri="sip:10.0.0.1"), HealthSettings()), Leases()
    first, second = Lease(member, leases, 5.0), Lease(member, leases, 6.0)
    assert (member.load, leases.live, first.live, first.since) == (2, 2, True, 5.0)
    first.release()
    first.release()
    assert (member.load, leases.live, first.live, second.live) == (1, 1, False, True)
    second.release()
    assert (member.load, leases.live) == (0, 0)
