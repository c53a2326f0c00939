"""Proof before punishment: who can be banned, how widely, how long, and by whom."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.reasons import Reason
from edgesbc.screen.penalties import Penalties
from edgesbc.screen.standing import Standing, Standings, Trunk

UNPROVEN, REACHABLE, REGISTERED, TRUNK = Standing


def test_an_unproven_ban_is_its_address_over_udp_for_a_minute_at_most(flow) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    ban = penalties.ban(flow(), UNPROVEN, Reason.PIKE, 600.0, 10.0)
    assert ban is not None
    assert (ban.until, ban.address_wide) == (10.0 + limits.UNPROVEN_BAN_SECONDS, True)
    assert penalties.holds(flow(port=1), UNPROVEN, 11.0)
    assert not penalties.holds(flow(host="192.0.2.2"), UNPROVEN, 11.0)
    assert not penalties.holds(flow(), UNPROVEN, 70.0)


@pytest.mark.parametrize("standing", [REACHABLE, REGISTERED, TRUNK])
def test_what_an_address_did_unproven_harms_nobody_proven(flow, standing: Standing) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 10.0)
    assert not penalties.holds(flow(), standing, 11.0)
    assert not penalties.holds(flow("tls"), max(standing, REACHABLE), 11.0)


@pytest.mark.parametrize(
    ("listener", "standing"), [("udp", REACHABLE), ("udp", REGISTERED), ("tls", REGISTERED), ("tls", TRUNK)]
)
def test_who_is_never_banned(flow, listener: str, standing: Standing) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    assert penalties.ban(flow(listener), standing, Reason.PIKE, 60.0, 10.0) is None
    assert len(penalties) == 0
    assert penalties.take() == []


def test_a_stream_is_banned_alone_and_as_long_as_asked(flow) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 120.0, 10.0)
    assert penalties.holds(flow("tls"), REACHABLE, 129.0)
    assert not penalties.holds(flow("tls", port=5061, serial=2), REACHABLE, 11.0)
    assert not penalties.holds(flow("udp"), UNPROVEN, 11.0)
    assert not penalties.holds(flow("tls"), REGISTERED, 11.0)
    assert penalties.take() == []


def test_a_ban_is_renewed_while_the_flood_goes_on(flow) -> None:
    penalties = Penalties(Standings(), 16, density=4, window=2.0)
    ban = penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    assert ban is not None
    for n in range(130):  # more than two a second on average
        assert penalties.holds(flow(), UNPROVEN, n * 0.46)
    assert penalties.holds(flow(), UNPROVEN, 61.0)
    assert ban.until == 121.0
    assert ban.hits == 131
    assert penalties.holds(flow(), UNPROVEN, 119.0)
    assert not penalties.holds(flow(), UNPROVEN, 121.0)
    assert len(penalties) == 0


def test_a_flood_that_ended_renews_nothing(flow) -> None:
    penalties = Penalties(Standings(), 16, density=1, window=10.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    for _ in range(100):
        penalties.holds(flow(), UNPROVEN, 40.0)
    assert not penalties.holds(flow(), UNPROVEN, 60.0)


def test_udp_bans_are_told_for_the_kernel_unless_somebody_proven_is_there(flow) -> None:
    standings = Standings((Trunk("t", ("203.0.113.7:5060",)),))
    penalties = Penalties(standings, 16, 30, 2.0)
    standings.prove(flow(host="192.0.2.9"), Standing.REACHABLE, 0.0)
    for host in ("192.0.2.1", "192.0.2.9", "203.0.113.7"):
        assert penalties.ban(flow(host=host, port=99), UNPROVEN, Reason.PIKE, 30.0, 0.0) is not None
    assert [(listener.name, source, ttl) for listener, source, ttl in penalties.take()] == [
        ("carriers", ("192.0.2.1", 0), 30.0)
    ]
    assert penalties.take() == []


def test_what_waits_for_the_kernel_is_bounded(flow) -> None:
    penalties = Penalties(Standings(), 2 * limits.PENALTIES_WAITING, 30, 2.0)
    for n in range(limits.PENALTIES_WAITING + 1):
        penalties.ban(flow(host=f"192.0.{n >> 8}.{n & 255}"), UNPROVEN, Reason.PIKE, 30.0, 0.0)
    assert len(penalties.take()) == limits.PENALTIES_WAITING


def test_the_table_is_bounded_and_forged_sources_push_out_no_proven_ban(flow) -> None:
    penalties = Penalties(Standings(), 10, 30, 2.0)
    penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 1000.0, 0.0)
    refused = [
        penalties.ban(flow(host=f"192.0.{n >> 8}.{n & 255}"), UNPROVEN, Reason.PIKE, 60.0, 1.0) for n in range(300)
    ]
    assert len(penalties) == 10
    assert refused.count(None) == 291
    assert penalties.holds(flow("tls"), REACHABLE, 2.0)
    assert penalties.ban(flow("tls", port=7, serial=7), REACHABLE, Reason.PIKE, 100.0, 2.0) is not None
    assert len(penalties) == 10
    assert not penalties.holds(flow(host="192.0.0.0"), UNPROVEN, 2.0)
    assert penalties.holds(flow(host="192.0.0.1"), UNPROVEN, 2.0)
    assert penalties.ban(flow(host="198.51.100.1"), UNPROVEN, Reason.PIKE, 60.0, 61.0) is not None
    assert len(penalties) == 10


def test_no_share_no_bans(flow) -> None:
    penalties = Penalties(Standings(), 0, 30, 2.0)
    assert penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0) is None


def test_lift(flow) -> None:
    penalties = Penalties(Standings(), 10, 30, 2.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    assert [ban.source.host for ban in penalties] == ["192.0.2.1"]
    assert penalties.lift(flow(port=9))
    assert not penalties.lift(flow())
    assert not penalties.holds(flow(), UNPROVEN, 1.0)
