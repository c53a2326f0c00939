"""THREATS 54 to 56: an edge without descriptors, disk or a reader of its log, and users of its machine.

The edge is a process of its own, with calls going on.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from support import audited_edge
from support.running import EdgeProcess, edge_process, free_port, listen, policy_text, until
from support.steady_caller import SteadyCaller, sdp, take_calls
from support.steady_caller import ask as ask_until_final
from support.ua import Dialog, Rtp, StreamWire, Ua, UdpWire, set_up, talk

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.sip.message import Response

TRUNK = "127.0.0.5"
FEW_PORTS = "29900-29939"
"""Twenty pairs on each side."""
DESCRIPTORS = 200
"""Of the edge: it uses about 30 itself, and accepts half as many connections."""


class Edge:
    """A running edge, whose members are ``bob``."""

    def __init__(self, process: EdgeProcess, public: Source, folder: Path) -> None:
        self.process = process
        self.public = public
        self.folder = folder

    async def command(self, name: str, **arguments: Any) -> Any:
        request = ControlRequest(name, arguments)
        return await trio.to_thread.run_sync(ask, self.folder / "state" / "control.sock", request, 10)

    async def calls_succeed(self, number: int = 3) -> None:
        caller = SteadyCaller(TRUNK, self.public, 20)
        await caller.place_calls(number)
        assert caller.outcomes == [200] * number

    async def answers_http(self) -> None:
        """A scrape is answered, also where connections are being closed just now."""

        async def answered() -> bool:
            with suppress(OSError, http.client.HTTPException):
                return "edgesbc_faults_total" in (await self.process.get("/metrics"))[1]
            return False

        await until(answered)


@asynccontextmanager
async def edge_for(
    folder: Path,
    members: Sequence[Ua],
    program: Sequence[str] = (sys.executable, "-m", "edgesbc"),
    options: Sequence[str] = (),
    ports: str = "20000-29998",
    planes: str = "tasks",
    **more: Any,
) -> AsyncIterator[Edge]:
    """UDP and TCP on one port; who is not a trunk may call too."""
    public, http = Source("127.0.0.1", free_port()), free_port()
    listeners = [
        listen("public", "udp", str(public), "public-udp"), listen("public", "tcp", str(public), "public-tcp"),
        listen("core", "udp", "127.0.0.2:0", "core-udp"),
    ]  # fmt: skip
    uris = [f"sip:{member.address}" for member in members]
    text = policy_text(
        folder, uris, listeners, trunks=[TRUNK], http=f"127.0.0.1:{http}", open=["public"], ports=ports, planes=planes
    )
    async with edge_process(folder, text, http, *options, program=program, **more) as process:
        yield Edge(process, public, folder)


def limited(descriptors: int, program: Sequence[str]) -> list[str]:
    """``program`` with at most so many descriptors."""
    return ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *program]


# --- 54: descriptors ----------------------------------------------------------------------------------------


async def test_54_silent_connections_leave_descriptors_for_calls(tmp_path: Path) -> None:
    """Also where the process may have few."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], limited(DESCRIPTORS, (sys.executable, "-m", "edgesbc"))) as edge,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        silent = [socket.socket() for _ in range(400)]
        for number, sock in enumerate(silent):
            sock.bind((f"127.0.7.{1 + number // 20}", 0))
            sock.settimeout(10)
            await trio.to_thread.run_sync(sock.connect, tuple(edge.public))
        await edge.process.comes_to('edgesbc_transport_total{event="connections"}', 300)
        await edge.calls_succeed(8)
        async with Ua(await StreamWire.open(edge.public, host=TRUNK)) as trunk:
            await trunk.dialog(f"sip:{edge.public}").send("OPTIONS")
            await trunk.response(200)
        assert await edge.process.metric("edgesbc_faults_total") == 0
        for sock in silent:
            sock.close()
        nursery.cancel_scope.cancel()


