"""Real SIPps as the members of a set: which of them gets how many calls, as they count it, with each algorithm."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio
from support.fleet import ANSWERS, ENDED, PATIENT, Sipp, caller, calls_by, edge_before, fleet, place
from support.peers import needs
from support.steps import Steps, answer, cancelled, pause, take, taken

from edgesbc.app import App

pytestmark = needs("sipp")


async def counts(members: list[Sipp]) -> tuple[int, ...]:
    """The calls that each member has taken to their end; none of them failed one."""
    counted = [await member.stop() for member in members]
    assert all(each.failed == 0 and each.begun == each.succeeded for each in counted)
    return tuple(each.succeeded for each in counted)


def told(members: list[Sipp], *keys: str) -> list[str]:
    """The members as a policy has them, each with further keys."""
    return [f'uri = "{each.uri}"{more}' for each, more in zip(members, keys or ("",) * len(members), strict=True)]


@pytest.mark.parametrize(
    ("algorithm", "keys", "expected"),
    [
        ("weighted", (", weight = 5", ", weight = 3", ", weight = 2"), (150, 90, 60)),
        ("round-robin", (", weight = 5", "", ""), (100, 100, 100)),
        ("priority", (", weight = 1", ", weight = 9", ""), (300, 0, 0)),
        ("round-robin", ("", ", priority = 1", ""), (150, 0, 150)),
    ],
    ids=["weighted", "round-robin", "priority", "two of three by priority"],
)
async def test_shares_that_are_exact(
    tmp_path: Path, algorithm: str, keys: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members, *keys), f'algorithm = "{algorithm}"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 200)
        assert await counts(members) == expected


async def test_random_gives_all_alike(tmp_path: Path) -> None:
    """100 of 300 calls each; the bounds are six standard deviations away."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members, "", "", ", weight = 9"), f'algorithm = "random"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 200)
        shares = await counts(members)
        assert sum(shares) == 300
        assert all(50 < share < 150 for share in shares), shares


@pytest.mark.parametrize(
    ("keys", "route", "expected"),
    [
        ((", max_calls = 40", ", max_calls = 20"), "", (30, 15)),
        ((", resources = { pstn = 10 }", ", resources = { pstn = 80 }"), ', resources = ["pstn"]', (5, 40)),
    ],
    ids=["max_calls", "resources"],
)
async def test_least_loaded_fills_each_to_the_same_share(
    tmp_path: Path, keys: tuple[str, ...], route: str, expected: tuple[int, ...]
) -> None:
    """Each call is held longer than it takes to place them all."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members, *keys), f'algorithm = "least-loaded"{PATIENT}', route=route) as app,
    ):
        await place(app, tmp_path, "caller", caller(hold=4000), 45, 100)
        assert await counts(members) == expected


def calling(user: str, each: str) -> Steps:
    """Calls of which ``user``, as the steps have it, is another one each time."""
    return tuple(step.replace(user, each) if isinstance(step, str) else step for step in caller())


def hashed(hash_on: str) -> str:
    """Without a bound: no member is skipped for its load."""
    return f'algorithm = "hash", hash_on = "{hash_on}", hash_bound = 0{PATIENT}'


def kept_to_one(members: list[Sipp], field: str) -> Counter[str]:
    """The calls of each user in a header field: a user has one member, and not all have the same."""
    seen = [Counter(_user(value) for value in calls_by(each.side(), field).elements()) for each in members]
    together = sum(seen, Counter[str]())
    assert sum(map(len, seen)) == len(together), "somebody's calls are at several members"
    assert sum(map(bool, seen)) > 1, "all calls are at one member"
    return together


def _user(value: str) -> str:
    return value.partition("sip:")[2].partition("@")[0]


@pytest.mark.parametrize(
    ("hash_on", "field", "user"), [("from-uri", "From", "sip:alice@"), ("request-user", "To", "sip:[service]@")]
)
async def test_hash_keeps_a_user_to_one_member(tmp_path: Path, hash_on: str, field: str, user: str) -> None:
    users = tmp_path / "users.csv"
    users.write_text("SEQUENTIAL\n" + "".join(f"user{n};\n" for n in range(30)))
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members), hashed(hash_on)) as app,
    ):
        await place(app, tmp_path, "caller", calling(user, "sip:[field0]@"), 300, 200, "-inf", str(users))
        assert sum(await counts(members)) == 300
        assert kept_to_one(members, field) == Counter({f"user{n}": 10 for n in range(30)})


async def test_hash_keeps_a_source_to_one_member(tmp_path: Path) -> None:
    hosts = [f"127.0.1.{n}" for n in range(1, 16)]
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members), hashed("source")) as app,
    ):
        steps = calling("sip:alice@", "sip:[local_ip]@")
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(partial(place, app, tmp_path, host, steps, 10, 20, host=host))
        assert sum(await counts(members)) == 150
        assert kept_to_one(members, "From") == Counter(dict.fromkeys(hosts, 10))


async def test_hash_keeps_a_call_id_to_one_member(tmp_path: Path) -> None:
    """The same Call-IDs twice: a third of them at each member, give or take six standard deviations."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, told(members), hashed("call-id")) as app,
    ):
        once = await _by_call_id(app, tmp_path, members)
        async with fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS, again=members) as again:
            assert await _by_call_id(app, tmp_path, again) == once
        assert all(15 < len(each) < 85 for each in once)


async def _by_call_id(app: App, folder: Path, members: list[Sipp]) -> list[Counter[str]]:
    name = f"caller-of-{members[0].file.name}"
    await place(app, folder, name, caller(), 150, 200, "-cid_str", "%u@again.example")
    assert sum(await counts(members)) == 150
    return [calls_by(member.side()) for member in members]


async def test_latency_gives_slow_members_fewer_calls(tmp_path: Path) -> None:
    """Of two at random the quicker one: the slow one gets a ninth of the calls, and what came before it was known."""
    slow: Steps = (taken(), pause(300), answer(200), *ENDED)
    async with (
        fleet(tmp_path, ANSWERS, slow, ANSWERS) as members,
        edge_before(tmp_path, told(members), f'algorithm = "latency"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 100)
        shares = await counts(members)
        assert sum(shares) == 300
        assert 0 < shares[1] < 80, shares
        assert min(shares[0], shares[2]) > shares[1]


async def test_broadcast_calls_all_and_the_first_to_answer_has_the_call(tmp_path: Path) -> None:
    answers: Steps = (taken(), pause(100), answer(200), *ENDED)
    rings: Steps = (taken(), answer(180), *cancelled(), answer(487), take("ACK"))
    async with (
        fleet(tmp_path, rings, answers, rings) as members,
        edge_before(tmp_path, told(members), f'algorithm = "broadcast"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 100, 50)
        assert await counts(members) == (100, 100, 100)
        assert members[1].side().count("BYE") == 100
        assert members[0].side().count("CANCEL") >= 100
