"""Proof before punishment: which sources can be banned, in what scope and for how long."""

from __future__ import annotations

import pytest
from support.parser_work import count_calls

from edgesbc.base import limits
from edgesbc.base.prefixes import enclosing_prefixes
from edgesbc.base.reasons import Reason
from edgesbc.screen.bans import Ban, BanScope
from edgesbc.screen.penalties import Penalties
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.trunk import Trunk

UNPROVEN, REACHABLE, REGISTERED, TRUNK = Standing


def test_a_ban_on_an_unproven_source_covers_its_flow_for_a_minute_at_most(flow) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    ban = penalties.ban(flow(), UNPROVEN, Reason.PIKE, 600.0, 10.0)
    assert ban is not None
    assert (ban.until, ban.scope, ban.target) == (10.0 + limits.UNPROVEN_BAN_SECONDS, BanScope.FLOW, "192.0.2.1:5060")
    assert penalties.blocks(flow(), UNPROVEN, 11.0)
    assert not penalties.blocks(flow(port=1), UNPROVEN, 11.0)
    assert not penalties.blocks(flow(), UNPROVEN, 70.0)


def test_a_wide_ban_on_an_unproven_source_covers_its_address(flow) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    ban = penalties.ban(flow(), UNPROVEN, Reason.PIKE, 600.0, 10.0, wide=True)
    assert ban is not None
    assert (ban.until, ban.scope, ban.target) == (10.0 + limits.UNPROVEN_BAN_SECONDS, BanScope.ADDRESS, "192.0.2.1")
    assert penalties.blocks(flow(port=1), UNPROVEN, 11.0)
    assert not penalties.blocks(flow(host="192.0.2.2"), UNPROVEN, 11.0)


@pytest.mark.parametrize("standing", [REACHABLE, REGISTERED, TRUNK])
def test_a_ban_on_unproven_datagrams_does_not_affect_proven_flows(flow, standing: Standing) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 10.0)
    assert not penalties.blocks(flow(), standing, 11.0)
    assert not penalties.blocks(flow("tls"), max(standing, REACHABLE), 11.0)


@pytest.mark.parametrize(
    ("listener", "standing"), [("udp", REACHABLE), ("udp", REGISTERED), ("tls", REGISTERED), ("tls", TRUNK)]
)
def test_sources_that_are_never_banned(flow, listener: str, standing: Standing) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    assert penalties.ban(flow(listener), standing, Reason.PIKE, 60.0, 10.0) is None
    assert len(penalties) == 0
    assert penalties.take_datagram_bans() == []


def test_a_stream_ban_covers_its_flow_for_the_requested_time(flow) -> None:
    penalties = Penalties(Standings(), 16, 30, 2.0)
    penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 120.0, 10.0)
    assert penalties.blocks(flow("tls"), REACHABLE, 129.0)
    assert not penalties.blocks(flow("tls", port=5061, serial=2), REACHABLE, 11.0)
    assert not penalties.blocks(flow("udp"), UNPROVEN, 11.0)
    assert not penalties.blocks(flow("tls"), REGISTERED, 11.0)
    assert penalties.take_datagram_bans() == []


def test_a_ban_is_renewed_while_the_flood_continues(flow) -> None:
    penalties = Penalties(Standings(), 16, density=4, window=2.0)
    ban = penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    assert ban is not None
    for n in range(130):  # more than two a second on average
        assert penalties.blocks(flow(), UNPROVEN, n * 0.46)
    assert penalties.blocks(flow(), UNPROVEN, 61.0)
    assert ban.until == 121.0
    assert ban.hits == 131
    assert penalties.blocks(flow(), UNPROVEN, 119.0)
    assert not penalties.blocks(flow(), UNPROVEN, 121.0)
    assert len(penalties) == 0