async def test_54_where_media_control_has_no_descriptors_nothing_else_suffers(tmp_path: Path) -> None:
    """With processes each has its own: calls are refused for a while, and connections are accepted."""
    program = limited(DESCRIPTORS, (sys.executable, "-m", "edgesbc"))
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], program, planes="processes") as edge,
        Ua(await UdpWire.open(TRUNK, peer=edge.public)) as alice,
        await Rtp.open(TRUNK) as near,
        await Rtp.open("127.0.0.11") as far,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        talking, _ = await set_up(alice, bob, f"sip:100@{edge.public}", near, far)
        nursery.start_soon(take_calls, bob)
        live: list[Dialog] = []
        while (status := await call(stack, edge, live)) == 200:
            assert len(live) < DESCRIPTORS / 4
        assert status == 503
        assert len(live) > 10
        await talk(near, far)
        async with Ua(await StreamWire.open(edge.public, host=TRUNK)) as trunk:
            await trunk.dialog(f"sip:{edge.public}").send("OPTIONS")
            await trunk.response(200)
        await edge.answers_http()
        assert (await edge.command("bans list"))["bans"] == []
        for dialog in live:
            assert (await ask_for(dialog.ua, dialog, "BYE")).status == 200
        await edge.calls_succeed()
        await talk(near, far)
        await talking.send("BYE")
        await alice.response(200, "BYE")
        states = [(one["state"], one["restarts"]) for one in (await edge.command("status"))["processes"]]
        assert {restarts for _, restarts in states} == {0}
        assert "Traceback" not in (tmp_path / "edge.log").read_text()
        nursery.cancel_scope.cancel()


async def test_54_where_signalling_has_no_descriptors_calls_and_audio_go_on(tmp_path: Path) -> None:
    """Connections take them; those of the trunk are accepted again when these have ended."""
    program = limited(DESCRIPTORS, (sys.executable, "-m", "edgesbc"))
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], program, planes="processes") as edge,
        Ua(await UdpWire.open(TRUNK, peer=edge.public)) as alice,
        await Rtp.open(TRUNK) as near,
        await Rtp.open("127.0.0.11") as far,
        trio.open_nursery() as nursery,
    ):
        talking, _ = await set_up(alice, bob, f"sip:100@{edge.public}", near, far)
        nursery.start_soon(take_calls, bob)
        silent = [socket.socket() for _ in range(400)]
        for number, sock in enumerate(silent):
            sock.bind((f"127.0.7.{1 + number // 20}", 0))
            sock.settimeout(10)
            await trio.to_thread.run_sync(sock.connect, tuple(edge.public))
        await edge.process.comes_to('edgesbc_transport_total{event="connections"}', 300)
        await edge.calls_succeed(8)
        await talk(near, far)
        for sock in silent:
            sock.close()
        async with Ua(await StreamWire.open(edge.public, host=TRUNK)) as trunk:
            await trunk.dialog(f"sip:{edge.public}").send("OPTIONS")
            await trunk.response(200)
        await talking.send("BYE")
        await alice.response(200, "BYE")
        states = [(one["state"], one["restarts"]) for one in (await edge.command("status"))["processes"]]
        assert {restarts for _, restarts in states} == {0}
        nursery.cancel_scope.cancel()


async def test_54_without_descriptors_the_edge_goes_on(tmp_path: Path) -> None:
    """Calls with media take all of them. Live calls go on, others are refused, connections are closed at once instead
    of waiting; when calls have ended, all is as before. Nothing is imported meanwhile: it could not be opened."""
    imported = tmp_path / "imported"
    program = limited(DESCRIPTORS, (sys.executable, str(audited_edge.__file__), str(imported)))
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], program) as edge,
        Ua(await UdpWire.open(TRUNK, peer=edge.public)) as alice,
        await Rtp.open(TRUNK) as near,
        await Rtp.open("127.0.0.11") as far,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        before = imported.read_text().splitlines()
        assert "edgesbc.app" in before
        talking, _ = await set_up(alice, bob, f"sip:100@{edge.public}", near, far)
        nursery.start_soon(take_calls, bob)
        live = []
        while (status := await call(stack, edge, live)) == 200:
            assert len(live) < DESCRIPTORS / 4
        assert status >= 500
        assert len(live) > 10
        held = [await connect(stack, edge.public) for _ in range(4)]  # the descriptors that are too few for a call
        assert await closed(await connect(stack, edge.public))
        for port in (edge.process.http, edge.public.port):
            for _ in range(15):
                assert await closed(await connect(stack, Source("127.0.0.1", port)))
        for _ in range(10):
            with pytest.raises((NoAnswer, OSError)):
                await edge.command("bans list")
        edge.process.signal(signal.SIGHUP)
        await until(lambda: "policy refused" in (tmp_path / "edge.log").read_text())
        await talk(near, far)
        assert imported.read_text().splitlines() == before
        for dialog in live:
            assert (await ask_for(dialog.ua, dialog, "BYE")).status == 200
        for sock in held:
            sock.close()
        await edge.answers_http()
        await edge.calls_succeed()
        assert await edge.process.metric('edgesbc_transport_total{event="descriptors"}') >= 16
        assert await edge.process.metric('edgesbc_faults_total{kind="http connection"}') >= 15
        assert await edge.process.metric('edgesbc_faults_total{kind="control connection"}') >= 10
        assert (await edge.command("bans list"))["bans"] == []
        await talk(near, far)
        await talking.send("BYE")
        await alice.response(200, "BYE")
        assert imported.read_text().splitlines() == before
        lines = (tmp_path / "edge.log").read_text().splitlines()
        assert len(lines) < 40, "a record of a kind a minute, of a place of a library a second"
        nursery.cancel_scope.cancel()


