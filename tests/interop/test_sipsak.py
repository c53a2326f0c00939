"""sipsak in each of its modes against a running edge. Its message mode (``-M``) crashes in Debian's version before it
sends anything, so its MESSAGE comes from a file here."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.peers import Called, called, needs, place
from support.running import PATIENCE, at, edge_process, free_port, listen, nothing_left, policy_text, running, until
from support.sipp_calls import Side

from edgesbc.app import App
from edgesbc.screen.stages.method import CALLS

POLICY = Path(__file__).parent.parent.parent / "policies" / "trunk.toml"
ELSEWHERE = "sip:nobody@192.0.2.9"
"""A URI of another host, for requests that the edge must forward."""

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
    """The messages that a SIPp of :func:`answered` has received so far."""
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
        ended = await sipsak("-v", "-s", f"sip:ping@127.0.0.1:{udp}")
        assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
        assert b"200 OK" in ended.stdout


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
            ended = await sipsak("-U", "-x", "60", "-v", "-s", f"sip:{user}@{public}")
            assert ended.returncode == 0, ended.stdout.decode()

        users = {f"user{n}" for n in range(5)}  # one sipsak per user: with several users it mixes up the texts
        async with trio.open_nursery() as nursery:
            for user in users:
                nursery.start_soon(register, user)
        registers = heard(tmp_path, behind).received
        assert {re.split("[:@]", message["To"])[1] for message in registers} == users
        assert len({message["Path"] for message in registers}) == len(registers) == 5
        for message in registers:
            assert re.fullmatch(r"<sip:[-\w]+@127\.0\.0\.2:\d+;lr>", message["Path"])
            assert re.split("[:@]", message["Contact"])[1] in users  # the registrar gets the Contact unchanged
        await nothing_left(app)


@needs("sipp")
async def test_a_message_passes(tmp_path: Path) -> None:
    text = tmp_path / "message"
    text.write_text(
        f"MESSAGE {ELSEWHERE} SIP/2.0\nFrom: <sip:alice@example.org>;tag=a\nTo: <{ELSEWHERE}>\nCall-ID: m1\n"
        "CSeq: 1 MESSAGE\nMax-Forwards: 70\nContent-Type: text/plain\nContent-Length: 5\n\nhello"
    )
    async with answered(tmp_path) as (app, public, behind):
        ended = await sipsak("-f", str(text), "-p", public, "-s", ELSEWHERE)
        assert ended.returncode == 0, ended.stdout.decode()
        (message,) = heard(tmp_path, behind).received
        assert (message.kind, message.body) == ("MESSAGE", "hello")
        await nothing_left(app)


@needs("sipp")
async def test_calls_succeed_after_floods_and_garbage(tmp_path: Path) -> None:
    """The source of a flood is banned. A trunk is not: its garbage is parsed and refused. Neither leaves state."""
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(range(256)) * 3)
    async with answered(tmp_path, "called") as (app, public, _), trio.open_nursery() as nursery:
        malformed = app.edge.counters.malformed
        nursery.start_soon(sipsak, "-F", "-e", "1000", "-k", "127.0.0.66", "-s", f"sip:ping@{public}")
        for _ in range(3):
            nursery.start_soon(sipsak, "-R", "-s", f"sip:ping@{public}")  # until one of its messages has no answer
        nursery.start_soon(sipsak, "-f", str(noise), "-s", f"sip:ping@{public}")  # repeated for half a minute
        await until(lambda: malformed.get((), 0) >= 5 and len(app.edge.pipeline.penalties) == 1)
        nursery.cancel_scope.cancel()
        calls = await place(tmp_path, "caller", public, 5, 25, hold=0)
        assert calls.status == 0, calls.errors
        assert app.edge.counters.outcomes == {("answered",): 5}
        await nothing_left(app)