def test_a_ban_is_not_renewed_after_the_flood(flow) -> None:
    penalties = Penalties(Standings(), 16, density=1, window=10.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    for _ in range(100):
        penalties.blocks(flow(), UNPROVEN, 40.0)
    assert not penalties.blocks(flow(), UNPROVEN, 60.0)


def test_datagram_bans_for_the_kernel_leave_out_addresses_with_proven_flows(flow) -> None:
    standings = Standings((Trunk("t", ("203.0.113.7:5060",)),))
    penalties = Penalties(standings, 16, 30, 2.0)
    standings.prove(flow(host="192.0.2.9"), Standing.REACHABLE, 0.0)
    for host in ("192.0.2.1", "192.0.2.9", "203.0.113.7"):
        for port, wide in ((98, True), (99, False)):
            assert penalties.ban(flow(host=host, port=port), UNPROVEN, Reason.PIKE, 30.0, 0.0, wide) is not None
    assert penalties.has_changes
    assert [(listener.name, source, ttl) for listener, source, ttl in penalties.take_datagram_bans()] == [
        ("carriers", (host, port), 30.0)
        for host, port in [("192.0.2.1", 0), ("192.0.2.1", 99), ("192.0.2.9", 99), ("203.0.113.7", 99)]
    ]
    assert not penalties.has_changes


def test_changes_for_the_kernel_are_bounded(flow) -> None:
    penalties = Penalties(Standings(), 2 * limits.PENALTIES_WAITING, 30, 2.0)
    for n in range(limits.PENALTIES_WAITING + 1):
        penalties.ban(flow(host=f"192.0.{n >> 8}.{n & 255}"), UNPROVEN, Reason.PIKE, 30.0, 0.0)
    assert len(penalties.take_datagram_bans()) == limits.PENALTIES_WAITING


def test_the_table_is_bounded_and_forged_sources_displace_no_proven_ban(flow) -> None:
    penalties = Penalties(Standings(), 10, 30, 2.0)
    penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 1000.0, 0.0)
    refused = [
        penalties.ban(flow(host=f"192.0.{n >> 8}.{n & 255}"), UNPROVEN, Reason.PIKE, 60.0, 1.0) for n in range(300)
    ]
    assert len(penalties) == 10
    assert refused.count(None) == 291
    assert penalties.blocks(flow("tls"), REACHABLE, 2.0)
    assert penalties.ban(flow("tls", port=7, serial=7), REACHABLE, Reason.PIKE, 100.0, 2.0) is not None
    assert len(penalties) == 10
    assert not penalties.blocks(flow(host="192.0.0.0"), UNPROVEN, 2.0)
    assert penalties.blocks(flow(host="192.0.0.1"), UNPROVEN, 2.0)
    assert penalties.ban(flow(host="198.51.100.1"), UNPROVEN, Reason.PIKE, 60.0, 61.0) is not None
    assert len(penalties) == 3  # expired bans were removed


def test_a_ban_share_of_0_disables_bans(flow) -> None:
    penalties = Penalties(Standings(), 0, 30, 2.0)
    assert penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0) is None


