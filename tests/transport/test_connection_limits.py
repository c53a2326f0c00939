"""Connections are counted, and a part of them is reserved for trusted peers."""

from __future__ import annotations

import resource

import pytest

from edgesbc.base import limits
from edgesbc.transport.connection_limits import (
    ConnectionLimits,
    most_connections,
    most_media_sections,
    reserved_connections,
)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 10)  # of which the reserve below is a part
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 4)


def fill(connections: ConnectionLimits, trusted: bool) -> list[str]:
    taken = []
    for number in range(100):
        host = f"192.0.2.{number // 2}" if not trusted else f"198.51.100.{number // 2}"
        if connections.allows(host, trusted):
            connections.add(host, trusted)
            taken.append(host)
    return taken


def test_untrusted_peers_leave_connections_for_trusted_ones() -> None:
    connections = ConnectionLimits(10)
    assert len(fill(connections, False)) == 7
    assert len(fill(connections, True)) == 3
    assert connections.total == 10


def test_trusted_peers_may_take_all() -> None:
    connections = ConnectionLimits(10)
    assert len(fill(connections, True)) == 10
    assert fill(connections, False) == []


def test_ended_connections_leave_no_count() -> None:
    connections = ConnectionLimits(10)
    for _ in range(3):
        for trusted in (False, True):
            taken = fill(connections, trusted)
            assert taken
            for host in taken:
                connections.remove(host, trusted)
    assert connections.total == 0
    assert connections._by_address == {}


@pytest.mark.parametrize("trusted", [False, True])
def test_one_address_has_its_own_bound(trusted: bool) -> None:
    connections = ConnectionLimits(10)
    for _ in range(4):
        connections.add("192.0.2.1", trusted)
    assert not connections.allows("192.0.2.1", trusted)
    assert connections.allows("192.0.2.1", not trusted)
    assert connections.allows("192.0.2.2", trusted)


def test_peers_that_a_balancer_has_not_named_yet_count_in_total_only() -> None:
    connections = ConnectionLimits(10)
    for _ in range(7):
        assert connections.allows("", False)
        connections.add("", False)
    assert not connections.allows("", False)
    assert connections.allows("198.51.100.1", True)
    for _ in range(7):
        connections.remove("", False)
    assert (connections.total, connections._by_address) == (0, {})


def test_a_64_of_ipv6_is_one_address() -> None:
    connections = ConnectionLimits(10)
    hosts = [f"2001:db8::{number:x}" for number in range(1, 6)]
    assert [connections.allows(host, False) and connections.add(host, False) is None for host in hosts] == [
        True
    ] * 4 + [False]
    assert connections.allows("2001:db8:0:1::1", False)
    connections.remove(hosts[0], False)
    assert connections.allows(hosts[4], False)


@pytest.mark.parametrize(
    ("descriptors", "most", "reserved"),
    [(8, 4, 1), (19, 9, 2), (20, 10, 3), (1_000_000, 10, 3), (resource.RLIM_INFINITY, 10, 3)],
)
def test_few_descriptors_make_few_connections(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int, reserved: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (descriptors, resource.RLIM_INFINITY))
    assert most_connections(10) == most
    assert reserved_connections(most) == reserved
    connections = ConnectionLimits(10)
    assert len(fill(connections, False)) == most - reserved
    assert len(fill(connections, True)) == reserved
    assert not connections.allows("", False)


@pytest.mark.parametrize(
    ("descriptors", "sections"),
    [(1024, (1024 - 512 - limits.DESCRIPTORS_OWN) // 4), (50, 0), (resource.RLIM_INFINITY, None)],
)
def test_media_has_the_descriptors_that_connections_leave(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, sections: int | None
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (descriptors, descriptors))
    assert most_media_sections(8192) == sections
