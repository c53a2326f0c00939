"""Connections are counted, and what strangers take is not the trusted peers'."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.transport.connection_limits import ConnectionLimits


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 10)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 4)


def fill(places: ConnectionLimits, trusted: bool) -> list[str]:
    taken = []
    for number in range(100):
        host = f"192.0.2.{number // 2}" if not trusted else f"198.51.100.{number // 2}"
        if places.free(host, trusted):
            places.take(host, trusted)
            taken.append(host)
    return taken


def test_strangers_leave_a_share() -> None:
    places = ConnectionLimits()
    assert len(fill(places, False)) == 7
    assert len(fill(places, True)) == 3
    assert places.inside == 10


def test_trusted_peers_may_take_all() -> None:
    places = ConnectionLimits()
    assert len(fill(places, True)) == 10
    assert fill(places, False) == []


def test_what_was_left_is_free_again_and_nothing_is_kept() -> None:
    places = ConnectionLimits()
    for _ in range(3):
        for trusted in (False, True):
            taken = fill(places, trusted)
            assert taken
            for host in taken:
                places.leave(host, trusted)
    assert places.inside == 0
    assert places._by_address == {}


@pytest.mark.parametrize("trusted", [False, True])
def test_one_address_has_its_own_bound(trusted: bool) -> None:
    places = ConnectionLimits()
    for _ in range(4):
        places.take("192.0.2.1", trusted)
    assert not places.free("192.0.2.1", trusted)
    assert places.free("192.0.2.1", not trusted)
    assert places.free("192.0.2.2", trusted)


def test_a_64_of_ipv6_is_one_address() -> None:
    places = ConnectionLimits()
    hosts = [f"2001:db8::{number:x}" for number in range(1, 6)]
    assert [places.free(host, False) and places.take(host, False) is None for host in hosts] == [True] * 4 + [False]
    assert places.free("2001:db8:0:1::1", False)
    places.leave(hosts[0], False)
    assert places.free(hosts[4], False)
