"""Test cases of calls: a SIPp that places them, SIPps that answer them, and one edge between them for all cases."""

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
from support.running import end, free_port, listen, policy_text, running, until
from support.state_left import StateLeft, state_left
from support.steps import Steps, scenario, taken

from edgesbc.base.address import Source
from edgesbc.screen.stages.method import CALLS

__all__ = ["NEVER", "CallCase", "CallResult", "Message", "Side", "run"]

NEVER: Steps = ()
"""The steps of a member that must get no call."""
PORT = 5060
_AT_ONCE = 10
_PATIENCE = 45.0
"""Seconds that one case may take. Long, since nothing is measured by it."""


class Message:
    """A message from SIPp's log, parsed here without the edge's own parser."""

    def __init__(self, text: str) -> None:
        head, _, rest = text.partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        # In the log SIPp's own text may follow directly after the body.
        length = next((int(value) for name, value in self.fields if name == "Content-Length" and value.isdigit()), 0)
        self.body = rest.encode()[:length].decode(errors="replace")
        self.text = f"{head}\r\n\r\n{self.body}"

    @property
    def kind(self) -> str:
        """The method, or the status."""
        first, second, *_ = self.start.split(" ")
        return second if first.startswith("SIP/") else first

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    def __getitem__(self, name: str) -> str:
        (value,) = self.all(name)
        return value


class Side:
    """The messages that one SIPp sent and received, and its exit status: 0 if each of its calls followed its steps."""

    def __init__(self, status: int | None, log: str, errors: str) -> None:
        self.status = status
        self.errors = errors
        self.log = log
        self.sent, self.received = _messages(log, "sent"), _messages(log, "received")

    @property
    def kinds(self) -> list[str]:
        """The methods and statuses of the received messages in order, without retransmissions."""
        return [message.kind for message in {message.text: message for message in self.received}.values()]

    def first(self, kind: str | int) -> Message:
        """The first received message of this method or status."""
        return self.all(kind)[0]

    def all(self, kind: str | int) -> list[Message]:
        """The received messages of this method or status, with retransmissions."""
        return [message for message in self.received if message.kind == str(kind)]

    def count(self, kind: str | int) -> int:
        return len(self.all(kind))


def _messages(log: str, direction: str) -> list[Message]:
    entries = re.split(r"-{47} [-0-9]+ [:.0-9]+\n", log)
    parts = [entry.partition("\n\n") for entry in entries if re.match(rf"\w+ message {direction}", entry)]
    return [Message(text) for _, _, text in parts]


@attrs.frozen
class CallResult:
    """What the SIPps of a case saw."""

    caller: Side
    called: tuple[Side, ...]


@attrs.frozen
class CallCase:
    """A caller with the steps ``caller`` calls a destination set whose members have the steps ``called``, in order of
    priority.

    ``name`` is the user that is called, unless the routing pattern ``user`` is given. ``proves`` says what the case
    shows, and ``check`` asserts it from the messages of both sides. ``transport`` is the caller's, by SIPp's name
    (``u1``, ``un``, ``t1``, ``tn``), ``member_transport`` that of the members; ``ipv6``: the caller has IPv6.
    ``outcomes`` are those of the calls that the edge counts, ``set_keys`` further keys of the set as TOML,
    ``arguments`` further options of the caller's SIPp.
    """

    name: str
    proves: str
    caller: Steps
    called: tuple[Steps, ...] = (NEVER,)
    check: Callable[[CallResult], None] = lambda result: None
    transport: str = "u1"
    member_transport: str = "u1"
    calls: int = 1
    outcomes: str = "answered"
    user: str = ""
    set_keys: str = ""
    arguments: tuple[str, ...] = ()
    ipv6: bool = False


class _Network:
    """A /16 of loopback for one test run: each SIPp has an address, and so all ports, to itself."""

    def __init__(self, net: int, ipv6: bool) -> None:
        self.net = f"127.{net}"
        self.edge = Source("::1", free_port("::1")) if ipv6 else Source(f"{self.net}.0.1", PORT)

    def host(self, case: int, side: int) -> str:
        return f"{self.net}.{case}.{side}"


@contextmanager
def _free_network(ipv6: bool) -> Iterator[_Network]:
    for net in random.sample(range(2, 255), 253):
        with socket.socket() as sock:
            try:
                sock.bind((f"127.{net}.255.254", PORT))  # held during the run, so that another run takes another net
            except OSError:
                continue
            yield _Network(net, ipv6)
            return
    raise OSError("no net of loopback addresses is free")


def run(folder: Path, cases: tuple[CallCase, ...], ipv6: bool = False) -> tuple[dict[str, CallResult], StateLeft]:
    """Run the cases with IPv6, or those without, through one edge. Returns the results, and the state left in it."""
    return trio.run(_run, folder, tuple(case for case in cases if case.ipv6 is ipv6), ipv6)


