"""Real SIPps behind an edge, and what goes wrong with them: killed, unheard, slow, refusing, full, drained."""

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
    PATIENT,
    Counted,
    caller,
    calls_by,
    edge_before,
    fleet,
    member_of,
    place,
    probed,
)
from support.hole import Hole
from support.peers import needs
from support.running import until
from support.steps import Steps, answer, invite, pause, refused, take, taken

from edgesbc.app import App
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.health import Order, State

pytestmark = needs("sipp")

NEVER: Steps = (taken(),)
"""Fails every call that comes to it: nobody may call it."""


def told(*members: str) -> list[str]:
    return [f'uri = "{each}"' for each in members]


def tried(app: App, call_id: str) -> list[str]:
    """The members that a call was sent to, in order."""
    return [each["detail"].split()[-1] for each in app.why(call_id).decisions if each["reason"] == Reason.ROUTED.code]


def left_for(app: App, call_id: str) -> list[str]:
    """Which members a call left, and why."""
    return [each["detail"] for each in app.why(call_id).decisions if each["reason"] == Reason.FAILOVER.code]


def turns(app: App, member: str) -> list[str]:
    """The states that a member came to, in order."""
    address = member.removeprefix("sip:")
    told = [each["detail"] for each in app.why(address).decisions if each["reason"] == Reason.HEALTH.code]
    return [detail.partition(" to ")[2].partition(":")[0] for detail in told]


def routed_after(app: App, member: str, words: str) -> int:
    """How many calls were sent to a member after the decision about it that has these words."""
    story = app.ledger.recent(100_000)
    then = next(n for n, sentence in enumerate(story) if member in sentence and words in sentence)
    return sum(sentence.endswith(f" shared {member}") for sentence in story[then:])


# --- dead ------------------------------------------------------------------------------------------------


async def test_a_killed_member_costs_no_call_and_comes_back_slowly(tmp_path: Path) -> None:
    """200 calls a second, of which about ten have no answer from the killed one yet: the other answers them."""
    answers: Steps = probed((taken(), pause(100), answer(200), *ENDED))
    health = "interval = 0.3, timeout = 3, fall = 2, rise = 2, slow_start = 60"
    async with (
        fleet(tmp_path, answers, answers) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), f'algorithm = "round-robin"{PATIENT}', health=health) as app,
    ):
        async with trio.open_nursery() as nursery:

            async def kill() -> None:
                await until(lambda: one.heard("INVITE") >= 100)
                one.signal(signal.SIGKILL)

            nursery.start_soon(kill)
            await place(app, tmp_path, "caller", caller(*BYE_TO_THE_DEAD), 600, 200)
        assert one.process is not None
        assert one.process.returncode == -signal.SIGKILL
        unanswered = set(calls_by(one.side())) - {each["Call-ID"] for each in one.side().sent if each.kind == "200"}
        assert unanswered
        assert unanswered <= set(calls_by(two.side()))
        assert all(tried(app, call) == [one.uri, two.uri] for call in unanswered)

        await until(lambda: member_of(app, one.uri).state is State.INACTIVE)
        async with Hole.open(one.host, one.port) as hole:
            await place(app, tmp_path, "caller-meanwhile", caller(), 50, 100)
            assert hole.calls() == {}

        async with fleet(tmp_path, answers, again=[one]) as (again,):
            await until(lambda: member_of(app, one.uri).state is State.ACTIVE)
            await place(app, tmp_path, "caller-afterwards", caller(), 100, 100)
            assert len(calls_by(again.side())) < 30, "a twentieth of its half, and little more each second"
            assert turns(app, one.uri) in (["trying", "inactive", "active"], ["inactive", "active"])


