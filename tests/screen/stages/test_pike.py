"""Stage pike: the key by which each source is counted. The tracker and the bans have their own tests."""

from __future__ import annotations

import attrs
import pytest

from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.pike import Pike, PikeSettings
from edgesbc.screen.standing import Standing, Standings

SETTINGS = PikeSettings(sampling_time_unit=2.0, reqs_density_per_unit=3, remove_latency=120.0)


def test_an_unproven_source_alone_at_its_address_is_banned_when_it_trips(subject) -> None:
    pike = Pike(SETTINGS, Standings())
    verdicts = [pike.judge(subject(), Phase.PACKET, 1.0) for _ in range(5)]
    assert verdicts[:3] == [PASS] * 3
    first, second = verdicts[3:]
    assert isinstance(first, Drop)
    assert isinstance(second, Drop)
    assert (first.reason, first.limit, first.value, first.ban, first.wide, first.quiet) == (
        Reason.PIKE, 3, 4, 120.0, False, False,
    )  # fmt: skip
    assert (second.quiet, second.ban) == (True, 0.0)


def test_unproven_sources_of_one_address_are_held_to_its_density_and_banned_when_they_flood(flow, subject) -> None:
    pike = Pike(attrs.evolve(SETTINGS, flood_factor=2), Standings())
    verdicts = [pike.judge(subject(of=flow(port=n)), Phase.PACKET, 1.0) for n in range(1, 12)]
    assert verdicts[:3] == [PASS] * 3
    drops = [verdict for verdict in verdicts[3:] if isinstance(verdict, Drop)]
    assert len(drops) == 8
    assert [drop.ban for drop in drops] == [0.0] * 5 + [120.0] + [0.0] * 2
    assert [drop.quiet for drop in drops] == [False] + [True] * 4 + [False] + [True] * 2
    assert drops[5].wide
    assert (drops[5].limit, drops[5].value) == (6, 6)


def test_a_source_that_was_alone_for_a_window_counts_as_alone(flow, subject) -> None:
    pike = Pike(SETTINGS, Standings())
    pike.judge(subject(of=flow(port=7)), Phase.PACKET, 1.0)
    for now in (2.0, 2.5, 2.9):
        assert pike.judge(subject(of=flow(port=8)), Phase.PACKET, now) is PASS if now < 2.9 else True
    shared = pike.judge(subject(of=flow(port=8)), Phase.PACKET, 2.95)
    assert isinstance(shared, Drop)
    assert shared.ban == 0.0
    for now in (10.0, 10.1, 10.2):
        assert pike.judge(subject(of=flow(port=8)), Phase.PACKET, now) is PASS
    lone = pike.judge(subject(of=flow(port=8)), Phase.PACKET, 10.3)
    assert isinstance(lone, Drop)
    assert lone.ban == 120.0


@pytest.mark.parametrize(
    ("hosts", "most", "name"),
    [
        ([f"192.0.2.{n}" for n in range(256)], 6, "its /24"),
        ([f"2001:db8:1:2::{n:x}" for n in range(1, 256)], 6, "its /64"),
        ([f"2001:db8:1:{n:x}::1" for n in range(256)], 24, "its /48"),
    ],
)
def test_a_prefix_trips_without_a_ban(flow, subject, hosts, most: int, name: str) -> None:
    pike = Pike(attrs.evolve(SETTINGS, prefix_factor=2), Standings())
    verdicts = [pike.judge(subject(of=flow(host=host)), Phase.PACKET, 1.0) for host in hosts]
    assert verdicts[:most] == [PASS] * most
    drops = [verdict for verdict in verdicts[most:] if isinstance(verdict, Drop)]
    assert len(drops) == len(hosts) - most
    assert (drops[0].limit, drops[0].value, drops[0].detail) == (most, most + 1, name)
    assert not any(drop.ban for drop in drops)
    assert [drop.quiet for drop in drops] == [False] + [True] * (len(drops) - 1)
    other = flow(host="198.51.100.1" if "." in hosts[0] else "2001:db8:ffff::1")
    assert pike.judge(subject(of=other), Phase.PACKET, 1.0) is PASS
    proven = subject(of=flow(host=hosts[0]), standing=Standing.REACHABLE)
    assert pike.judge(proven, Phase.PACKET, 1.0) is PASS


