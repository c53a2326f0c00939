"""SIPps as the members of a destination set and as callers. Each has a port of its own, and counts its calls itself."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from support.peers import taken as bound
from support.running import PATIENCE, at, end, free_port, listen, policy_text, running, until
from support.sipp_calls import Side
from support.state_left import state_left
from support.steps import Steps, ack, answer, bye, hung_up, invite, pause, reply, request, scenario, take, taken, wait

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.dispatch.member import Member

__all__ = [
    "ANSWERS",
    "BYE_TO_THE_DEAD",
    "ENDED",
    "NEVER",
    "PATIENT",
    "Counted",
    "Sipp",
    "caller",
    "calls_by",
    "edge_before",
    "fleet",
    "member_of",
    "member_tables",
    "place",
    "probed",
]

ENDED: Steps = (
    '<label id="7"/>', '<recv request="INVITE" optional="true" next="7"/>', take("ACK", optional=True), hung_up(),
)  # fmt: skip
"""The end of a call that was answered. After two answers SIPp does not recognise a retransmitted INVITE, so a step
takes it. The ACK is optional: a busy machine may lose it, and the BYE comes all the same."""
ANSWERS: Steps = (taken(), answer(200), *ENDED)
"""Takes a call at once, and waits for its end."""
BYE_TO_THE_DEAD: Steps = (
    request("BYE", 2), take(100, optional=True), '<recv response="480" optional="true" next="1"/>', take(200),
    '<label id="1"/>',
)  # fmt: skip
"""The end of a call whose destination may have died after it answered: the edge then answers the BYE with 480."""
NEVER: Steps = (taken(),)
"""Fails every call that comes to it: for members that must get no call."""
PATIENT = ", try_timeout = 20, total_timeout = 60"
"""Keys of a set with long timeouts: also on a busy machine no call moves from the chosen member to another."""
_SECONDS = 40
"""Seconds after which a caller gives up; nothing is measured by it."""


@attrs.frozen
class Counted:
    """The counts of calls that a SIPp prints at its end."""

    begun: int
    succeeded: int
    failed: int


def probed(steps: Steps) -> Steps:
    """``steps`` of a member that also answers OPTIONS outside calls."""
    return (
        '<recv request="OPTIONS" optional="true" next="8"/>', *steps, '<nop next="9"/>', '<label id="8"/>',
        reply(200, tag=True), '<label id="9"/>',
    )  # fmt: skip


def caller(*ending: str | tuple[str, ...], hold: int = 0) -> Steps:
    """A call without SDP that is answered, held for so many milliseconds and ended."""
    rings = take(180, optional=True)
    return (
        invite(body=""), take(100, optional=True), rings, *wait(200, keep=True)[1:], ack(), pause(hold),
        *(ending or bye()),
    )  # fmt: skip


class Sipp:
    """A SIPp that runs ``steps``; the names of its files begin with ``name``, which no other SIPp of the test has."""

    def __init__(self, folder: Path, name: str, host: str, steps: Steps, port: int = 0) -> None:
        self.file = folder / name
        self.host = host
        self.port = port or free_port(host)
        self.process: trio.Process | None = None
        Path(f"{self.file}.xml").write_text(scenario(name, steps))

    @property
    def uri(self) -> str:
        return f"sip:{self.host}:{self.port}"

    async def start(self, *more: str) -> trio.Process:
        file, devnull = str(self.file), subprocess.DEVNULL
        command = [
            *("sipp", "-sf", f"{file}.xml", "-i", self.host, "-p", str(self.port), "-t", "u1", "-mi", self.host),
            *(
                "-nostdin",
                "-buff_size",
                str(limits.UDP_RECEIVE_BUFFER),
                "-trace_err",
                "-error_file",
                f"{file}.errors",
                "-trace_msg",
                "-message_file",
            ),
            *(f"{file}.messages", "-trace_stat", "-stf", f"{file}.csv", "-fd", "1", *more),
        ]
        self.process = await trio.lowlevel.open_process(
            command, stdin=devnull, stdout=devnull, stderr=devnull, cwd=self.file.parent
        )
        return self.process

    async def serve(self) -> None:
        """Start, and wait until it takes calls."""
        process = await self.start()
        await until(lambda: bound(self.host, self.port, True) or process.poll() is not None)
        assert process.poll() is None, f"{self.file.name} did not start"

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def stop(self) -> Counted:
        """Have it end its last calls, and then itself. Returns its final counts."""
        self.signal(signal.SIGUSR1)
        with trio.fail_after(PATIENCE):
            assert self.process is not None
            await self.process.wait()
        return self.counted()

    def counted(self) -> Counted:
        """The counts that it wrote last: the final ones when it has ended."""
        with Path(f"{self.file}.csv").open() as stream:
            last = list(csv.DictReader(stream, delimiter=";"))[-1]
        names = ("TotalCallCreated", "SuccessfulCall(C)", "FailedCall(C)")
        return Counted(*(int(last[name]) for name in names))

    @property
    def log(self) -> str:
        file = Path(f"{self.file}.messages")
        return file.read_bytes().decode(errors="replace") if file.exists() else ""

    def heard(self, method: str) -> int:
        """How many requests of a method it has received so far, repeated ones included."""
        return len(re.findall(rf"^{method} [^\n]* SIP/2\.0", self.log, re.MULTILINE))

    def side(self) -> Side:
        errors = Path(f"{self.file}.errors")
        status = self.process.returncode if self.process is not None else None
        return Side(status, self.log, errors.read_text(errors="replace") if errors.exists() else "")


def calls_by(side: Side, field: str = "Call-ID") -> Counter[str]:
    """How many calls came to a side, by a header field of their INVITEs. A retransmitted INVITE counts once."""
    invites = [message for message in side.received if message.kind == "INVITE"]
    values = {(message["Call-ID"], message["From"]): message[field] for message in invites}
    return Counter(values.values())


@asynccontextmanager
async def fleet(folder: Path, *steps: Steps, again: Sequence[Sipp] = ()) -> AsyncIterator[list[Sipp]]:
    """SIPps that take calls, one for each of ``steps``. ``again``: SIPps that have ended, whose addresses to use."""
    members = [Sipp(folder, f"member{n}", f"127.0.0.{10 + n}", own_steps) for n, own_steps in enumerate(steps, 1)]
    if again:
        pairs = zip(again, steps, strict=True)
        members = [Sipp(folder, f"{old.file.name}-again", old.host, own_steps, old.port) for old, own_steps in pairs]
    try:
        for member in members:
            await member.serve()
        yield members
    finally:
        for member in members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)  # a stopped process handles no other signal
                await end(member.process, 0.2)


async def place(
    app: App, folder: Path, name: str, steps: Steps, calls: int, rate: int, *more: str, host: str = "127.0.0.9"
) -> Sipp:
    """Send calls to the edge, and wait for the end of the last. Fails unless each went as ``steps`` say."""
    sipp = Sipp(folder, name, host, steps)
    numbers = ("-m", str(calls), "-r", str(rate), "-timeout", f"{_SECONDS}s", "-timeout_error")
    process = await sipp.start(*numbers, "-s", "100", *more, str(at(app, "carriers")))
    try:
        with trio.fail_after(_SECONDS + PATIENCE):
            status = await process.wait()
        assert status == 0, f"{name}: {sipp.side().errors}"
        assert sipp.counted() == Counted(calls, calls, 0)
    finally:
        await end(process, 0.2)
    return sipp


@asynccontextmanager
async def edge_before(
    folder: Path,
    members: list[str],
    keys: str = f'algorithm = "priority"{PATIENT}',
    *,
    health: str = "interval = 0",
    route: str = "",
    trunk: str = "",
) -> AsyncIterator[App]:
    """An edge with the set ``shared``, which trusts loopback as a carrier. At the end it may hold no state of calls.

    ``members`` are the keys of each member, as TOML; ``keys``, ``health``, ``route`` and ``trunk`` are further keys of
    the set, its health, the route and the trunk.
    """
    member_tables = ", ".join(f"{{ {table} }}" for table in members)
    text = policy_text(
        folder,
        ["sip:192.0.2.1"],
        [listen("public", "udp", "127.0.0.1:0", "carriers"), listen("core", "udp", "127.0.0.2:0", "inside")],
        trunks=["127.0.0.0/8"],
        trunk_keys=trunk,
        routes=f'route = [{{ name = "all", to = "shared"{route} }}]',
        more_sets=f', {{ set = "shared", members = [{member_tables}], health = {{ {health} }}, {keys} }}',
        more='engine = "none"',
    )
    async with running(folder, text) as app:
        yield app
        state = await state_left(app)
        assert not any(state.alive.values()), state
        assert not state.sent
        assert app.edge.idle
        assert all(member.load == 0 for member in app.edge.dispatcher.members())


def member_tables(*members: str) -> list[str]:
    """The keys of members for :func:`edge_before`: a URI and nothing else."""
    return [f'uri = "{uri}"' for uri in members]


def member_of(app: App, uri: str) -> Member:
    return next(member for member in app.edge.dispatcher.members() if member.settings.uri == uri)