async def test_a_member_that_hears_nothing_is_left_by_each_call_and_then_by_all(tmp_path: Path) -> None:
    async with (
        Hole.open("127.0.0.11") as hole,
        fleet(tmp_path, ANSWERS) as (two,),
        edge_before(
            tmp_path,
            told(hole.uri, two.uri),
            'algorithm = "round-robin", try_timeout = 1.5',
            health="interval = 0, fall = 3, retry = 3600",
        ) as app,
    ):
        await place(app, tmp_path, "caller", caller(), 250, 100)
        assert turns(app, hole.uri) == ["trying", "inactive"]
        assert routed_after(app, hole.uri, "trying to inactive") == 0
        sent = hole.calls()
        assert len(sent) >= 3
        answered = calls_by(two.side())
        assert len(answered) == 250
        for call in answered:
            expected = [hole.uri, two.uri] if call in sent else [two.uri]
            assert tried(app, call) == expected
            assert left_for(app, call) == [f"{hole.uri} gave no answer in time"] * (call in sent)
        await place(app, tmp_path, "caller-afterwards", caller(), 50, 100)
        assert set(hole.calls()) == set(sent)
        assert len(calls_by(two.side())) == 300


async def test_a_member_that_answers_probes_and_no_calls_is_taken_out(tmp_path: Path) -> None:
    health = "interval = 0.2, timeout = 2, fall = 3, rise = 100"
    async with (
        Hole.open("127.0.0.11") as hole,
        fleet(tmp_path, probed(ANSWERS)) as (two,),
        edge_before(
            tmp_path, told(hole.uri, two.uri), 'algorithm = "round-robin", try_timeout = 1.5', health=health
        ) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(hole.answer_probes)
        await until(lambda: hole.probes >= 3)
        await place(app, tmp_path, "caller", caller(), 150, 50)
        assert routed_after(app, hole.uri, "trying to inactive: gave no answer in time") == 0
        sent = hole.calls()
        assert len(sent) >= 3
        assert all(tried(app, call) == [hole.uri, two.uri] for call in sent)
        probes = hole.probes
        await until(lambda: hole.probes > probes)
        assert member_of(app, hole.uri).state is State.INACTIVE
        nursery.cancel_scope.cancel()


async def test_a_member_that_comes_and_goes_is_damped(tmp_path: Path) -> None:
    """Six times it is stopped after six good answers, or once it is in use: after two, after four, and no more."""
    health = "interval = 0.1, timeout = 0.2, fall = 2, rise = 2, damping = 3600"
    async with (
        fleet(tmp_path, probed(ANSWERS), probed(ANSWERS)) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), health=health) as app,
    ):
        member = member_of(app, one.uri)
        for _ in range(6):
            one.signal(signal.SIGSTOP)
            await until(lambda: member.state is State.INACTIVE and not member.health.successes)
            one.signal(signal.SIGCONT)
            await until(lambda: member.health.up or member.health.successes >= 6)
        states = turns(app, one.uri)
        assert list(pairwise(states)).count(("inactive", "active")) == 2, states
        assert states.count("inactive") == 3, states
        await place(app, tmp_path, "caller", caller(), 20, 50)


# --- slow ------------------------------------------------------------------------------------------------


async def test_a_member_that_says_100_and_answers_late_keeps_the_call(tmp_path: Path) -> None:
    slow: Steps = (taken(), answer(100), pause(4000), answer(200), *ENDED)
    async with (
        fleet(tmp_path, slow, NEVER) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), 'algorithm = "priority", try_timeout = 2') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 10, 50)
        assert await one.stop() == Counted(10, 10, 0)
        assert await two.stop() == Counted(0, 0, 0)
        assert turns(app, one.uri) == []


async def test_a_member_that_says_nothing_loses_the_call_and_its_late_answer_is_undone(tmp_path: Path) -> None:
    silent: Steps = (taken(), pause(4000), answer(200), *ENDED)
    async with (
        fleet(tmp_path, silent, ANSWERS) as (one, two),
        edge_before(
            tmp_path,
            told(one.uri, two.uri),
            'algorithm = "priority", try_timeout = 2',
            health="interval = 0, fall = 100",
        ) as app,
    ):
        await place(app, tmp_path, "caller", caller(), 10, 50)
        await until(lambda: one.heard("BYE") >= 10)
        assert await one.stop() == Counted(10, 10, 0)
        assert await two.stop() == Counted(10, 10, 0)
        assert set(calls_by(one.side())) == set(calls_by(two.side()))