def test_all_unproven_sources_together_are_bounded_and_proven_flows_are_not(flow, subject) -> None:
    pike = Pike(PikeSettings(strangers_per_second=50), Standings())
    hosts = [f"198.{n >> 8}.{n & 255}.1" for n in range(200)]
    verdicts = [pike.judge(subject(of=flow(host=host)), Phase.PACKET, 10.0) for host in hosts]
    assert verdicts[:50] == [PASS] * 50
    drops = [verdict for verdict in verdicts[50:] if isinstance(verdict, Drop)]
    assert len(drops) == 150
    assert (drops[0].limit, drops[0].quiet, drops[0].ban) == (50, False, 0.0)
    assert all(drop.quiet and not drop.ban for drop in drops[1:])
    for standing in (Standing.REACHABLE, Standing.REGISTERED, Standing.TRUNK):
        assert pike.judge(subject(of=flow(host="203.0.113.1"), standing=standing), Phase.PACKET, 10.0) is PASS
    assert pike.judge(subject(of=flow(host="203.0.113.2")), Phase.PACKET, 10.02) is PASS
    assert isinstance(pike.judge(subject(of=flow(host="203.0.113.3")), Phase.PACKET, 10.02), Drop)


def test_the_busiest_sources_with_those_that_tripped_first(flow, subject) -> None:
    pike = Pike(SETTINGS, Standings())
    for host, count in (("192.0.2.1", 1), ("192.0.2.2", 9), ("192.0.2.3", 2)):
        for _ in range(count):
            pike.judge(subject(of=flow(host=host)), Phase.PACKET, 1.0)
    for _ in range(2):
        pike.judge(subject(of=flow(port=7), standing=Standing.REACHABLE), Phase.PACKET, 1.0)
    assert pike.busiest(1.5, 3) == [("192.0.2.2", 3, True), ("192.0.2.3", 2, False), ("192.0.2.1:7", 2, False)]
    assert pike.busiest(9.0, 3) == []


def test_proven_flows_are_counted_one_by_one(flow, subject) -> None:
    pike = Pike(SETTINGS, Standings())
    for port in range(1, 6):
        for _ in range(3):
            assert pike.judge(subject(of=flow(port=port), standing=Standing.REACHABLE), Phase.PACKET, 1.0) is PASS
    verdict = pike.judge(subject(of=flow(port=1), standing=Standing.REGISTERED), Phase.PACKET, 1.0)
    assert isinstance(verdict, Drop)


def test_trunks_are_not_counted(subject) -> None:
    pike = Pike(SETTINGS, Standings())
    assert all(pike.judge(subject(standing=Standing.TRUNK), Phase.PACKET, 1.0) is PASS for _ in range(1000))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::{:x}"])
def test_new_connections_of_an_address_or_64_are_held_to_the_density_without_a_ban(flow, subject, host) -> None:
    """Each connection is a new flow with an empty window, and other clients may share the address."""
    pike = Pike(SETTINGS, Standings())
    arrivals = [subject(of=flow(host=host.format(n), port=n), standing=Standing.REACHABLE) for n in range(1, 6)]
    verdicts = [pike.judge(arrival, Phase.ACCEPT, 1.0) for arrival in arrivals]
    assert verdicts[:3] == [PASS] * 3
    for verdict in verdicts[3:]:
        assert isinstance(verdict, Drop)
        assert (verdict.reason, verdict.ban) == (Reason.PIKE, 0.0)
    assert pike.judge(subject(of=flow(port=9), standing=Standing.REACHABLE), Phase.ACCEPT, 3.5) is PASS
    trunk = subject(standing=Standing.TRUNK)
    assert all(pike.judge(trunk, Phase.ACCEPT, 1.0) is PASS for _ in range(100))
