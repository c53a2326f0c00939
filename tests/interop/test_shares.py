"""Real SIPps as the members of a destination set: how many calls each gets with each algorithm, as SIPp counts."""

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


async def final_counts(members: list[Sipp]) -> tuple[int, ...]:
    """Stop the members. Returns how many calls each has answered and ended; none may have failed."""
    counts = [await member.stop() for member in members]
    assert all(count.failed == 0 and count.begun == count.succeeded for count in counts), counts
    return tuple(count.succeeded for count in counts)


def member_tables(members: list[Sipp], *keys: str) -> list[str]:
    """The keys of members for :func:`edge_before`: their URIs, with further keys as TOML."""
    return [f'uri = "{member.uri}"{more}' for member, more in zip(members, keys or ("",) * len(members), strict=True)]


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
        edge_before(tmp_path, member_tables(members, *keys), f'algorithm = "{algorithm}"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 200)
        assert await final_counts(members) == expected


async def test_random_shares_calls_equally(tmp_path: Path) -> None:
    """300 calls to three members, whatever their weight. The bounds are six standard deviations from 100."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, member_tables(members, "", "", ", weight = 9"), f'algorithm = "random"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 200)
        shares = await final_counts(members)
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
async def test_least_loaded_fills_members_to_the_same_share(
    tmp_path: Path, keys: tuple[str, ...], route: str, expected: tuple[int, ...]
) -> None:
    """The calls are held longer than it takes to place all of them."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS) as members,
        edge_before(
            tmp_path, member_tables(members, *keys), f'algorithm = "least-loaded"{PATIENT}', route=route
        ) as app,
    ):
        await place(app, tmp_path, "caller", caller(hold=4000), 45, 100)
        assert await final_counts(members) == expected


def calling(user: str, replacement: str) -> Steps:
    """The steps of a caller in which ``replacement`` stands for ``user``."""
    return tuple(step.replace(user, replacement) if isinstance(step, str) else step for step in caller())


def hashed(hash_on: str) -> str:
    """The keys of a set that hashes, without a bound: no member is skipped for its load."""
    return f'algorithm = "hash", hash_on = "{hash_on}", hash_bound = 0{PATIENT}'


def calls_by_user(members: list[Sipp], field: str) -> Counter[str]:
    """How many calls each user in a header field has made. The calls of a user must all be at one member, and not the
    calls of all users at the same one."""
    calls_of_members = [
        Counter(_user(value) for value in calls_by(member.side(), field).elements()) for member in members
    ]
    together = sum(calls_of_members, Counter[str]())
    assert sum(map(len, calls_of_members)) == len(together), "the calls of a user are at several members"
    assert sum(map(bool, calls_of_members)) > 1, "all calls are at one member"
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
        edge_before(tmp_path, member_tables(members), hashed(hash_on)) as app,
    ):
        await place(app, tmp_path, "caller", calling(user, "sip:[field0]@"), 300, 200, "-inf", str(users))
        assert sum(await final_counts(members)) == 300
        assert calls_by_user(members, field) == Counter({f"user{n}": 10 for n in range(30)})


async def test_hash_keeps_a_source_to_one_member(tmp_path: Path) -> None:
    hosts = [f"127.0.1.{n}" for n in range(1, 16)]
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, member_tables(members), hashed("source")) as app,
    ):
        steps = calling("sip:alice@", "sip:[local_ip]@")
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(partial(place, app, tmp_path, host, steps, 10, 20, host=host))
        assert sum(await final_counts(members)) == 150
        assert calls_by_user(members, "From") == Counter(dict.fromkeys(hosts, 10))


async def test_hash_keeps_a_call_id_to_one_member(tmp_path: Path) -> None:
    """The same Call-IDs twice. A member gets a third of them; the bounds are six standard deviations from that."""
    async with (
        fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS) as members,
        edge_before(tmp_path, member_tables(members), hashed("call-id")) as app,
    ):
        first = await _by_call_id(app, tmp_path, members)
        async with fleet(tmp_path, ANSWERS, ANSWERS, ANSWERS, again=members) as again:
            assert await _by_call_id(app, tmp_path, again) == first
        assert all(15 < len(calls) < 85 for calls in first)


async def _by_call_id(app: App, folder: Path, members: list[Sipp]) -> list[Counter[str]]:
    name = f"caller-of-{members[0].file.name}"
    await place(app, folder, name, caller(), 150, 200, "-cid_str", "%u@again.example")
    assert sum(await final_counts(members)) == 150
    return [calls_by(member.side()) for member in members]


async def test_latency_gives_slow_members_fewer_calls(tmp_path: Path) -> None:
    """Latency takes the quicker of two random members. The slow one of three gets a ninth of the calls, and those that
    came before its latency was known."""
    slow: Steps = (taken(), pause(300), answer(200), *ENDED)
    async with (
        fleet(tmp_path, ANSWERS, slow, ANSWERS) as members,
        edge_before(tmp_path, member_tables(members), f'algorithm = "latency"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 300, 100)
        shares = await final_counts(members)
        assert sum(shares) == 300
        assert 0 < shares[1] < 80, shares
        assert min(shares[0], shares[2]) > shares[1]


async def test_broadcast_calls_all_and_the_first_to_answer_has_the_call(tmp_path: Path) -> None:
    answers: Steps = (taken(), pause(400), answer(200), *ENDED)
    rings: Steps = (taken(), answer(180), *cancelled(), answer(487), take("ACK"))
    async with (
        fleet(tmp_path, rings, answers, rings) as members,
        edge_before(tmp_path, member_tables(members), f'algorithm = "broadcast"{PATIENT}') as app,
    ):
        await place(app, tmp_path, "caller", caller(), 100, 50)
        assert await final_counts(members) == (100, 100, 100)
        assert members[1].side().count("BYE") == 100
        assert members[0].side().count("CANCEL") >= 100
