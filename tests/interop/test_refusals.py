"""Real SIPps behind an edge that refuse calls, have a limit of calls, or are drained."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.fleet import ANSWERS, NEVER, PATIENT, Counted, caller, edge_before, fleet, member_of, member_tables, place
from support.peers import needs
from support.running import until
from support.steps import Steps, answer, invite, refused, take, taken
from support.why import member_states, routed_after

from edgesbc.dispatch.health import AdminState

pytestmark = needs("sipp")


# --- refusing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 486, 603])
async def test_a_refusal_of_the_callee_is_not_tried_at_another_member(tmp_path: Path, status: int) -> None:
    refuses: Steps = (taken(), answer(status), take("ACK"))
    async with (
        fleet(tmp_path, refuses, NEVER) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri)) as app,
    ):
        await place(app, tmp_path, "caller", (invite(body=""), *refused(status)), 20, 50)
        assert await one.stop() == Counted(20, 20, 0)
        assert await two.stop() == Counted(0, 0, 0)
        assert member_states(app, one.uri) == []


async def test_a_member_that_sends_retry_after_is_left_alone(tmp_path: Path) -> None:
    """One call at a time: the first member refuses the first call, and gets no other."""
    rests: Steps = (taken(), answer(503, "Retry-After: 3600"), take("ACK"))
    async with (
        fleet(tmp_path, rests, ANSWERS) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), f'algorithm = "priority", rest = 3600{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 20, 50, "-l", "1")
        assert await one.stop() == Counted(1, 1, 0)
        assert await two.stop() == Counted(20, 20, 0)
        assert member_states(app, one.uri) == [], "a member that answers is up"


async def test_a_503_is_the_failure_of_its_call_and_not_of_its_member(tmp_path: Path) -> None:
    """All calls are of one user to one number."""
    refuses: Steps = (taken(), answer(503), take("ACK"))
    async with (
        fleet(tmp_path, refuses, ANSWERS) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), health="interval = 0, fall = 3, retry = 3600") as app,
    ):
        await place(app, tmp_path, "caller", caller(), 20, 50, "-l", "1")
        assert await one.stop() == Counted(20, 20, 0)
        assert await two.stop() == Counted(20, 20, 0)
        assert member_states(app, one.uri) == []


async def test_a_member_that_refuses_nearly_all_calls_is_taken_out(tmp_path: Path) -> None:
    refuses: Steps = (taken(), answer(503), take("ACK"))
    health = "interval = 0, retry = 3600, refused_calls = 5, refused_spread = 1"
    async with (
        fleet(tmp_path, refuses, ANSWERS) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), health=health) as app,
    ):
        await place(app, tmp_path, "caller", caller(), 20, 50, "-l", "1")
        assert await one.stop() == Counted(5, 5, 0)
        assert await two.stop() == Counted(20, 20, 0)
        assert member_states(app, one.uri) == ["inactive"]


@pytest.mark.parametrize(("bound", "most"), [("max_calls = 10", 10), ("max_cps = 0.01", 1)])
async def test_calls_above_the_limit_of_a_member_go_to_the_next(tmp_path: Path, bound: str, most: int) -> None:
    """The calls are held longer than it takes to place all of them; ``max_cps = 0.01`` allows one call in 100 s."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as (one, two),
        edge_before(tmp_path, [f'uri = "{one.uri}", {bound}', *member_tables(two.uri)]) as app,
    ):
        await place(app, tmp_path, "caller", caller(hold=3000), 30, 100)
        assert await one.stop() == Counted(most, most, 0)
        assert await two.stop() == Counted(30 - most, 30 - most, 0)


async def test_a_trunk_with_all_its_calls_gets_503(tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, ANSWERS) as (one,),
        edge_before(tmp_path, member_tables(one.uri), trunk=", max_calls = 5") as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(place, app, tmp_path, "caller", caller(hold=6000), 5, 100)
        await until(lambda: one.heard("ACK") >= 5)
        over = await place(app, tmp_path, "caller-over", (invite(body=""), *refused(503)), 10, 100)
        assert over.side().first(503)["Retry-After"]
        assert await one.stop() == Counted(5, 5, 0)


async def test_a_drained_member_ends_its_calls_and_gets_no_more(tmp_path: Path) -> None:
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as (one, two),
        edge_before(tmp_path, member_tables(one.uri, two.uri), f'algorithm = "round-robin"{PATIENT}') as app,
    ):
        member = member_of(app, one.uri)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(place, app, tmp_path, "caller", caller(hold=1000), 200, 100)
            await until(lambda: one.heard("INVITE") >= 30)
            app.edge.dispatcher.set_admin_state(member, AdminState.DRAINING, trio.current_time())
            assert member.load, "there are calls to end"
        assert routed_after(app, one.uri, "to draining") == 0
        first, second = [await sipp.stop() for sipp in (one, two)]
        assert 30 <= first.begun < 100 < second.begun
        assert first == Counted(first.begun, first.begun, 0)
        assert second == Counted(200 - first.begun, 200 - first.begun, 0)