# --- refusing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 486, 603])
async def test_somebodys_word_is_not_asked_for_twice(tmp_path: Path, status: int) -> None:
    refuses: Steps = (taken(), answer(status), take("ACK"))
    async with (
        fleet(tmp_path, refuses, NEVER) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri)) as app,
    ):
        await place(app, tmp_path, "caller", (invite(body=""), *refused(status)), 20, 50)
        assert await one.stop() == Counted(20, 20, 0)
        assert await two.stop() == Counted(0, 0, 0)
        assert turns(app, one.uri) == []


async def test_who_asks_for_a_rest_gets_it(tmp_path: Path) -> None:
    """One call at a time: the first is refused by the first member, and no other goes there."""
    rests: Steps = (taken(), answer(503, "Retry-After: 3600"), take("ACK"))
    async with (
        fleet(tmp_path, rests, ANSWERS) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), f'algorithm = "priority", rest = 3600{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 20, 50, "-l", "1")
        assert await one.stop() == Counted(1, 1, 0)
        assert await two.stop() == Counted(20, 20, 0)
        assert turns(app, one.uri) == [], "who answers is alive"


async def test_a_503_without_a_time_is_a_failure(tmp_path: Path) -> None:
    refuses: Steps = (taken(), answer(503), take("ACK"))
    async with (
        fleet(tmp_path, refuses, ANSWERS) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), health="interval = 0, fall = 3, retry = 3600") as app,
    ):
        await place(app, tmp_path, "caller", caller(), 20, 50, "-l", "1")
        assert await one.stop() == Counted(3, 3, 0)
        assert await two.stop() == Counted(20, 20, 0)
        assert turns(app, one.uri) == ["trying", "inactive"]


# --- full ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "most"), [("max_calls = 10", 10), ("max_cps = 0.01", 1)])
async def test_what_a_member_has_no_room_for_goes_to_the_next(tmp_path: Path, bound: str, most: int) -> None:
    """The calls are held longer than it takes to place them, and a second call in 100 s is one too many."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as (one, two),
        edge_before(tmp_path, [f'uri = "{one.uri}", {bound}', *told(two.uri)]) as app,
    ):
        await place(app, tmp_path, "caller", caller(hold=3000), 30, 100)
        assert await one.stop() == Counted(most, most, 0)
        assert await two.stop() == Counted(30 - most, 30 - most, 0)


async def test_a_trunk_with_all_its_calls_gets_503(tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, ANSWERS) as (one,),
        edge_before(tmp_path, told(one.uri), trunk=", max_calls = 5") as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(place, app, tmp_path, "caller", caller(hold=6000), 5, 100)
        await until(lambda: one.heard("ACK") >= 5)
        over = await place(app, tmp_path, "caller-over", (invite(body=""), *refused(503)), 10, 100)
        assert over.side().got(503)["Retry-After"]
        assert await one.stop() == Counted(5, 5, 0)


async def test_a_drained_member_ends_its_calls_and_gets_no_more(tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as (one, two),
        edge_before(tmp_path, told(one.uri, two.uri), f'algorithm = "round-robin"{PATIENT}') as app,
    ):
        member = member_of(app, one.uri)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place, app, tmp_path, "caller", caller(hold=1000), 200, 100)
            await until(lambda: one.heard("INVITE") >= 30)
            app.edge.dispatcher.order(member, Order.DRAINING, trio.current_time())
            assert member.load, "there are calls to end"
        assert routed_after(app, one.uri, "to draining") == 0
        first, second = [await each.stop() for each in (one, two)]
        assert 30 <= first.begun < 100 < second.begun
        assert first == Counted(first.begun, first.begun, 0)
        assert second == Counted(200 - first.begun, 200 - first.begun, 0)
