"""sipsak in each of its modes against a running edge. Its message mode (``-M``) ends by a fault of its own in the
version that Debian has, before it sends anything: here its MESSAGE comes from a file."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.peers import Called, called, needs, place
from support.running import PATIENCE, at, edge_process, free_port, listen, nothing_left, policy_text, running, until
from support.stories import Side

from edgesbc.app import App
from edgesbc.screen.stages.method import CALLS

POLICY = Path(__file__).parent.parent.parent / "policies" / "trunk.toml"
ELSEWHERE = "sip:nobody@192.0.2.9"
"""An address that is not the edge's, for what has to go through it."""

pytestmark = needs("sipsak")


async def sipsak(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(PATIENCE):
        return await trio.run_process(["sipsak", *arguments], check=False, capture_stdout=True, capture_stderr=True)


@asynccontextmanager
async def answered(folder: Path, scenario: str = "answers") -> AsyncIterator[tuple[App, str, Called]]:
    """An edge that trusts 127.0.0.1 as a carrier, its public address, and the SIPp behind it."""
    async with called(folder, scenario, "127.0.0.11") as behind:
        text = policy_text(
            folder,
            [behind.uri],
            [
                listen("public", "udp", f"127.0.0.1:{free_port()}", "public-udp"),
                listen("core", "udp", "127.0.0.2:0", "core-udp"),
            ],
            trunks=["127.0.0.1"],
            more=f"[screen.method]\npublic = {[*CALLS, 'MESSAGE']}",
        )
        async with running(folder, text) as app:
            yield app, str(at(app, "public-udp")), behind


def heard(folder: Path, by: Called) -> Side:
    """What came to a SIPp of :func:`answered`, so far."""
    log = folder / f"answers-{by.uri.rpartition(':')[2]}.messages"
    return Side(None, log.read_bytes().decode(errors="replace"), "")


async def test_options_to_the_trunk_policy_is_answered_200(tmp_path: Path) -> None:
    http = free_port()
    udp = free_port()
    text = POLICY.read_text()
    text = text.replace("[edge]", f'[edge]\nstate_dir = "{tmp_path / "state"}"', 1)
    text = re.sub(r'bind = "127\.0\.0\.1:5060"', f'bind = "127.0.0.1:{udp}"', text)
    text = text.replace("127.0.0.2:5060", f"127.0.0.2:{free_port('127.0.0.2')}")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{http}")
    async with edge_process(tmp_path, text, http):
        asked = await sipsak("-v", "-s", f"sip:ping@127.0.0.1:{udp}")
        assert asked.returncode == 0, (asked.stdout + asked.stderr).decode()
        assert b"200 OK" in asked.stdout


@needs("sipp")
async def test_a_trace_finds_the_edge_and_then_what_is_behind_it(tmp_path: Path) -> None:
    async with answered(tmp_path) as (app, public, behind):
        traced = await sipsak("-T", "-p", public, "-s", ELSEWHERE)
        assert traced.returncode == 0
        assert re.findall(r"SIP/2\.0 (\d+)", traced.stdout.decode()) == ["483", "200"]
        (options,) = heard(tmp_path, behind).received
        assert options.start == f"OPTIONS {ELSEWHERE} SIP/2.0"
        assert options["Max-Forwards"] == "0"
        await nothing_left(app)


@needs("sipp")
async def test_users_register_through_the_edge(tmp_path: Path) -> None:
    async with answered(tmp_path) as (app, public, behind):

        async def register(user: str) -> None:
            told = await sipsak("-U", "-x", "60", "-v", "-s", f"sip:{user}@{public}")
            assert told.returncode == 0, told.stdout.decode()

        users = {f"user{n}" for n in range(5)}  # a process each: of several users, sipsak mixes up the texts
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(register, user)
        registers = heard(tmp_path, behind).received
        assert {re.split("[:@]", each["To"])[1] for each in registers} == users
        assert len({each["Path"] for each in registers}) == len(registers) == 5
        for each in registers:
            assert re.fullmatch(r"<sip:[-\w]+@127\.0\.0\.2:\d+;lr>", each["Path"])
            assert re.split("[:@]", each["Contact"])[1] in users  # it is the registrar's to keep
        await nothing_left(app)


@needs("sipp")
async def test_a_message_passes(tmp_path: Path) -> None:
    text = tmp_path / "message"
    text.write_text(
        f"MESSAGE {ELSEWHERE} SIP/2.0\nFrom: <sip:alice@example.org>;tag=a\nTo: <{ELSEWHERE}>\nCall-ID: m1\n"
        "CSeq: 1 MESSAGE\nMax-Forwards: 70\nContent-Type: text/plain\nContent-Length: 5\n\nhello"
    )
    async with answered(tmp_path) as (app, public, behind):
        told = await sipsak("-f", str(text), "-p", public, "-s", ELSEWHERE)
        assert told.returncode == 0, told.stdout.decode()
        (message,) = heard(tmp_path, behind).received
        assert (message.kind, message.body) == ("MESSAGE", "hello")
        await nothing_left(app)


@needs("sipp")
async def test_after_floods_and_garbage_a_call_is_a_call(tmp_path: Path) -> None:
    """A stranger's flood is banned; a trunk's garbage, which is not, is read and refused. Neither leaves anything."""
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 3)
    async with answered(tmp_path, "called") as (app, public, _), trio.open_nursery() as nursery:
        malformed = app.edge.counters.malformed
        nursery.start_soon(sipsak, "-F", "-e", "1000", "-k", "127.0.0.66", "-s", f"sip:ping@{public}")
        for _ in range(3):
            nursery.start_soon(sipsak, "-R", "-s", f"sip:ping@{public}")  # until one of its messages has no answer
        nursery.start_soon(sipsak, "-f", str(noise), "-s", f"sip:ping@{public}")  # which it repeats for half a minute
        await until(lambda: malformed.get((), 0) >= 5 and len(app.edge.pipeline.penalties) == 1)
        nursery.cancel_scope.cancel()
        calls = await place(tmp_path, "caller", public, 5, 25, hold=0)
        assert calls.status == 0, calls.errors
        assert app.edge.counters.outcomes == {("answered",): 5}
        await nothing_left(app)
