"""Which UDP flows have to be stored again."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.screen.changed_flows import ChangedFlows
from edgesbc.screen.standing import Standing, Standings

UDP = Listener(0, "public", Zone.PUBLIC, Transport.UDP, "127.0.0.1", 5060)
TLS = Listener(1, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061)


def flow(number: int = 1) -> Flow:
    return Flow(UDP, Source("192.0.2.1", number))


def changed(standings: Standings) -> list[int]:
    return [key[2] for key in standings.changed.take(100)]


def test_proofs_and_their_ends_are_changes() -> None:
    standings = Standings()
    standings.prove(flow(1), Standing.REGISTERED, 0.0, 600.0, account=1)
    standings.prove(flow(1), Standing.REGISTERED, 0.0, 600.0, account=2)
    standings.prove(flow(2), Standing.REACHABLE, 0.0)
    assert changed(standings) == [1, 2]
    standings.deregister(flow(1), 1, 1.0)
    assert changed(standings) == [1]
    assert standings.proofs(flow(1).key) == (None, ((2, 600.0, True),))
    standings.deregister(flow(1), 2, 1.0)
    standings.withdraw(flow(2))
    assert changed(standings) == [1, 2]
    assert standings.proofs(flow(1).key) == standings.proofs(flow(2).key) == (None, ())
    assert changed(standings) == []


def test_each_registration_is_stored_and_a_proof_of_reachability_once_a_minute() -> None:
    standings = Standings()
    for now in range(10):
        standings.prove(flow(1), Standing.REACHABLE, float(now))
    assert changed(standings) == [1]
    standings.prove(flow(1), Standing.REACHABLE, limits.REACHABLE_STORED_SECONDS + 10)
    assert changed(standings) == [1]
    standings.prove(flow(1), Standing.REGISTERED, 100.0, 60.0, account=1)
    assert changed(standings) == [1]
    standings.prove(flow(1), Standing.REGISTERED, 101.0, 60.0, account=1)
    assert changed(standings) == [1]


def test_the_flows_that_an_account_loses_are_changes() -> None:
    """The bound is the real one: in machine code a test cannot change it."""
    most = limits.FLOWS_OF_ACCOUNT
    standings = Standings()
    for number in range(1, most + 2):
        standings.prove(flow(number), Standing.REGISTERED, float(number), 600.0, account=1)
        assert changed(standings)[0] == number
    assert standings.proven_flows() == [flow(number).key for number in range(2, most + 2)]


def test_connections_are_left_out() -> None:
    standings = Standings()
    connection = Flow(TLS, Source("192.0.2.1", 4000), 1)
    standings.prove(connection, Standing.REGISTERED, 0.0, 600.0, account=1)
    standings.withdraw(connection)
    assert len(standings.changed) == 0
    assert standings.proven_flows() == []


def test_beyond_the_bound_all_flows_are_to_be_stored() -> None:
    flows = ChangedFlows()
    for number in range(limits.CHANGED_FLOWS):
        flows.note((0, "192.0.2.1", number, 0))
    assert (len(flows), flows.all_changed) == (limits.CHANGED_FLOWS, False)
    flows.note((0, "192.0.2.1", -1, 0))
    assert (len(flows), flows.all_changed) == (1, True)
    flows.take_all()
    assert (len(flows), flows.all_changed) == (0, False)


def test_a_new_policy_goes_on_with_the_changes() -> None:
    before, after = Standings(), Standings()
    before.prove(flow(1), Standing.REACHABLE, 0.0)
    after.take_over(before)
    assert changed(after) == [1]
