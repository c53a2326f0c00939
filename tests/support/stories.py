"""Calls described from both sides: a SIPp that places them, SIPps that answer them, one edge between them."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio
from support.peers import taken as bound
from support.remains import Left, left
from support.running import end, free_port, listen, policy_text, running, until
from support.steps import Steps, scenario, taken

from edgesbc.base.address import Source
from edgesbc.screen.stages.method import CALLS

__all__ = ["NEVER", "Message", "Side", "Story", "Told", "run"]

NEVER: Steps = ()
"""The steps of a member that nobody may call."""
PORT = 5060
_AT_ONCE = 10
_PATIENCE = 45.0
"""Seconds that one story may take; nothing is measured by it."""


class Message:
    """A message as SIPp logged it; it is read here without the edge's own parser."""

    def __init__(self, text: str) -> None:
        head, _, rest = text.partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        # SIPp's own words may follow in the log, without a line end between.
        length = next((int(value) for name, value in self.fields if name == "Content-Length" and value.isdigit()), 0)
        self.body = rest.encode()[:length].decode(errors="replace")
        self.text = f"{head}\r\n\r\n{self.body}"

    @property
    def kind(self) -> str:
        """The method, or the status."""
        first, second, *_ = self.start.split(" ")
        return second if first.startswith("SIP/") else first

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each == name]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value


class Side:
    """The observations of a SIPp, and its exit status: 0 if each of its calls followed its steps."""

    def __init__(self, status: int | None, log: str, errors: str) -> None:
        self.status = status
        self.errors = errors
        self.log = log
        self.sent, self.received = _parts(log, "sent"), _parts(log, "received")

    @property
    def kinds(self) -> list[str]:
        """What came, in order, without what was repeated."""
        return [each.kind for each in {each.text: each for each in self.received}.values()]

    def got(self, kind: str | int) -> Message:
        """The first message of that method or status."""
        return next(each for each in self.received if each.kind == str(kind))

    def count(self, kind: str | int) -> int:
        return sum(each.kind == str(kind) for each in self.received)


def _parts(log: str, way: str) -> list[Message]:
    found = re.split(r"-{47} [-0-9]+ [:.0-9]+\n", log)
    parts = [part.partition("\n\n") for part in found if re.match(rf"\w+ message {way}", part)]
    return [Message(text) for _, _, text in parts]


@attrs.frozen
class Told:
    """What became of a story."""

    caller: Side
    called: tuple[Side, ...]


@attrs.frozen
class Story:
    """Calls by the steps of ``caller`` to a set of ``called``, in this order of priority.

    ``name`` is the user that is called, unless the pattern ``user`` says otherwise; ``proves`` is what is wrong when
    the story ends in another way, and ``check`` looks at what both sides saw. ``over`` is SIPp's name for the caller's
    transport (``u1``, ``un``, ``t1``, ``tn``), ``inside`` for that of the called, ``six`` whether the caller has IPv6.
    ``ends`` are the outcomes of the calls that the edge counts, ``more`` further keys of the set, ``arguments``
    further ones of the caller.
    """

    name: str
    proves: str
    caller: Steps
    called: tuple[Steps, ...] = (NEVER,)
    check: Callable[[Told], None] = lambda told: None
    over: str = "u1"
    inside: str = "u1"
    calls: int = 1
    ends: str = "answered"
    user: str = ""
    more: str = ""
    arguments: tuple[str, ...] = ()
    six: bool = False


class _Houses:
    """A net of loopback addresses that nobody else has: each SIPp has an address, and so all ports, to itself."""

    def __init__(self, net: int, six: bool) -> None:
        self.net = f"127.{net}"
        self.edge = Source("::1", free_port("::1")) if six else Source(f"{self.net}.0.1", PORT)

    def host(self, story: int, side: int) -> str:
        return f"{self.net}.{story}.{side}"


@contextmanager
def _houses(six: bool) -> Iterator[_Houses]:
    for net in random.sample(range(2, 255), 253):
        with socket.socket() as sock:
            try:
                sock.bind((f"127.{net}.255.254", PORT))  # held as long as the run, so that another finds it taken
            except OSError:
                continue
            yield _Houses(net, six)
            return
    raise OSError("no net of loopback addresses is free")


def run(folder: Path, stories: tuple[Story, ...], six: bool = False) -> tuple[dict[str, Told], Left]:
    """Tell all stories that have IPv6, or those that have not, through one edge; then look at what is left of them."""
    return trio.run(_run, folder, tuple(story for story in stories if story.six is six), six)