async def _run(folder: Path, cases: tuple[CallCase, ...], ipv6: bool) -> tuple[dict[str, CallResult], StateLeft]:
    results: dict[str, CallResult] = {}
    limiter = trio.CapacityLimiter(_AT_ONCE)
    with _free_network(ipv6) as network:
        async with running(folder, _policy(folder, network, cases)) as app:
            async with trio.open_nursery() as nursery:

                async def run_case(number: int, case: CallCase) -> None:
                    async with limiter:
                        results[case.name] = await _run_case(folder, network, number, case)

                for number, case in enumerate(cases, 1):
                    nursery.start_soon(run_case, number, case)
            return results, await state_left(app)


def _policy(folder: Path, network: _Network, cases: tuple[CallCase, ...]) -> str:
    sets, routes = [], []
    for number, case in enumerate(cases, 1):
        transport_parameter = ";transport=tcp" if case.member_transport[0] == "t" else ""
        hosts = [network.host(number, side) for side, _ in enumerate(case.called, 2)]
        members = ", ".join(
            f'{{ uri = "sip:{host}:{PORT}{transport_parameter}", priority = {n} }}' for n, host in enumerate(hosts)
        )
        sets.append(f'{{ set = "{case.name}", members = [{members}], health = {{ interval = 0 }}{case.set_keys} }}')
        user = case.user or f"^{case.name}$"
        routes.append(f"{{ name = '{case.name}', to = '{case.name}', request_user = '{user}' }}")
    edge, core = str(network.edge), f"{network.net}.0.2:{PORT}"
    return policy_text(
        folder,
        ["sip:192.0.2.1"],
        [
            listen("public", "udp", edge, "public-udp"),
            listen("public", "tcp", edge, "public-tcp"),
            listen("core", "udp", core, "core-udp"),
            listen("core", "tcp", core, "core-tcp"),
        ],
        trunks=[f"{network.net}.0.0/16", "::1"],
        routes=f"route = [{', '.join(routes)}]",
        more_sets="".join(f", {destination_set}" for destination_set in sets),
        more=f"[screen.method]\npublic = {json.dumps([*CALLS, 'FROBNICATE'])}",
    )


async def _run_case(folder: Path, network: _Network, number: int, case: CallCase) -> CallResult:
    called = [
        _Sipp(
            folder / f"{case.name}-called{side}", network.host(number, side), steps, case.member_transport, case.calls
        )
        for side, steps in enumerate(case.called, 2)
    ]
    host = "::1" if case.ipv6 else network.host(number, 1)
    caller = _Sipp(folder / f"{case.name}-caller", host, case.caller, case.transport, case.calls)
    try:
        with trio.move_on_after(_PATIENCE):
            for sipp in called:
                await sipp.start("-ci", sipp.host)
                await sipp.ready()
            await caller.start("-ci", network.host(number, 1), "-s", case.name, *case.arguments, str(network.edge))
            if await caller.wait() == 0:
                for sipp in called:
                    if sipp.steps:
                        await sipp.wait()
    finally:
        for sipp in [caller, *called]:
            await sipp.end()
    return CallResult(caller.side(), tuple(sipp.side() for sipp in called))


class _Sipp:
    """One SIPp of a case. Without steps it waits for an INVITE that never comes."""

    def __init__(self, name: Path, host: str, steps: Steps, transport: str, calls: int) -> None:
        self.name = name
        self.host = host
        self.port = free_port(host) if ":" in host else PORT
        self.transport = transport
        self.steps = steps
        self.calls = calls
        self.process: trio.Process | None = None
        Path(f"{name}.xml").write_text(scenario(name.name, steps or (taken(),)))

    async def start(self, *more: str) -> None:
        command = [
            *("sipp", "-sf", f"{self.name}.xml", "-i", self.host, "-p", str(self.port), "-bind_local"),
            *(
                "-t",
                self.transport,
                "-mi",
                self.host,
                "-m",
                str(self.calls),
                "-r",
                "25",
                "-max_socket",
                "100",
                "-nostdin",
            ),
            *("-timeout", "40s", "-timeout_error", "-trace_err", "-error_file", f"{self.name}.errors"),
            *("-trace_msg", "-message_file", f"{self.name}.messages"),
            *("-key", "fold", "\r\n\t "),  # SIPp strips space at the beginning of a line of its scenario
            *more,
        ]
        devnull = subprocess.DEVNULL
        self.process = await trio.lowlevel.open_process(
            command, stdin=devnull, stdout=devnull, stderr=devnull, cwd=self.name.parent
        )

    async def ready(self) -> None:
        """Wait until it listens."""
        process = self.process
        assert process is not None
        await until(lambda: bound(self.host, self.port, self.transport[0] == "u") or process.poll() is not None)

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
