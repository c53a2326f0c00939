"""Standings: what proves them, for how long, and which entries a full table drops."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.validation import listed_address
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.trunk import Trunk

CARRIER = Trunk(
    "carrier", addresses=("198.51.100.0/28", "203.0.113.77:5060", "2001:db8:7::/48"), tls_names=("sip.carrier.example",)
)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("198.51.100.15", 1024, "carrier"),
        ("198.51.100.16", 1024, None),
        ("203.0.113.77", 5060, "carrier"),
        ("203.0.113.77", 5061, None),
        ("2001:db8:7:1::9", 5060, "carrier"),
        ("2001:db8:8::9", 5060, None),
        ("fe80::1%eth0", 5060, None),
        ("", 0, None),
    ],
)
def test_trunks_by_address(flow, host: str, port: int, expected: str | None) -> None:
    standings = Standings((CARRIER,))
    for _ in range(2):  # the second answer comes from the cache
        assert standings.trunk(flow("udp", host, port)) == expected
    assert standings.of(flow("udp", host, port), 1.0) is (Standing.TRUNK if expected else Standing.UNPROVEN)


def test_the_longest_prefix_wins(flow) -> None:
    standings = Standings(
        (Trunk("wide", ("10.0.0.0/8",)), Trunk("narrow", ("10.1.0.0/16",)), Trunk("one", ("10.1.2.3",)))
    )
    assert standings.trunk(flow("udp", "10.9.0.1")) == "wide"
    assert standings.trunk(flow("udp", "10.1.0.1")) == "narrow"
    assert standings.trunk(flow("udp", "10.1.2.3")) == "one"


def test_trunk_by_name_of_the_certificate(flow) -> None:
    standings = Standings((CARRIER,))
    assert standings.trunk(flow("tls", names=("x.example", "SIP.Carrier.example"))) == "carrier"
    assert standings.trunk(flow("tls", names=("carrier.example",))) is None


def test_the_private_side_is_trusted_and_is_no_trunk(flow) -> None:
    standings = Standings((Trunk("all", ("0.0.0.0/0",)),))
    assert standings.of(flow("core"), 1.0) is Standing.TRUNK
    assert standings.trunk(flow("core")) is None
    assert not standings.prove(flow("core"), Standing.REGISTERED, 1.0)


def test_streams_are_reachable_and_datagrams_must_prove_it(flow) -> None:
    standings = Standings()
    assert standings.of(flow("tls"), 1.0) is Standing.REACHABLE
    assert standings.of(flow("udp"), 1.0) is Standing.UNPROVEN
    assert standings.prove(flow("udp"), Standing.REACHABLE, 1.0, ttl=10.0)
    assert standings.of(flow("udp"), 10.9) is Standing.REACHABLE
    assert standings.of(flow("udp"), 11.0) is Standing.UNPROVEN
    assert standings.of(flow("udp", port=5061), 2.0) is Standing.UNPROVEN


@pytest.mark.parametrize("listener", ["udp", "tls"])
def test_registered_until_the_proof_expires_or_is_withdrawn(flow, listener: str) -> None:
    standings = Standings()
    before = standings.of(flow(listener), 1.0)
    standings.prove(flow(listener), Standing.REGISTERED, 1.0, ttl=60.0)
    assert standings.of(flow(listener), 60.9) is Standing.REGISTERED
    assert standings.of(flow(listener), 61.0) is before
    standings.prove(flow(listener), Standing.REGISTERED, 61.0, ttl=60.0)
    standings.withdraw(flow(listener))
    assert standings.of(flow(listener), 62.0) is before


def test_nothing_proves_a_trunk(flow) -> None:
    with pytest.raises(ValueError, match="listed in the policy"):
        Standings().prove(flow(), Standing.TRUNK, 1.0)


def test_reachable_flows_are_bounded_and_displace_no_registered_one(flow) -> None:
    standings = Standings()
    standings.prove(flow(host="192.0.2.9"), Standing.REGISTERED, 1.0, ttl=3600.0)
    flows = [flow(port=port) for port in range(1, limits.REACHABLE_FLOWS + 151)]
    for reachable in flows:
        assert standings.prove(reachable, Standing.REACHABLE, 1.0)
    proven = [reachable for reachable in flows if standings.of(reachable, 2.0) is Standing.REACHABLE]
    assert proven == flows[150:]
    assert standings.of(flow(host="192.0.2.9"), 2.0) is Standing.REGISTERED


def test_registered_flows_of_as_many_accounts_are_bounded_and_displaced_by_no_other(flow) -> None:
    standings = Standings()
    first, another = (flow("tls", serial=n) for n in (1, limits.REGISTERED_FLOWS + 1))
    assert standings.prove(first, Standing.REGISTERED, 1.0, 10.0, 1)
    for n in range(2, limits.REGISTERED_FLOWS + 1):
        assert standings.prove(flow("tls", serial=n), Standing.REGISTERED, 1.0, 99.0, n)
    assert not standings.prove(another, Standing.REGISTERED, 2.0, 10.0, another.serial)
    assert standings.prove(first, Standing.REGISTERED, 3.0, 10.0, 1)
    assert standings.of(another, 4.0) is Standing.REACHABLE
    standings.withdraw(first)
    assert standings.prove(another, Standing.REGISTERED, 4.0, 10.0, another.serial)


@pytest.mark.parametrize("listener", ["udp", "tls"])
def test_a_full_table_takes_the_oldest_of_the_account_with_the_most(flow, listener: str) -> None:
    standings = Standings()

    def of(number: int):
        return flow(listener, port=1000 + number, serial=number if listener == "tls" else 0)

    accounts = [1, 2, 2, 3, 3, 3]
    others = range(11, limits.REGISTERED_FLOWS + 11 - len(accounts))
    for number in others:
        assert standings.prove(of(number), Standing.REGISTERED, 1.0, 60.0, number)
    for number, account in enumerate(accounts, 1):
        assert standings.prove(of(number), Standing.REGISTERED, 1.0, 60.0, account)
    lost = []
    for number in range(7, 11):
        version = standings.version
        proven = standings.prove(of(number), Standing.REGISTERED, 2.0, 60.0, account=number)
        assert proven is (number < 10), "then every account has one flow, and none is displaced"
        lost += [n for n in range(1, 7) if standings.of(of(n), 2.0) is not Standing.REGISTERED and n not in lost]
        assert (standings.version > version) is (listener == "udp" and proven)
    assert sorted(lost[:1]) == [4]
    assert sorted(lost) == [2, 4, 5]
    assert len(standings._registered) == limits.REGISTERED_FLOWS
    for number in (*range(1, 11), *others):
        standings.withdraw(of(number))
    assert len(standings._account_flows) == 0
    assert standings._account_flows._by_size == standings._accounts == {}


@pytest.mark.parametrize("family", ["192.0.2.{}", "2001:db8:0:{}::1"])
def test_the_addresses_of_an_account_are_bounded(flow, family: str) -> None:
    """The address that registered longest ago is dropped, with all of its flows."""
    standings = Standings()
    others = range(100, 100 + limits.ADDRESSES_OF_ACCOUNT - 3)
    for host in (1, 1, 2, 3, 2, *others, 4, 5):
        for port in (1,) if host in others else (1, 2):
            assert standings.prove(flow(host=family.format(host), port=port), Standing.REGISTERED, 1.0, 60.0, 9)
    registered = [
        (host, port)
        for host in range(1, 6)
        for port in (1, 2)
        if standings.of(flow(host=family.format(host), port=port), 2.0) is Standing.REGISTERED
    ]
    assert registered == [(2, 1), (2, 2), (4, 1), (4, 2), (5, 1), (5, 2)]


def test_a_flow_that_an_account_loses_keeps_its_other_account(flow) -> None:
    standings = Standings()
    standings.prove(flow(port=1), Standing.REGISTERED, 1.0, 60.0, account=1)
    standings.prove(flow(port=1), Standing.REGISTERED, 1.0, 30.0, account=2)
    for number in range(limits.FLOWS_OF_ACCOUNT):
        standings.prove(flow(port=1000 + number), Standing.REGISTERED, 1.0, 60.0, account=1)
    assert standings.of(flow(port=1), 30.9) is Standing.REGISTERED
    assert standings.of(flow(port=1), 31.0) is not Standing.REGISTERED
    for number in range(limits.FLOWS_OF_ACCOUNT):
        standings.prove(flow(port=2000 + number), Standing.REGISTERED, 2.0, 60.0, account=2)
    assert standings.of(flow(port=1), 2.0) is not Standing.REGISTERED


def test_a_proof_that_too_many_flows_have_used_is_worn(flow) -> None:
    standings = Standings()
    for number in range(limits.FLOWS_OF_PROOF):
        for _ in range(3):  # a phone that refreshes its registration with the nonce that it has
            assert standings.prove(flow(port=1 + number), Standing.REGISTERED, 1.0, 60.0, 1, proof=5)
    assert not standings.is_worn(5)
    assert not standings.prove(flow(port=99), Standing.REGISTERED, 1.0, 60.0, 1, proof=5)
    assert standings.is_worn(5)
    after = Standings()
    after.take_over(standings)
    assert after.is_worn(5)
    assert after.prove(flow(port=99), Standing.REGISTERED, 1.0, 60.0, 1, proof=6)
    for proof in range(7, 7 + limits.PROOFS):
        after.prove(flow(port=99), Standing.REGISTERED, 1.0, 60.0, 1, proof)
    assert not after.is_worn(5), "the one used longest ago is forgotten"


def test_cache_look_ups_are_bounded(flow) -> None:
    standings = Standings((Trunk("wide", ("198.51.100.0/24",)),))
    for n in range(limits.REMEMBERED_ADDRESSES + 10):
        assert standings.trunk(flow(host=f"192.0.{n >> 8}.{n & 255}")) is None
        assert 0 < len(standings._by_prefix._cache) <= limits.REMEMBERED_ADDRESSES


def test_addresses_with_a_trunk_or_a_proven_flow(flow) -> None:
    standings = Standings((CARRIER,))
    assert standings.known_at("203.0.113.77")
    assert not standings.known_at("192.0.2.1")
    standings.prove(flow(), Standing.REACHABLE, 1.0)
    standings.prove(flow(), Standing.REACHABLE, 2.0)
    standings.prove(flow(), Standing.REGISTERED, 2.0)
    assert standings.known_at("192.0.2.1")
    standings.withdraw(flow())
    standings.withdraw(flow())
    assert not standings.known_at("192.0.2.1")


@pytest.mark.parametrize("address", ["carrier.example", "198.51.100.0/33", "1.2.3.4:99999", "2001:db8::1:5060:x", ""])
def test_the_error_for_a_wrong_address_names_what_was_expected(address: str) -> None:
    with pytest.raises(ValueError, match=r"addresses: expected a prefix.*found"):
        Trunk("t", (address,))


@pytest.mark.parametrize("field", [{"max_calls": 0}, {"max_cps": -1.0}])
def test_bounds_of_a_trunk(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        Trunk("t", **field)


def test_too_many_addresses() -> None:
    with pytest.raises(ValueError, match="expected at most"):
        Trunk("t", tuple(f"10.0.{n >> 8}.{n & 255}" for n in range(limits.TRUNK_ADDRESSES + 1)))


def test_trusted_sources_are_listed_with_trunks_first(flow) -> None:
    standings = Standings((CARRIER,))
    listed = [listed_address(address) for address in CARRIER.addresses]
    udp = flow("udp").listener
    assert standings.trusted(udp, 1.0) == (listed, None)
    for n, ttl in ((1, 60.0), (2, 30.0)):
        standings.prove(flow("udp", f"192.0.2.{n}"), Standing.REGISTERED, 1.0, ttl)
    standings.prove(flow("udp", "192.0.2.3"), Standing.REACHABLE, 1.0)
    standings.prove(flow("tls", "192.0.2.4"), Standing.REGISTERED, 1.0, 9.0)
    users = [flow("udp", f"192.0.2.{n}").peer for n in (1, 2)]
    assert standings.trusted(udp, 1.0) == ([*listed, *users], 31.0)
    assert standings.trusted(udp, 31.0) == ([*listed, users[0]], 61.0)
    assert standings.trusted(flow("tls").listener, 1.0)[0] == listed


def test_the_version_grows_when_trusted_sources_change_and_not_at_each_message(flow) -> None:
    standings = Standings((CARRIER,))
    versions = [standings.version]

    def grew() -> bool:
        versions.append(standings.version)
        return versions[-1] > versions[-2]

    standings.prove(flow(), Standing.REACHABLE, 1.0)
    standings.prove(flow("tls"), Standing.REGISTERED, 1.0)
    assert not grew()
    standings.prove(flow(), Standing.REGISTERED, 1.0, 60.0)
    assert grew()
    standings.prove(flow(), Standing.REGISTERED, 50.0, 60.0)
    assert not grew()
    standings.prove(flow(), Standing.REGISTERED, 110.0, 60.0)
    assert grew(), "the entry had expired, and a filter program may have been built since"
    standings.withdraw(flow())
    assert grew()
    standings.withdraw(flow())
    standings.withdraw(flow("tls"))
    assert not grew()
    after = Standings(())
    after.take_over(standings)
    assert after.version > standings.version


def test_the_accounts_of_a_flow_are_bounded_and_end_with_it(flow) -> None:
    standings = Standings()
    for account in range(limits.ACCOUNTS_OF_FLOW + 5):
        standings.prove(flow(), Standing.REGISTERED, 0.0, 60.0, account)
    assert len(standings._accounts[flow().key]) == limits.ACCOUNTS_OF_FLOW
    version = standings.version
    standings.deregister(flow(), limits.ACCOUNTS_OF_FLOW + 4, 1.0)
    assert standings.of(flow(), 1.0) is Standing.REGISTERED
    assert standings.version > version, "the new version shows that the proof may end sooner"
    standings.withdraw(flow())
    assert standings._accounts == {}


def test_a_long_registration_does_not_keep_expired_ones_in_the_table(flow) -> None:
    standings = Standings()
    last = limits.REGISTERED_FLOWS + 1
    standings.prove(flow(port=1), Standing.REGISTERED, 0.0, 7200.0, 1)
    for port in range(2, last):
        standings.prove(flow(port=port), Standing.REGISTERED, 0.0, 60.0, port)
    assert not standings.prove(flow(port=last), Standing.REGISTERED, 59.0, 60.0, last)
    assert not standings.prove(flow(port=last), Standing.REGISTERED, 61.0, 60.0, last), "the table was swept before"
    assert standings.prove(flow(port=last), Standing.REGISTERED, 59.0 + limits.SWEEP_SECONDS, 60.0, last)
    assert standings.of(flow(port=1), 70.0) is Standing.REGISTERED
    assert len(standings._registered) == 2


def test_a_flow_registered_from_port_0_is_not_trusted(flow) -> None:
    standings = Standings()
    standings.prove(flow(port=0), Standing.REGISTERED, 0.0, 60.0)
    assert standings.of(flow(port=0), 1.0) is Standing.REGISTERED
    assert standings.trusted(flow().listener, 1.0) == ([], None)


def test_the_flows_of_an_account_are_bounded_and_the_oldest_is_dropped(flow) -> None:
    """An attacker may repeat accepted credentials in datagrams with forged sources, and open connections."""
    last = limits.FLOWS_OF_ACCOUNT + 7
    standings = Standings()
    other = flow(host="198.51.100.1")
    assert standings.prove(other, Standing.REGISTERED, 1.0, 60.0, account=7)
    for port in range(1, last + 1):
        assert standings.prove(flow(port=port), Standing.REGISTERED, 1.0, 60.0, account=5)
    registered = [port for port in range(1, last + 1) if standings.of(flow(port=port), 2.0) is Standing.REGISTERED]
    assert registered == list(range(8, last + 1))
    assert standings.of(other, 2.0) is Standing.REGISTERED
    assert standings.prove(
        flow(port=8), Standing.REGISTERED, 2.0, 60.0, account=5
    )  # registered again, so it is the newest now
    assert standings.prove(flow(port=last + 1), Standing.REGISTERED, 2.0, 60.0, account=5)
    assert standings.of(flow(port=8), 2.0) is Standing.REGISTERED
    assert standings.of(flow(port=9), 2.0) is not Standing.REGISTERED
    for serial in range(1, last + 1):
        assert standings.prove(flow("tls", serial=serial), Standing.REGISTERED, 2.0, 60.0, account=5)
    registered = [n for n in range(1, last + 1) if standings.of(flow("tls", serial=n), 2.0) is Standing.REGISTERED]
    assert registered == list(range(8, last + 1))


def test_an_account_without_flows_leaves_no_entry(flow) -> None:
    standings = Standings()
    for account in range(40):
        standings.prove(flow(port=1), Standing.REGISTERED, 1.0, 60.0, account)
        standings.prove(flow(port=2 + account), Standing.REGISTERED, 1.0, 5.0, account)
    assert len(standings._account_flows) == 40
    for account in range(40):
        standings.deregister(flow(port=2 + account), account, 2.0)
    assert len(standings._account_flows) == limits.ACCOUNTS_OF_FLOW
    standings.withdraw(flow(port=1))
    assert len(standings._account_flows) == 0


def test_a_trunk_may_be_limited_to_some_listeners(flow) -> None:
    standings = Standings([Trunk("carrier", ("198.51.100.7", "203.0.113.0/24"), ("sbc.example",), ("carriers",))])
    for host in ("198.51.100.7", "203.0.113.9"):
        assert standings.trunk(flow("udp", host)) == "carrier"
        assert standings.of(flow("udp", host), 1.0) is Standing.TRUNK
        assert standings.trunk(flow("tls", host)) is None
        assert standings.of(flow("tls", host), 1.0) is Standing.REACHABLE
    assert standings.trunk(flow("tls", "192.0.2.1", names=("sbc.example",))) is None
    assert len(standings.trusted(flow("udp").listener, 1.0)[0]) == 2
    assert standings.trusted(flow("tls").listener, 1.0) == ([], None)
