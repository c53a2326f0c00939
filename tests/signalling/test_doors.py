"""The doors of stream listeners on real sockets: caps, deadlines of handshakes, garbage, and what attackers leave."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import CORE_UDP, PUBLIC_TCP, PUBLIC_UDP, at, listen, policy_text, running, until
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.reasons import Reason


@pytest.fixture
def hasty_clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """Real time that a test can make jump."""
    mock_clock.rate = 1
    return mock_clock


def text(folder: Path, *more: str, member: str = "sip:127.0.0.11:9", **settings: object) -> str:
    return policy_text(folder, [member], [PUBLIC_UDP, PUBLIC_TCP, CORE_UDP, *more], **settings)  # type: ignore[arg-type]


def secured(transport: str, certificates) -> str:
    return listen("public", transport, "127.0.0.1:0", transport, f', certificate = "{certificates.folder}"')


async def closed(stream: trio.abc.Stream) -> bytes:
    """Everything until the end, which must come."""
    got = b""
    with trio.fail_after(10):
        try:
            while data := await stream.receive_some():
                got += bytes(data)
        except trio.BrokenResourceError:
            pass
    return got


def counted(app: App, listener: str, what: str) -> int:
    return app.plane.counts.get((listener, what), 0)


@pytest.mark.parametrize("transport", ["tls", "ws", "wss"])
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_handshake_that_does_not_end_is_cut_off(
    tmp_path: Path, certificates, hasty_clock: trio.testing.MockClock, transport: str, said: bytes
) -> None:
    async with running(tmp_path, text(tmp_path, secured(transport, certificates) if transport != "ws" else WS)) as app:
        stream = await trio.open_tcp_stream(*at(app, transport))
        if said:
            await stream.send_all(said)
        await until(lambda: bool(doors_inside(app)))
        hasty_clock.jump(limits.HANDSHAKE_SECONDS)
        await closed(stream)
        await until(lambda: not doors_inside(app))
        assert counted(app, transport, "handshake") == 1
        (sentence,) = app.why("127.0.0.1").sentences()
        assert f"on {transport} because {Reason.HANDSHAKE.meaning}" in sentence
        await trio.aclose_forcefully(stream)


WS = listen("public", "ws", "127.0.0.1:0", "ws")


def doors_inside(app: App) -> int:
    """Connections of all doors, those still in their handshake included."""
    return app.plane.places.inside


async def test_a_silent_connection_is_closed(tmp_path: Path, hasty_clock: trio.testing.MockClock) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await until(lambda: len(app.plane.connections) == 1)
        hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS)
        assert await closed(stream) == b""
        await until(lambda: not app.plane.connections)
        await trio.aclose_forcefully(stream)


async def test_connections_of_one_address_are_capped_and_others_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 3)
    async with running(tmp_path, text(tmp_path)) as app:
        tcp = at(app, "public-tcp")
        held = [await trio.open_tcp_stream(*tcp) for _ in range(3)]
        await until(lambda: len(app.plane.connections) == 3)
        fourth = await trio.open_tcp_stream(*tcp)
        assert await closed(fourth) == b""
        assert counted(app, "public-tcp", "connections") == 1
        async with Ua(await StreamWire.open(tcp, host="127.0.0.5")) as other:
            await other.dialog(f"sip:{tcp}").send("OPTIONS")
            await other.response(200)
        await held.pop().aclose()
        await until(lambda: len(app.plane.connections) == 2)
        async with Ua(await StreamWire.open(tcp)) as again:
            await again.dialog(f"sip:{tcp}").send("OPTIONS")
            await again.response(200)
        for stream in [*held, fourth]:
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("door", ["public-tcp", "ws"])
async def test_connections_in_all_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """Over all doors together: they share the descriptors."""
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 1)
    async with running(tmp_path, text(tmp_path, WS)) as app:
        held = [await trio.open_tcp_stream(*at(app, "public-tcp"), local_address=f"127.0.0.{n}") for n in (5, 6)]
        await until(lambda: len(app.plane.connections) == 2)
        third = await trio.open_tcp_stream(*at(app, door), local_address="127.0.0.7")
        assert await closed(third) == b""
        assert counted(app, door, "connections") == 1
        for stream in [*held, third]:
            await trio.aclose_forcefully(stream)


async def test_strangers_leave_trunks_and_the_private_side_a_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 4)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 2)
    core = listen("core", "tcp", "127.0.0.2:0", "core-tcp")
    async with running(tmp_path, text(tmp_path, core, trunks=["127.0.0.5"])) as app:
        tcp, inside = at(app, "public-tcp"), at(app, "core-tcp")
        held = [await trio.open_tcp_stream(*tcp, local_address=f"127.0.0.{n}") for n in (66, 67)]
        await until(lambda: len(app.plane.connections) == 2)
        third = await trio.open_tcp_stream(*tcp, local_address="127.0.0.68")
        assert await closed(third) == b""
        async with (
            Ua(await StreamWire.open(tcp, host="127.0.0.5")) as trunk,
            Ua(await StreamWire.open(inside, host="127.0.0.11")) as pbx,
        ):
            for peer, target in ((trunk, tcp), (pbx, inside)):
                await peer.dialog(f"sip:{target}").send("OPTIONS")
                await peer.response(200)
            one_more = await trio.open_tcp_stream(*tcp, local_address="127.0.0.5")
            assert await closed(one_more) == b"", "the bound is that of descriptors"
        for stream in [*held, third, one_more]:
            await trio.aclose_forcefully(stream)
        await until(lambda: doors_inside(app) == 0)


async def test_strangers_at_a_trunk_s_address_do_not_use_up_its_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trunk is listed with its port, and others are behind the same NAT."""
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 1)
    listed = trio.socket.socket()
    await listed.bind(("127.0.0.5", 0))
    port = listed.getsockname()[1]
    async with running(tmp_path, text(tmp_path, trunks=[f"127.0.0.5:{port}"])) as app:
        tcp = at(app, "public-tcp")
        stranger = await trio.open_tcp_stream(*tcp, local_address="127.0.0.5")
        await until(lambda: len(app.plane.connections) == 1)
        await listed.connect(tuple(tcp))
        async with Ua(StreamWire(trio.SocketStream(listed), "TCP", "127.0.0.5", port)) as trunk:
            await trunk.dialog(f"sip:{tcp}").send("OPTIONS")
            await trunk.response(200)
        await trio.aclose_forcefully(stranger)


