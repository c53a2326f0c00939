"""Real SIPps behind an edge that fail: killed, stopped, silent, flapping, slow."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from support.fleet import (
    ANSWERS,
    BYE_TO_THE_DEAD,
    ENDED,
    NEVER,
    PATIENT,
    Counted,
    caller,
    calls_by,
    edge_before,
    fleet,
    member_of,
    member_tables,
    place,
    probed,
)
from support.peers import needs
from support.running import until
from support.silent_member import SilentMember
from support.steps import Steps, answer, pause, taken
from support.why import member_states, members_left, members_tried, routed_after

from edgesbc.dispatch.health import MemberState

pytestmark = needs("sipp")


# --- dead ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [(), (answer(100),)], ids=["silent", "after 100"])
async def test_a_killed_member_costs_no_call_and_returns_in_slow_start(tmp_path: Path, first: Steps) -> None:
    """100 calls a second. When the first member is killed, it has not yet answered about five: the other answers these.

    The rate is no higher because the edge shares the machine with three SIPps that log every message.
    """
    answers: Steps = probed((taken(), *first, pause(100), answer(200), *ENDED))
    health = "interval = 0.3, timeout = 3, fall = 2, rise = 2, slow_start = 60"
    async with (
        fleet(tmp_path, answers, answers) as (one, two),
        edge_before(
            tmp_path, member_tables(one.uri, two.uri), f'algorithm = "round-robin"{PATIENT}', health=health
        ) as app,
    ):
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                await until(lambda: one.heard("INVITE") >= 80)
                one.signal(signal.SIGKILL)

            nursery.start_soon(kill)
            await place(app, tmp_path, "caller", caller(*BYE_TO_THE_DEAD), 400, 100)
        assert one.process is not None
        assert one.process.returncode == -signal.SIGKILL
        answered = {message["Call-ID"] for message in one.side().sent if message.kind == "200"}
        unanswered = set(calls_by(one.side())) - answered
        assert unanswered
        assert unanswered <= set(calls_by(two.side()))
        assert all(members_tried(app, call) == [one.uri, two.uri] for call in unanswered)

        await until(lambda: member_of(app, one.uri).state is MemberState.INACTIVE)
        async with SilentMember.open(one.host, one.port) as silent:
            await place(app, tmp_path, "caller-meanwhile", caller(), 50, 100)
            assert silent.calls() == {}

        async with fleet(tmp_path, answers, again=[one]) as (again,):
            await until(lambda: member_of(app, one.uri).state is MemberState.ACTIVE)
            await place(app, tmp_path, "caller-afterwards", caller(), 100, 100)
            assert len(calls_by(again.side())) < 30, "a share far below its half, since slow start takes 60 s"
            assert member_states(app, one.uri) in (["trying", "inactive", "active"], ["inactive", "active"])


async def test_a_member_that_stops_after_its_100_loses_its_calls_when_its_probes_fail(tmp_path: Path) -> None:
    """The process is stopped before it has answered any call with 200. The network reports no error."""
    answers: Steps = probed((taken(), answer(100), pause(2000), answer(200), *ENDED))
    health = "interval = 0.2, timeout = 0.5, fall = 2, rise = 2"
    async with (
        fleet(tmp_path, answers, answers) as (one, two),
        edge_before(
            tmp_path,
            member_tables(one.uri, two.uri),
            'algorithm = "round-robin", try_timeout = 1.5, total_timeout = 60',
            health=health,
        ) as app,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place, app, tmp_path, "caller", caller(), 60, 100)
            await until(lambda: one.heard("INVITE") >= 20)
            one.signal(signal.SIGSTOP)
        begun = set(calls_by(one.side()))
        assert len(begun) >= 20
        assert all(members_tried(app, call) == [one.uri, two.uri] for call in begun)


async def test_a_silent_member_loses_its_calls_and_is_then_taken_out(tmp_path: Path) -> None:
    async with (
        SilentMember.open("127.0.0.11") as silent,
        fleet(tmp_path, ANSWERS) as (two,),
        edge_before(
            tmp_path,
            member_tables(silent.uri, two.uri),
            'algorithm = "round-robin", try_timeout = 1.5',
            health="interval = 0, fall = 3, retry = 3600",
        ) as app,
    ):
        await place(app, tmp_path, "caller", caller(), 250, 100)
        assert member_states(app, silent.uri) == ["trying", "inactive"]
        assert routed_after(app, silent.uri, "trying to inactive") == 0
        sent = silent.calls()
        assert len(sent) >= 3
        answered = calls_by(two.side())
        assert len(answered) == 250
        for call in answered:
            expected = [silent.uri, two.uri] if call in sent else [two.uri]
            assert members_tried(app, call) == expected
            assert members_left(app, call) == [f"{silent.uri} gave no answer in time"] * (call in sent)
        await place(app, tmp_path, "caller-afterwards", caller(), 50, 100)
        assert set(silent.calls()) == set(sent)
        assert len(calls_by(two.side())) == 300


async def test_a_member_that_answers_probes_and_no_calls_is_taken_out(tmp_path: Path) -> None:
    health = "interval = 0.2, timeout = 2, fall = 3, rise = 100"
    async with (
        SilentMember.open("127.0.0.11") as silent,
        fleet(tmp_path, probed(ANSWERS)) as (two,),
        edge_before(
            tmp_path, member_tables(silent.uri, two.uri), 'algorithm = "round-robin", try_timeout = 1.5', health=health
        ) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(silent.answer_probes)
        await until(lambda: silent.probes >= 3)
        await place(app, tmp_path, "caller", caller(), 150, 50)
        assert routed_after(app, silent.uri, "trying to inactive: gave no answer in time") == 0
        sent = silent.calls()
        assert len(sent) >= 3
        assert all(members_tried(app, call) == [silent.uri, two.uri] for call in sent)
        probes = silent.probes
        await until(lambda: silent.probes > probes)
        assert member_of(app, silent.uri).state is MemberState.INACTIVE
        nursery.cancel_scope.cancel()


async def test_a_flapping_member_is_damped(tmp_path: Path) -> None:
    """The member is stopped six times, each time when it is active again or has answered six probes. Damping doubles
    the number of answers that it needs: two, then four, then eight, so that it stays inactive."""
    health = "interval = 0.1, timeout = 0.2, fall = 2, rise = 2, damping = 3600"
    async with (
        fleet(tmp_path, probed(ANSWERS), probed(ANSWERS)) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), health=health) as app,
    ):
        member = member_of(app, one.uri)
        for _ in range(6):
            one.signal(signal.SIGSTOP)
            await until(lambda: member.state is MemberState.INACTIVE and not member.health.successes)
            one.signal(signal.SIGCONT)
            await until(lambda: member.health.up or member.health.successes >= 6)
        states = member_states(app, one.uri)
        assert list(pairwise(states)).count(("inactive", "active")) == 2, states
        assert states.count("inactive") == 3, states
        await place(app, tmp_path, "caller", caller(), 20, 50)


# --- slow ------------------------------------------------------------------------------------------------


async def test_a_member_that_sends_100_and_answers_late_keeps_the_call(tmp_path: Path) -> None:
    slow: Steps = (taken(), answer(100), pause(4000), answer(200), *ENDED)
    async with (
        fleet(tmp_path, slow, NEVER) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), 'algorithm = "priority", try_timeout = 2') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 10, 50)
        assert await one.stop() == Counted(10, 10, 0)
        assert await two.stop() == Counted(0, 0, 0)
        assert member_states(app, one.uri) == []


async def test_a_silent_member_loses_the_call_and_its_late_answer_is_ended(tmp_path: Path) -> None:
    silent: Steps = (taken(), pause(4000), answer(200), *ENDED)
    async with (
        fleet(tmp_path, silent, ANSWERS) as (one, two),
        edge_before(
            tmp_path,
            member_tables(one.uri, two.uri),
            'algorithm = "priority", try_timeout = 2',
            health="interval = 0, fall = 100",
        ) as app,
    ):
        await place(app, tmp_path, "caller", caller(), 10, 50)
        await until(lambda: one.heard("BYE") >= 10)
        assert await one.stop() == Counted(10, 10, 0)
        assert await two.stop() == Counted(10, 10, 0)
        assert set(calls_by(one.side())) == set(calls_by(two.side()))
