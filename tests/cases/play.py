"""Plays the ten cases with a real edge on loopback, one after the other, and asks the edge for its decisions."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trio
from support.running import EdgeProcess, edge_process, free_port, listen, policy_text, until
from support.ua import Rtp, Ua, UdpWire, hang_up, set_up

from edgesbc.base.address import Source
from edgesbc.control.client import ask
from edgesbc.control.protocol import ControlRequest

__all__ = ["CASES", "Report", "play"]

SCREENING = """
[screen.acl]
deny = ["127.0.0.26"]
[[screen.ratelimit]]
name = "invites-per-source"
key = "source"
methods = ["INVITE"]
rate = 1
burst = 3
"""
ROUTES = (
    """route = [{ name = "numbers", from = "public", methods = ["INVITE"], request_user = '^[0-9]+$', to = "pbx" }]"""
)
TRUNK = "127.0.0.31"
ROOT = Path(__file__).parents[2]


class Report(NamedTuple):
    """What ``edgesbc why`` was asked about, the reason codes of its answer in order, and its output."""

    subject: str
    reasons: list[str]
    output: str


class Scene:
    """A running edge before two PBXs, of which the first has priority, and a gateway that is probed."""

    def __init__(self, edge: EdgeProcess, public: Source, pbxs: tuple[Ua, Ua], gateway: Source) -> None:
        self.edge = edge
        self.public = public
        self.pbxs = pbxs
        self.gateway = gateway

    @asynccontextmanager
    async def peer(self, host: str) -> AsyncIterator[Ua]:
        async with Ua(await UdpWire.open(host, self.public)) as ua:
            yield ua

    def uri(self, user: str) -> str:
        return f"sip:{user}@{self.public}"

    async def decisions_about(self, subject: str) -> list[dict[str, Any]]:
        """The decisions about ``subject`` that the edge has recorded so far."""
        control = self.edge.file.parent / "state" / "control.sock"
        answer = await trio.to_thread.run_sync(ask, control, ControlRequest("why", {"of": subject}))
        decisions: list[dict[str, Any]] = answer["decisions"]
        return decisions

    async def comes(self, subject: str, reason: str, detail: str = "") -> str:
        """Wait until the edge has a decision about ``subject`` for this reason; return ``subject``."""

        async def is_decided() -> bool:
            return any(
                decision["reason"] == reason and detail in decision["detail"]
                for decision in await self.decisions_about(subject)
            )

        await until(is_decided)
        return subject


async def routed(scene: Scene) -> str:
    async with scene.peer(TRUNK) as alice, await Rtp.open() as near, await Rtp.open("127.0.0.11") as far:
        calling, _ = await set_up(alice, scene.pbxs[0], scene.uri("4930123456"), near, far)
        await hang_up(calling, scene.pbxs[0])
        return await scene.comes(calling.call_id, "routed")


async def failover(scene: Scene) -> str:
    first, second = scene.pbxs
    async with scene.peer(TRUNK) as alice:
        calling = alice.dialog(scene.uri("4930123456"))
        await calling.send("INVITE")
        await first.answer(await first.request("INVITE"), 503, tag="a")
        await first.request("ACK")
        await second.answer(await second.request("INVITE"), 486, tag="b")
        await second.request("ACK")
        await alice.response(486)
        return await scene.comes(calling.call_id, "failover")


async def no_route(scene: Scene) -> str:
    async with scene.peer("127.0.0.27") as caller:
        calling = caller.dialog(scene.uri("admin"))
        await calling.send("INVITE")
        await caller.response(404)
        return await scene.comes(calling.call_id, "no-route")


async def ratelimit(scene: Scene) -> str:
    async with scene.peer("127.0.0.22") as caller:
        for _ in range(6):
            await caller.dialog(scene.uri("admin")).send("INVITE")
        return await scene.comes("127.0.0.22", "ratelimit")


async def pike(scene: Scene) -> str:
    async with scene.peer("127.0.0.21") as sender:
        for _ in range(40):
            await sender.dialog(scene.uri("100")).send("OPTIONS")
        return await scene.comes("127.0.0.21", "ban")


async def scanner(scene: Scene) -> str:
    async with scene.peer("127.0.0.23") as sender:
        for user in range(100, 103):
            await sender.dialog(scene.uri(str(user))).send("REGISTER", extra=("User-Agent: friendly-scanner",))
        return await scene.comes("127.0.0.23", "scanner")


async def method(scene: Scene) -> str:
    async with scene.peer("127.0.0.24") as sender:
        await sender.dialog(scene.uri("100")).send("MESSAGE", b"buy", ("Content-Type: text/plain",))
        await sender.response(405)
        return await scene.comes("127.0.0.24", "method")


async def malformed(scene: Scene) -> str:
    async with scene.peer("127.0.0.25") as sender:
        sound = sender.dialog(scene.uri("100")).build("INVITE")
        for broken in (sound.replace(b"CSeq: 1 INVITE", b"CSeq: one INVITE"), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            await sender.wire.send(broken)
        return await scene.comes("127.0.0.25", "malformed")


async def acl(scene: Scene) -> str:
    async with scene.peer("127.0.0.26") as caller:
        for _ in range(3):
            await caller.dialog(scene.uri("100")).send("INVITE")
        return await scene.comes("127.0.0.26", "acl-denied")


async def health(scene: Scene) -> str:
    """The gateway does not run at first, then it starts, and then it stops."""
    host, port = scene.gateway
    await scene.comes(host, "health", "trying to inactive")
    async with Ua(await UdpWire.open(host, port=port)) as gateway, trio.open_nursery() as nursery:
        nursery.start_soon(answer_probes, gateway)
        await scene.comes(host, "health", "inactive to active")
        nursery.cancel_scope.cancel()
    return host


async def answer_probes(gateway: Ua) -> None:
    while True:
        with trio.move_on_after(1):
            await gateway.hear()


CASES: dict[str, Callable[[Scene], Awaitable[str]]] = {
    "A call that went well": routed,
    "A call that went to the second PBX": failover,
    "A call that no route takes": no_route,
    "Too many calls at once": ratelimit,
    "A flood": pike,
    "A scanner": scanner,
    "A method that is not open": method,
    "Messages that are none": malformed,
    "A denied address": acl,
    "A gateway that came and went": health,
}
"""The cases by their headings on the page."""


async def play(folder: Path, by_command: bool) -> dict[str, Report]:
    """Reports by heading; with ``by_command`` they include the output of ``edgesbc why``."""
    public, http = Source("127.0.0.1", free_port()), free_port()
    gateway = Source("127.0.0.13", free_port("127.0.0.13"))
    async with Ua(await UdpWire.open("127.0.0.11"), "one") as one, Ua(await UdpWire.open("127.0.0.12"), "two") as two:
        text = policy_text(
            folder,
            [f"sip:{pbx.address}" for pbx in (one, two)],
            [listen("public", "udp", str(public), "carriers"), listen("core", "udp", "127.0.0.2:0", "inside")],
            trunks=[TRUNK],
            http=f"127.0.0.1:{http}",
            more_sets=f', {{ set = "gateways", members = [{{ uri = "sip:{gateway}" }}], health = {{ interval = 1 }} }}',
            routes=ROUTES,
            open=["carriers"],
            more=SCREENING,
        )
        async with edge_process(folder, text, http) as edge:
            scene = Scene(edge, public, (one, two), gateway)
            reports = {}
            for heading, case in CASES.items():
                subject = await case(scene)
                output = await why(edge, subject) if by_command else ""
                reports[heading] = Report(
                    subject, [decision["reason"] for decision in await scene.decisions_about(subject)], output
                )
            return reports


async def why(edge: EdgeProcess, subject: str) -> str:
    """The output of the command, which runs in the folder of the policy."""
    command = [sys.executable, "-m", "edgesbc", "why", subject, "--policy", edge.file.name]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    result = await trio.run_process(command, capture_stdout=True, cwd=edge.file.parent, env=environment)
    return result.stdout.decode()
