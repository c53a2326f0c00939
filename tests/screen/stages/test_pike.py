"""Stage pike: who is watched by what. The tracker and the bans have their own tests."""

from __future__ import annotations

from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.pike import Pike, PikeSettings
from edgesbc.screen.standing import Standing, Standings

SETTINGS = PikeSettings(sampling_time_unit=2.0, reqs_density_per_unit=3, remove_latency=120.0)


def test_strangers_are_watched_by_address(flow, subject) -> None:
    pike = Pike(SETTINGS, Standings())
    verdicts = [pike.judge(subject(of=flow(port=n)), Phase.PACKET, 1.0) for n in range(1, 6)]
    assert verdicts[:3] == [PASS] * 3
    first, second = verdicts[3:]
    assert isinstance(first, Drop)
    assert isinstance(second, Drop)
    assert (first.reason, first.limit, first.value, first.ban, first.quiet) == (Reason.PIKE, 3, 4, 120.0, False)
    assert (second.quiet, second.ban) == (True, 0.0)


def test_proven_flows_are_watched_one_by_one(flow, subject) -> None:
    pike = Pike(SETTINGS, Standings())
    for port in range(1, 6):
        for _ in range(3):
            assert pike.judge(subject(of=flow(port=port), standing=Standing.REACHABLE), Phase.PACKET, 1.0) is PASS
    verdict = pike.judge(subject(of=flow(port=1), standing=Standing.REGISTERED), Phase.PACKET, 1.0)
    assert isinstance(verdict, Drop)


def test_trunks_are_not_watched(subject) -> None:
    pike = Pike(SETTINGS, Standings())
    assert all(pike.judge(subject(standing=Standing.TRUNK), Phase.PACKET, 1.0) is PASS for _ in range(1000))


def test_new_connections_of_an_address_are_held_to_the_density_without_a_ban(flow, subject) -> None:
    """Each would be a new flow with nothing against it; but who else is behind the address is not known."""
    pike = Pike(SETTINGS, Standings())
    arrivals = [subject(of=flow(port=n), standing=Standing.REACHABLE) for n in range(1, 6)]
    verdicts = [pike.judge(arrival, Phase.ACCEPT, 1.0) for arrival in arrivals]
    assert verdicts[:3] == [PASS] * 3
    for verdict in verdicts[3:]:
        assert isinstance(verdict, Drop)
        assert (verdict.reason, verdict.ban) == (Reason.PIKE, 0.0)
    assert pike.judge(subject(of=flow(port=9), standing=Standing.REACHABLE), Phase.ACCEPT, 3.5) is PASS
    trunk = subject(standing=Standing.TRUNK)
    assert all(pike.judge(trunk, Phase.ACCEPT, 1.0) is PASS for _ in range(100))