def test_lifting_an_address_lifts_its_flows_and_forgets_what_it_did(flow) -> None:
    penalties = Penalties(Standings(), 10, 30, 2.0)
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 60.0, 0.0)
    penalties.ban(flow(host="192.0.2.11"), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    assert penalties.lift("192.0.2.1") == 2
    assert penalties.lift("192.0.2.1") == 0
    assert not penalties.blocks(flow(), UNPROVEN, 1.0)
    assert [ban.target for ban in penalties] == ["192.0.2.11:5060"]
    next_ban = penalties.ban(flow("tls"), REACHABLE, Reason.PIKE, 60.0, 1.0)
    assert next_ban is not None
    assert next_ban.offence == 1
    penalties.take_datagram_bans()
    assert penalties.lift("192.0.2.11:5060") == 1
    assert penalties.take_datagram_bans() == [(flow().listener, flow(host="192.0.2.11").peer, 0.0)], (
        "the kernel does not drop it any more"
    )
    assert penalties.lift("192.0.2.1") == 1
    assert penalties.take_datagram_bans() == []


def offend(penalties: Penalties, flow, host: str, times: int, now: float = 0.0) -> list[Ban]:
    """The bans after offences of ``times`` connections of ``host``, one after the other."""
    bans = []
    for n in range(times):
        ban = penalties.ban(flow("tls", host, 1000 + n, 1000 + n), REACHABLE, Reason.PIKE, 100.0, now)
        assert ban is not None
        bans.append(ban)
    return bans


def test_each_offence_doubles_and_the_third_is_the_address(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    bans = offend(penalties, flow, "192.0.2.1", 4)
    assert [ban.ttl for ban in bans] == [100.0, 200.0, 400.0, 800.0]
    assert [ban.scope for ban in bans] == [BanScope.FLOW, BanScope.FLOW, BanScope.ADDRESS, BanScope.ADDRESS]
    assert penalties.blocks(flow("tls", port=9, serial=9), REACHABLE, 1.0)
    assert penalties.blocks(flow("tls", port=9, serial=-1), REACHABLE, 1.0)  # before the handshake
    assert not penalties.blocks(flow("tls", port=9, serial=9), REGISTERED, 1.0)
    assert not penalties.blocks(flow(), UNPROVEN, 1.0)  # offences over streams do not affect datagrams
    assert offend(penalties, flow, "192.0.2.1", 60)[-1].ttl == limits.BAN_SECONDS
    later = limits.OFFENCE_SECONDS + 1
    assert offend(penalties, flow, "192.0.2.1", 1, later)[0].offence == 1


def test_the_addresses_of_one_64_are_one_offender(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    assert [offend(penalties, flow, f"2001:db8:1:2::{n}", 1)[0].offence for n in range(1, 4)] == [1, 2, 3]
    assert offend(penalties, flow, "2001:db8:1:3::1", 1)[0].offence == 1


def test_a_registered_flow_is_not_banned_with_its_address(flow) -> None:
    standings = Standings()
    standings.prove(flow("tls", port=7, serial=7), REGISTERED, 0.0)
    penalties = Penalties(standings, 100, 30, 2.0)
    assert {ban.scope for ban in offend(penalties, flow, "192.0.2.1", 6)} == {BanScope.FLOW}
    for n in range(20, 30):
        assert offend(penalties, flow, f"192.0.2.{n}", 3)[-1].scope is BanScope.ADDRESS
    standings.withdraw(flow("tls", port=7, serial=7))
    assert offend(penalties, flow, "192.0.2.30", 3)[-1].scope is BanScope.PREFIX


@pytest.mark.parametrize(
    ("inside", "prefix", "outside"),
    [("192.0.2.{}", "192.0.2.0/24", "192.0.3.9"), ("2001:db8:1:2::{}", "2001:db8:1:2::/64", "2001:db8:1:3::9")],
)
def test_four_addresses_are_their_prefix(flow, inside: str, prefix: str, outside: str) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    last = [offend(penalties, flow, inside.format(n), 3)[-1] for n in range(1, 5)]
    assert [ban.scope for ban in last] == [BanScope.ADDRESS] * 3 + [BanScope.PREFIX]
    assert last[-1].target == prefix
    assert penalties.blocks(flow("tls", inside.format(9)), REACHABLE, 1.0)
    assert not penalties.blocks(flow("tls", outside), REACHABLE, 1.0)
    assert penalties.lift(prefix) == 1
    assert not penalties.blocks(flow("tls", inside.format(9)), REACHABLE, 1.0)


def test_four_prefixes_are_their_site(flow) -> None:
    penalties = Penalties(Standings(), 1000, 30, 2.0)
    for subnet in range(4):
        for n in range(1, 5):
            last = offend(penalties, flow, f"2001:db8:1:{subnet}::{n}", 3)[-1]
    assert (last.scope, last.target) == (BanScope.SITE, "2001:db8:1::/48")
    assert penalties.blocks(flow("tls", "2001:db8:1:ffff::1"), REACHABLE, 1.0)
    assert not penalties.blocks(flow("tls", "2001:db8:2::1"), REACHABLE, 1.0)


def test_connections_under_a_ban_are_to_be_closed(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    bans = offend(penalties, flow, "192.0.2.1", 3)
    assert penalties.has_changes
    assert penalties.take_stream_bans() == bans
    assert not penalties.has_changes
    assert penalties.covers(flow("tls", port=77, serial=77), 1.0)
    assert not penalties.covers(flow("tls", "192.0.2.2", 1000, 3), 1.0)
    assert not penalties.covers(flow("tls", port=77, serial=77), 401.0)


def test_stored_offences_are_bounded(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    hosts = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(limits.OFFENDERS + 1)]
    for now, host in enumerate(hosts):
        offender = flow("tls", host)
        penalties.ban(offender, REACHABLE, Reason.PIKE, 1.0, now / 10)
    now = len(hosts) / 10
    assert offend(penalties, flow, hosts[0], 1, now)[0].offence == 1
    assert offend(penalties, flow, hosts[-1], 1, now)[0].offence == 2


def test_a_restored_ban_blocks_again_and_offences_count_on(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    saved = offend(penalties, flow, "192.0.2.1", 3)[-1]
    penalties = Penalties(Standings(), 1, 30, 2.0)
    assert penalties.restore(saved)
    assert penalties.blocks(flow("tls", port=9, serial=9), REACHABLE, 1.0)
    assert not penalties.restore(offend(Penalties(Standings(), 9, 30, 2.0), flow, "192.0.2.2", 1)[0])
    assert offend(penalties, flow, "192.0.2.1", 1)[0].offence == 4


def test_the_version_changes_with_every_ban_set_or_removed(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    versions = [penalties.version]
    penalties.ban(flow(), UNPROVEN, Reason.PIKE, 60.0, 0.0)
    versions.append(penalties.version)
    penalties.blocks(flow(), UNPROVEN, 1.0)
    assert penalties.version == versions[-1]
    penalties.blocks(flow(), UNPROVEN, 100.0)
    versions.append(penalties.version)
    assert len(set(versions)) == 3


def test_datagrams_from_port_0_do_not_have_the_kernel_drop_their_whole_address(flow) -> None:
    """Otherwise forged datagrams would block all peers at that address whose datagrams the filter sees."""
    penalties = Penalties(Standings(), 16, 30, 2.0)
    assert penalties.ban(flow(port=0), UNPROVEN, Reason.PIKE, 60.0, 10.0) is not None
    assert penalties.take_datagram_bans() == []
    assert penalties.blocks(flow(port=0), UNPROVEN, 11.0)
    assert not penalties.blocks(flow(port=1), UNPROVEN, 11.0)


# --- what it costs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", ["bans", "registered"])
def test_the_cost_of_an_offence_does_not_depend_on_the_number_of_bans(flow, others: str) -> None:
    def third_offence(count: int) -> int:
        standings = Standings()
        penalties = Penalties(standings, 100_000, 30, 2.0)
        for number in range(count):
            host = f"198.18.{number >> 8}.{number & 255}"
            if others == "bans":
                offend(penalties, flow, host, limits.OFFENCES_OF_ADDRESS)
            else:
                standings.prove(flow("tls", host, 5060, 1000 + number), REGISTERED, 10.0)
        for last in range(1, limits.BANS_OF_PREFIX):
            offend(penalties, flow, f"192.0.2.{last}", limits.OFFENCES_OF_ADDRESS)
        offend(penalties, flow, "192.0.2.7", limits.OFFENCES_OF_ADDRESS - 1)
        return count_calls(lambda last: offend(penalties, flow, last, 1), "192.0.2.7")

    third_offence(2)  # so that the stored offences of addresses do not affect the comparison
    assert third_offence(2000) <= third_offence(2) + 10


def test_a_flood_of_datagrams_costs_no_more_when_prefixes_of_streams_are_banned(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    for number in range(limits.BANS_OF_PREFIX):
        offend(penalties, flow, f"192.0.2.{number}", limits.OFFENCES_OF_ADDRESS)
    assert max(ban.scope for ban in penalties) is BanScope.PREFIX
    before = enclosing_prefixes.cache_info()
    assert not penalties.blocks(flow("udp", "192.0.2.77"), UNPROVEN, 11.0)
    assert enclosing_prefixes.cache_info() == before
    assert penalties.blocks(flow("tls", "192.0.2.77"), REACHABLE, 11.0)


def test_addresses_with_expired_bans_do_not_count_for_their_prefix(flow) -> None:
    penalties = Penalties(Standings(), 100, 30, 2.0)
    for number in range(limits.BANS_OF_PREFIX - 1):
        offend(penalties, flow, f"192.0.2.{number}", limits.OFFENCES_OF_ADDRESS)
        assert penalties.lift(f"192.0.2.{number}")
    offend(penalties, flow, "192.0.2.200", limits.OFFENCES_OF_ADDRESS)
    assert max(ban.scope for ban in penalties) is BanScope.ADDRESS