async def test_54_ports_of_refused_calls_are_no_shortage(tmp_path: Path) -> None:
    """A closed port rests before it is used again, but not where all others are in use or rest too: whoever may call
    would take all ports by calls that end at once, those kept for trunks included."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], ports=FEW_PORTS) as edge,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        for number in range(24):
            host = f"127.0.8.{1 + number // 4}"
            async with Ua(await UdpWire.open(host, peer=edge.public)) as stranger:
                refused = await ask_for(stranger, stranger.dialog(f"sip:200@{edge.public}"), "INVITE", sdp(host))
            assert refused.status in (403, 503)
        await edge.calls_succeed()
        nursery.cancel_scope.cancel()


async def call(stack: AsyncExitStack, edge: Edge, live: list[Dialog]) -> int:
    """Place a call that stays; its final status."""
    caller = await stack.enter_async_context(Ua(await UdpWire.open(TRUNK, peer=edge.public)))
    dialog = caller.dialog(f"sip:100@{edge.public}")
    final = await ask_for(caller, dialog, "INVITE", sdp(TRUNK))
    if final.status == 200:
        dialog.learn(final)
        await dialog.send("ACK")
        live.append(dialog)
    return final.status


async def ask_for(ua: Ua, dialog: Dialog, method: str, body: bytes = b"") -> Response:
    final = await ask_until_final(ua, dialog, method, body)
    assert final is not None
    return final


async def connect(stack: AsyncExitStack, to: Source) -> socket.socket:
    sock = stack.enter_context(socket.socket())
    sock.settimeout(10)
    await trio.to_thread.run_sync(sock.connect, tuple(to))
    return sock


async def closed(sock: socket.socket) -> bool:
    """Whether the edge closes the connection, within ten seconds."""
    try:
        return await trio.to_thread.run_sync(sock.recv, 1) == b""
    except ConnectionResetError:
        return True


# --- 55: the log ------------------------------------------------------------------------------------------


@asynccontextmanager
async def broken_log(kind: str) -> AsyncIterator[int]:
    """A descriptor to log to: on a full disk, of a pipe whose reader is gone, or of one whose reader does not read."""
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
        yield descriptor
        os.close(descriptor)
        return
    reader, writer = os.pipe()
    if kind == "no reader":
        os.close(reader)
    else:
        os.write(writer, bytes(fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)))  # it is full
    yield writer
    os.close(writer)
    if kind != "no reader":
        os.close(reader)


@pytest.mark.parametrize("kind", ["full disk", "no reader", "reader asleep"])
async def test_55_a_log_that_cannot_be_written_stops_no_call(tmp_path: Path, kind: str) -> None:
    """Records are lost and counted."""
    async with (
        broken_log(kind) as descriptor,
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], options=("--log-level", "debug"), stderr=descriptor) as edge,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        await edge.calls_succeed()
        edge.process.signal(signal.SIGHUP)
        async with Ua(await UdpWire.open("127.0.0.66", peer=edge.public)) as scanner:
            for method in ("FOO", "OPTIONS", "MESSAGE", "BYE"):
                await scanner.dialog(f"sip:{edge.public}").send(method, extra=("User-Agent: friendly-scanner",))
        await edge.calls_succeed()
        assert await edge.process.metric("edgesbc_log_records_lost_total") > 3
        nursery.cancel_scope.cancel()


async def test_55_without_standard_error_the_edge_runs(tmp_path: Path) -> None:
    program = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "edgesbc"]
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob], program) as edge,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        await edge.calls_succeed()
        assert os.readlink(f"/proc/{edge.process.process.pid}/fd/2") == os.devnull
        nursery.cancel_scope.cancel()


# --- 55: state files ----------------------------------------------------------------------------------------


async def test_55_a_ban_that_cannot_be_written_is_in_force_and_written_later(tmp_path: Path) -> None:
    """The disk is full for a while: no file of the edge may have a byte. Then the edge is killed, and starts again."""
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, trio.open_nursery() as nursery:
        nursery.start_soon(take_calls, bob)
        async with edge_for(tmp_path, [bob]) as edge:
            pid = edge.process.process.pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            await edge.command("bans add", prefix="192.0.2.66", by="test", why="abuse")
            await edge.process.comes_to("edgesbc_log_records_lost_total", 2)  # of the ban, and of the failed writing
            assert [ban["who"] for ban in (await edge.command("bans list"))["bans"]] == ["192.0.2.66"]
            assert not (tmp_path / "state" / "bans.json").exists()
            await edge.calls_succeed()
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await until(lambda: b"192.0.2.66" in state(tmp_path, "bans.json"))
            edge.process.signal(signal.SIGKILL)
            await edge.process.ended()
        async with edge_for(tmp_path, [bob]) as edge:
            assert [ban["who"] for ban in (await edge.command("bans list"))["bans"]] == ["192.0.2.66"]
        nursery.cancel_scope.cancel()


def state(folder: Path, name: str) -> bytes:
    try:
        return (folder / "state" / name).read_bytes()
    except FileNotFoundError:
        return b""


# --- 56: users of the machine -------------------------------------------------------------------------------

HTTP_GARBAGE = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(256)) * 4,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\5\0\0\0\1\x82" * 50,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: \xff\xff!\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n" + b"\xff" * 100,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\r\n\r\n\x81\x00",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + b"\xff" * 40,
    b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: [\r\n\r\n", b"GET * HTTP/1.0\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /why?q=" + b"%F0%9F" * 500 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200,
    b"\x16\x03\x01", b"\0", b"\r\n" * 5_000, b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: " + b"a" * 9_000,
]  # fmt: skip


def mutated(seed: int) -> bytes:
    """One of them with some bytes changed, cut or repeated."""
    source = random.Random(seed)
    data = bytearray(source.choice(HTTP_GARBAGE))
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(data) + 1)
        if source.random() < 0.5:
            data[at : at + source.randint(0, 4)] = source.choice((b"\0", b"\r\n", b"\xff", b":", b" ", b"2.0", b"h2c"))
        else:
            data[at:at] = data[source.randrange(len(data) + 1) :][:20]
    return bytes(data)


async def test_56_garbage_over_http_costs_its_connection(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob]) as edge,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        for data in HTTP_GARBAGE + [mutated(seed) for seed in range(300)]:
            with socket.create_connection(("127.0.0.1", edge.process.http), 10) as sock, suppress(OSError):
                await trio.to_thread.run_sync(sock.sendall, data)
                sock.settimeout(0.01)
                sock.recv(1)
        await edge.answers_http()
        await edge.calls_succeed()
        nursery.cancel_scope.cancel()


async def test_56_a_thousand_http_connections_do_not_keep_a_scrape_out(tmp_path: Path) -> None:
    """They are silent, or send a request that never ends, or do not read their answer; each has its deadlines."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob]) as edge,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        connections = []
        for number in range(1_000):
            sock = await connect(stack, Source("127.0.0.1", edge.process.http))
            data = (b"", b"GET /metrics HTTP/1.1\r\nHost: ", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[
                number % 3
            ]
            with suppress(OSError):
                sock.send(data)
            connections.append(sock)
        assert (await edge.process.get("/metrics"))[0] == 200
        await edge.calls_succeed()
        open_now = 0
        for sock in connections:
            sock.setblocking(False)
            try:
                while sock.recv(65_536):
                    pass
            except BlockingIOError:
                open_now += 1
            except OSError:
                pass
        assert open_now <= limits.HTTP_CONNECTIONS
        nursery.cancel_scope.cancel()


async def test_56_connections_to_the_control_socket_are_bounded(tmp_path: Path) -> None:
    """Those beyond the bound are told so and closed, and the silent ones have their deadline."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_for(tmp_path, [bob]) as edge,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(take_calls, bob)
        for number in range(300):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            await trio.to_thread.run_sync(sock.connect, str(tmp_path / "state" / "control.sock"))
            with suppress(OSError):
                sock.send((b"", b'{"command": ', b"\xff" * 100, b"[" * 5_000 + b"\n")[number % 4])
        await edge.calls_succeed()

        async def answered() -> bool:
            with suppress(NoAnswer, CommandRefused):
                return (await edge.command("bans list"))["bans"] == []
            return False

        await until(answered)
        nursery.cancel_scope.cancel()