async def test_a_door_steers_trunks_to_a_backlog_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, trunks=["127.0.0.5", "127.0.1.0/24"])) as app:
        (door,) = app.plane._doors
        if door.steering is None:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        assert door.steering.covered == 2
        assert app.plane.lanes["public-tcp", "steering"] == ("kernel", 0)
        tcp = at(app, "public-tcp")
        for host in ("127.0.0.5", "127.0.1.9", "127.0.0.66"):  # whichever socket it came by
            async with Ua(await StreamWire.open(tcp, host=host)) as peer:
                await peer.dialog(f"sip:{tcp}").send("OPTIONS")
                await peer.response(200)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: edge\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" * 20 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
async def test_what_is_not_sip_is_closed_without_an_answer(tmp_path: Path, said: bytes) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await stream.send_all(said)
        assert await closed(stream) == b""
        assert sum(app.edge.malformed.values()) == 1
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    "length", ["Content-Length: 0\r\nContent-Length: 5", "l: 0\r\nContent-Length: 0", "Content-Length: -1",
               "Content-Length: 99999999999999999999", "Content-Length: 5, 5", "Subject: no length"],
)  # fmt: skip
async def test_a_doubtful_length_is_answered_400_and_closed(tmp_path: Path, length: str) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        tcp = at(app, "public-tcp")
        async with Ua(await StreamWire.open(tcp)) as alice:
            dialog = alice.dialog(f"sip:{tcp}")
            broken = dialog.build("OPTIONS").replace(b"Content-Length: 0", length.encode())
            assert isinstance(alice.wire, StreamWire)
            await alice.wire.send(broken + dialog.build("OPTIONS"))
            got = await closed(alice.wire.stream)
            assert got.startswith((b"SIP/2.0 400 ", b"SIP/2.0 513 "))
            assert got.count(b"SIP/2.0 ") == 1, "only the broken one is answered"
        await until(lambda: not app.plane.connections)


