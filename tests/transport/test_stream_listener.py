"""Stream listeners on real sockets: limits, deadlines, certificates. Attacks are in tests/threats."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, listen, running, until
from support.stream_listeners import WS, event_count, open_connections, read_to_end, secure_listener, text
from support.ua import StreamWire, Ua

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.reasons import Reason


@pytest.fixture
def hasty_clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """A clock with real time that a test can advance."""
    mock_clock.rate = 1
    return mock_clock


@pytest.mark.parametrize("transport", ["tls", "ws", "wss"])
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_handshake_that_does_not_end_is_cut_off(
    tmp_path: Path, certificates, hasty_clock: trio.testing.MockClock, transport: str, sent: bytes
) -> None:
    async with running(
        tmp_path, text(tmp_path, secure_listener(transport, certificates) if transport != "ws" else WS)
    ) as app:
        stream = await trio.open_tcp_stream(*at(app, transport))
        if sent:
            await stream.send_all(sent)
        await until(lambda: bool(open_connections(app)))
        hasty_clock.jump(limits.HANDSHAKE_SECONDS)
        await read_to_end(stream)
        await until(lambda: not open_connections(app))
        assert event_count(app, transport, "handshake") == 1
        (sentence,) = app.why("127.0.0.1").sentences()
        assert f"on {transport} because {Reason.HANDSHAKE.meaning}" in sentence
        await trio.aclose_forcefully(stream)


async def test_a_silent_connection_is_closed(tmp_path: Path, hasty_clock: trio.testing.MockClock) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await until(lambda: len(app.plane.connections) == 1)
        hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS)
        assert await read_to_end(stream) == b""
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
        assert await read_to_end(fourth) == b""
        assert event_count(app, "public-tcp", "connections") == 1
        async with Ua(await StreamWire.open(tcp, host="127.0.0.5")) as other:
            await other.dialog(f"sip:{tcp}").send("OPTIONS")
            await other.response(200)
        await held.pop().aclose()
        await until(lambda: len(app.plane.connections) == 2)
        async with Ua(await StreamWire.open(tcp)) as second:
            await second.dialog(f"sip:{tcp}").send("OPTIONS")
            await second.response(200)
        for stream in [*held, fourth]:
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("listener", ["public-tcp", "ws"])
async def test_connections_in_all_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: str) -> None:
    """Over all listeners together: they share the descriptors."""
    monkeypatch.setattr(limits, "CONNECTIONS", 3)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 1)
    async with running(tmp_path, text(tmp_path, WS, edge="max_connections = 3")) as app:
        held = [await trio.open_tcp_stream(*at(app, "public-tcp"), local_address=f"127.0.0.{n}") for n in (5, 6)]
        await until(lambda: len(app.plane.connections) == 2)
        third = await trio.open_tcp_stream(*at(app, listener), local_address="127.0.0.7")
        assert await read_to_end(third) == b""
        assert event_count(app, listener, "connections") == 1
        for stream in [*held, third]:
            await trio.aclose_forcefully(stream)


async def test_untrusted_peers_leave_connections_for_trunks_and_the_private_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 4)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 2)
    core = listen("core", "tcp", "127.0.0.2:0", "core-tcp")
    async with running(tmp_path, text(tmp_path, core, trunks=["127.0.0.5"], edge="max_connections = 4")) as app:
        tcp, inside = at(app, "public-tcp"), at(app, "core-tcp")
        held = [await trio.open_tcp_stream(*tcp, local_address=f"127.0.0.{n}") for n in (66, 67)]
        await until(lambda: len(app.plane.connections) == 2)
        third = await trio.open_tcp_stream(*tcp, local_address="127.0.0.68")
        assert await read_to_end(third) == b""
        async with (
            Ua(await StreamWire.open(tcp, host="127.0.0.5")) as trunk,
            Ua(await StreamWire.open(inside, host="127.0.0.11")) as pbx,
        ):
            for peer, target in ((trunk, tcp), (pbx, inside)):
                await peer.dialog(f"sip:{target}").send("OPTIONS")
                await peer.response(200)
            one_more = await trio.open_tcp_stream(*tcp, local_address="127.0.0.5")
            assert await read_to_end(one_more) == b"", "the bound is that of descriptors"
        for stream in [*held, third, one_more]:
            await trio.aclose_forcefully(stream)
        await until(lambda: open_connections(app) == 0)


async def test_untrusted_connections_of_a_trunks_address_do_not_use_up_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trunk is listed with its port, and others are behind the same NAT."""
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 1)
    listed = trio.socket.socket()
    await listed.bind(("127.0.0.5", 0))
    port = listed.getsockname()[1]
    async with running(tmp_path, text(tmp_path, trunks=[f"127.0.0.5:{port}"])) as app:
        tcp = at(app, "public-tcp")
        untrusted = await trio.open_tcp_stream(*tcp, local_address="127.0.0.5")
        await until(lambda: len(app.plane.connections) == 1)
        await listed.connect(tuple(tcp))
        async with Ua(StreamWire(trio.SocketStream(listed), "TCP", "127.0.0.5", port)) as trunk:
            await trunk.dialog(f"sip:{tcp}").send("OPTIONS")
            await trunk.response(200)
        await trio.aclose_forcefully(untrusted)


async def test_a_listener_steers_trunks_to_an_accept_queue_of_their_own(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path, trunks=["127.0.0.5", "127.0.1.0/24"])) as app:
        (listener,) = app.plane._stream_listeners
        if listener.steering is None:
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        assert listener.steering.covered == 2
        assert app.plane.kernel_filters["public-tcp", "steering"] == ("kernel", 0)
        tcp = at(app, "public-tcp")
        for host in ("127.0.0.5", "127.0.1.9", "127.0.0.66"):  # peers of both sockets
            async with Ua(await StreamWire.open(tcp, host=host)) as peer:
                await peer.dialog(f"sip:{tcp}").send("OPTIONS")
                await peer.response(200)


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


async def test_a_fault_before_a_connection_is_open_is_counted_as_a_fault_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the peer's handshake."""

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("edgesbc.transport.stream_listener.server_session", broken)
    async with running(tmp_path, text(tmp_path, WS)) as app:
        stream = await trio.open_tcp_stream(*at(app, "ws"))
        await read_to_end(stream)
        await until(lambda: not open_connections(app))
        assert (event_count(app, "ws", "internal"), event_count(app, "ws", "handshake")) == (1, 0)
        await trio.aclose_forcefully(stream)