async def _run(folder: Path, stories: tuple[Story, ...], six: bool) -> tuple[dict[str, Told], Left]:
    told: dict[str, Told] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)
    with _houses(six) as houses:
        async with running(folder, _policy(folder, houses, stories)) as app:
            async with trio.open_nursery() as nursery:

                async def tell(number: int, story: Story) -> None:
                    async with limiter:
                        told[story.name] = await _tell(folder, houses, number, story)

                for number, story in enumerate(stories, 1):
                    nursery.start_soon(tell, number, story)
            return told, await left(app)


def _policy(folder: Path, houses: _Houses, stories: tuple[Story, ...]) -> str:
    sets, routes = [], []
    for number, story in enumerate(stories, 1):
        way = ";transport=tcp" if story.inside[0] == "t" else ""
        hosts = [houses.host(number, side) for side, _ in enumerate(story.called, 2)]
        members = ", ".join(f'{{ uri = "sip:{host}:{PORT}{way}", priority = {n} }}' for n, host in enumerate(hosts))
        sets.append(f'{{ set = "{story.name}", members = [{members}], health = {{ interval = 0 }}{story.more} }}')
        user = story.user or f"^{story.name}$"
        routes.append(f"{{ name = '{story.name}', to = '{story.name}', request_user = '{user}' }}")
    edge, inside = str(houses.edge), f"{houses.net}.0.2:{PORT}"
    return policy_text(
        folder,
        ["sip:192.0.2.1"],
        [
            listen("public", "udp", edge, "public-udp"),
            listen("public", "tcp", edge, "public-tcp"),
            listen("core", "udp", inside, "core-udp"),
            listen("core", "tcp", inside, "core-tcp"),
        ],
        trunks=[f"{houses.net}.0.0/16", "::1"],
        routes=f"route = [{', '.join(routes)}]",
        more_sets="".join(f", {each}" for each in sets),
        more=f"[screen.method]\npublic = {json.dumps([*CALLS, 'FROBNICATE'])}",
    )


async def _tell(folder: Path, houses: _Houses, number: int, story: Story) -> Told:
    called = [
        _Sipp(folder / f"{story.name}-called{side}", houses.host(number, side), steps, story.inside, story.calls)
        for side, steps in enumerate(story.called, 2)
    ]
    host = "::1" if story.six else houses.host(number, 1)
    caller = _Sipp(folder / f"{story.name}-caller", host, story.caller, story.over, story.calls)
    try:
        with trio.move_on_after(_PATIENCE):
            for each in called:
                await each.start("-ci", each.host)
                await each.ready()
            await caller.start("-ci", houses.host(number, 1), "-s", story.name, *story.arguments, str(houses.edge))
            if await caller.wait() == 0:
                for each in called:
                    if each.steps:
                        await each.wait()
    finally:
        for each in [caller, *called]:
            await each.end()
    return Told(caller.side(), tuple(each.side() for each in called))


class _Sipp:
    """One SIPp of a story. Without steps it waits for an INVITE that never comes."""

    def __init__(self, name: Path, host: str, steps: Steps, over: str, calls: int) -> None:
        self.name = name
        self.host = host
        self.port = free_port(host) if ":" in host else PORT
        self.over = over
        self.steps = steps
        self.calls = calls
        self.process: trio.Process | None = None
        Path(f"{name}.xml").write_text(scenario(name.name, steps or (taken(),)))

    async def start(self, *more: str) -> None:
        command = [
            *("sipp", "-sf", f"{self.name}.xml", "-i", self.host, "-p", str(self.port), "-bind_local"),
            *("-t", self.over, "-mi", self.host, "-m", str(self.calls), "-r", "25", "-max_socket", "100", "-nostdin"),
            *("-timeout", "40s", "-timeout_error", "-trace_err", "-error_file", f"{self.name}.errors"),
            *("-trace_msg", "-message_file", f"{self.name}.messages"),
            *("-key", "fold", "\r\n\t "),  # SIPp takes away what space begins a line of its scenario
            *more,
        ]
        nowhere = subprocess.DEVNULL
        self.process = await trio.lowlevel.open_process(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, cwd=self.name.parent
        )

    async def ready(self) -> None:
        """Wait until it takes calls."""
        process = self.process
        assert process is not None
        await until(lambda: bound(self.host, self.port, self.over[0] == "u") or process.poll() is not None)

    async def wait(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def end(self) -> None:
        if self.process is not None:
            await end(self.process, 0.2)

    def side(self) -> Side:
        status = self.process.returncode if self.process is not None else None
        return Side(status, _read(Path(f"{self.name}.messages")), _read(Path(f"{self.name}.errors")))


def _read(file: Path) -> str:
    return file.read_bytes().decode(errors="replace") if file.exists() else ""