async def test_connections_that_are_reset_after_an_invite_leave_nothing(
    tmp_path: Path, hasty_clock: trio.testing.MockClock
) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
    ):
        tcp = at(app, "public-tcp")
        tasks, descriptors = living_tasks(), open_descriptors()
        for _ in range(10):
            for _ in range(100):
                await invite_and_reset(tcp)
            await until(lambda: not doors_inside(app))
        assert app.edge.board.counts["public-tcp", "INVITE"] > 100, "they were heard"
        for _ in range(8):
            hasty_clock.jump(32)
            await trio.sleep(0.05)
        await until(lambda: app.edge.idle)
        assert (app.edge.dispatcher.leases, len(app.edge.board.flows), app.plane.connections) == (0, 0, {})
        assert (living_tasks(), open_descriptors()) == (tasks, descriptors)


async def invite_and_reset(tcp: Source) -> None:
    """An INVITE, and the connection torn down without a good-bye."""
    wire = await StreamWire.open(tcp)
    await wire.send(Ua(wire).dialog(f"sip:100@{tcp}").build("INVITE"))
    assert isinstance(wire.stream, trio.SocketStream)
    wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.stream.socket.close()


async def test_a_stranger_that_connects_again_and_again_is_held_to_the_density(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        for _ in range(100):
            await invite_and_reset(at(app, "public-tcp"))
        await until(lambda: not doors_inside(app) and app.edge.pipeline.counts.get(("pike", "pike"), 0) > 0)
        assert app.edge.board.counts["public-tcp", "INVITE"] < 100
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as other:
            await other.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await other.response(200)


def living_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_certificates_are_loaded_anew_and_a_bad_file_keeps_the_old(tmp_path: Path, certificates) -> None:
    folder = certificates.issue(tmp_path / "tls", "localhost")
    listener = listen("public", "tls", "127.0.0.1:0", "tls", f', certificate = "{folder}"')
    async with running(tmp_path, text(tmp_path, listener)) as app:
        first = await shown(app, certificates)
        certificates.issue(folder, "localhost")
        await app.reload()
        second = await shown(app, certificates)
        assert first != second
        (folder / "fullchain.pem").write_text("nothing")
        await app.reload()
        assert await shown(app, certificates) == second


async def shown(app: App, certificates) -> object:
    """The serial number of the certificate that a new handshake gets."""
    wire = await StreamWire.open(at(app, "tls"), certificates.client)
    assert isinstance(wire.stream, trio.SSLStream)
    certificate = wire.stream.getpeercert()
    await wire.aclose()
    return certificate["serialNumber"]


async def test_messages_in_pieces_and_a_ping_between_them(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        tcp = at(app, "public-tcp")
        stream = await trio.open_tcp_stream(*tcp)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        alice = Ua(StreamWire(stream, "TCP", *stream.socket.getsockname()[:2]))
        for byte in alice.dialog(f"sip:{tcp}").build("OPTIONS", b"a body"):
            await stream.send_all(bytes((byte,)))
        await alice.response(200)
        await stream.send_all(b"\r\n\r\n")
        with trio.fail_after(10):
            assert await stream.receive_some() == b"\r\n"
        one, two = (alice.dialog(f"sip:{tcp}").build("OPTIONS") for _ in range(2))
        await stream.send_all(one + b"\r\n" + two[:100])
        await alice.response(200)
        await stream.send_all(two[100:])
        await alice.response(200)
        await trio.aclose_forcefully(stream)
