"""THREATS 47: records of TLS and frames of WebSocket that cost work and never become a message, which the screen would
count."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from support.certificates import Certificates
from support.peers import needs
from support.running import at, running, until
from support.s_client import s_client
from support.stream_listeners import (
    WS,
    assert_answered,
    event_count,
    open_connections,
    read_to_end,
    secure_listener,
    text,
)
from support.stream_listeners import handshake as open_websocket
from support.tls_peer import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    VERSIONS,
    RecordWriter,
    client_to,
    records,
    server_layer,
    shake_hands,
    shake_hands_over,
)
from support.ua import StreamWire, Ua

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.base.reasons import Reason
from edgesbc.policy.model import ListenSettings
from edgesbc.screen.work import WorkSettings
from edgesbc.sip.framing import PING
from edgesbc.streams.session import StreamSession, server_session
from edgesbc.streams.tls import TlsLayer
from edgesbc.transport.connection import Connection
from edgesbc.transport.tls import server_context

MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n"
LARGEST = b"OPTIONS sip:a@b SIP/2.0\r\nl: 65498\r\n\r\n" + bytes(65_498)
PING_FRAME, PONG_FRAME = b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0"
EMPTY_FRAGMENT = b"\x00\x80\0\0\0\0"


class TlsClient:
    """A server's layer after the handshake with a client that then writes records by hand. If it is not ``complete``,
    the client's last flight has not come."""

    def __init__(self, folder: Path, certificates: Certificates, version: str, complete: bool = True) -> None:
        listener = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0))
        self.layer: TlsLayer = server_layer(server_context(listener, certificates.folder))
        keys = folder / "keys"
        peer = client_to(certificates.ca_file, VERSIONS[version == "1.3"], keys=keys)
        opening = shake_hands(self.layer, peer, complete)
        self.last_flight = b"" if complete else peer.output()
        self.hello = records(opening[0])[0][5:]
        self.records = RecordWriter(peer, keys, opening)

    def data(self, content: bytes = MESSAGE) -> bytes:
        return self.records.write(APPLICATION_DATA, content)

    def send(self, make: Callable[[], bytes], most: int) -> int:
        """Send records until the layer ends; returns the number of them."""
        for number in range(1, most + 1):
            assert self.layer.receive(make()) == []
            self.layer.take_output()
            if self.layer.end is not None:
                return number
        return most + 1


def key_update(client: TlsClient) -> bytes:
    return client.records.key_update()


def key_update_asking(client: TlsClient) -> bytes:
    """Each asks for a KeyUpdate in return."""
    return client.records.key_update(request=True)


def renegotiation(client: TlsClient) -> bytes:
    """Each is refused by an alert."""
    return client.records.write(HANDSHAKE, client.hello)


def empty(client: TlsClient) -> bytes:
    return client.records.write(APPLICATION_DATA, b"")


def padded(client: TlsClient) -> bytes:
    return client.records.write(APPLICATION_DATA, b"", padding=1_000)


def warning(client: TlsClient) -> bytes:
    """The alert `user_canceled`, or `no_renegotiation`."""
    return client.records.write(ALERT, b"\x01\x5a")


WITHOUT_DATA = [
    ("1.2", renegotiation), ("1.2", empty), ("1.2", warning),
    ("1.3", key_update), ("1.3", key_update_asking), ("1.3", empty), ("1.3", padded), ("1.3", warning),
]  # fmt: skip
without_data = pytest.mark.parametrize(
    ("version", "record"), WITHOUT_DATA, ids=[f"{record.__name__}-{version}" for version, record in WITHOUT_DATA]
)


@without_data
def test_47_records_without_data_are_bounded(
    tmp_path: Path, certificates: Certificates, version: str, record: Callable[[TlsClient], bytes]
) -> None:
    """KeyUpdate and refused renegotiation by the edge, the others by OpenSSL too."""
    client = TlsClient(tmp_path, certificates, version)
    sent = client.send(lambda: record(client), 10_000)
    assert sent == (5 if record is warning else limits.EMPTY_RECORDS + 1)
    assert client.layer.end is not None
    assert client.layer.end.reason == "tls"
    assert client.layer.counts.empty_records == sent
    assert client.layer.receive(client.data()) == []


@without_data
def test_47_data_that_is_no_message_does_not_count_anew(
    tmp_path: Path, certificates: Certificates, version: str, record: Callable[[TlsClient], bytes]
) -> None:
    """Which is what OpenSSL's own limits do."""
    client = TlsClient(tmp_path, certificates, version)
    client.layer.receive(client.data(b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\nSubject: "))
    sent = client.send(lambda: record(client) + client.data(b"a"), 10_000)
    assert sent == limits.EMPTY_RECORDS + 1


@without_data
def test_47_a_message_counts_anew(
    tmp_path: Path, certificates: Certificates, version: str, record: Callable[[TlsClient], bytes]
) -> None:
    """A connection that carries messages may live for ever: they are what is screened."""
    client = TlsClient(tmp_path, certificates, version)
    for _ in range(5):
        for _ in range(4 if record is warning else limits.EMPTY_RECORDS):
            assert client.layer.receive(record(client)) == []
        assert client.layer.receive(client.data()) == [MESSAGE]
        assert client.layer.receive(client.data(PING)) == [PING]
    assert client.layer.end is None


@without_data
def test_47_all_in_one_read(
    tmp_path: Path, certificates: Certificates, version: str, record: Callable[[TlsClient], bytes]
) -> None:
    """As many messages as came with them are passed on, and no more is read."""
    client = TlsClient(tmp_path, certificates, version)
    data = client.data() + b"".join(record(client) for _ in range(3 * limits.EMPTY_RECORDS))
    assert client.layer.receive(data) == [MESSAGE]
    assert client.layer.end is not None
    assert client.layer.end.reason == "tls"


@pytest.mark.parametrize("before", ["after the handshake", "with its end"])
def test_47_a_read_of_many_records_is_not_decrypted_whole(
    tmp_path: Path, certificates: Certificates, before: str
) -> None:
    """600 KeyUpdates would take 10 ms, in which no other connection is served."""
    client = TlsClient(tmp_path, certificates, "1.3", complete=before == "after the handshake")
    data = client.last_flight + b"".join(key_update_asking(client) for _ in range(limits.STREAM_READ_BYTES // 27))
    assert client.layer.receive(data[: limits.STREAM_READ_BYTES]) == []
    assert client.layer.end is not None
    assert client.layer.end.reason == "tls"
    assert client.layer.counts.records <= 2 * limits.EMPTY_RECORDS
    assert len(records(client.layer.take_output())) <= 2 * limits.EMPTY_RECORDS


def test_47_pings_in_many_records_of_one_read_pass(tmp_path: Path, certificates: Certificates) -> None:
    """They are screened."""
    client = TlsClient(tmp_path, certificates, "1.3")
    data = b"".join(client.data(PING) for _ in range(limits.STREAM_READ_BYTES // 26))
    assert client.layer.receive(data) == [PING] * 630
    assert client.layer.counts.records == 630
    assert client.layer.end is None
    assert not client.layer.pending


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_47_records_of_one_byte_are_bounded(tmp_path: Path, certificates: Certificates, version: str) -> None:
    client = TlsClient(tmp_path, certificates, version)
    sent = client.send(lambda: client.data(b"O"), 10_000)
    assert sent == limits.MESSAGE_RECORDS + 1
    assert client.layer.end is not None
    assert client.layer.end.reason == "tls"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_47_the_largest_message_in_small_records_passes(
    tmp_path: Path, certificates: Certificates, version: str
) -> None:
    assert len(LARGEST) == limits.MESSAGE_BYTES
    client = TlsClient(tmp_path, certificates, version)
    messages = []
    for at_byte in range(0, len(LARGEST), 32):
        messages += client.layer.receive(client.data(LARGEST[at_byte : at_byte + 32]))
    assert messages == [LARGEST]
    assert client.layer.end is None


@pytest.mark.parametrize("record_bytes", [1, 1_000, 16_000])
def test_47_a_handshake_of_many_bytes_is_bounded(certificates: Certificates, record_bytes: int) -> None:
    """A ClientHello of 128 KiB, as much as OpenSSL buffers, in records of any length."""
    listener = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0))
    layer = server_layer(server_context(listener, certificates.folder))
    hello = b"\x01\x01\xff\xff\x03\x03" + bytes(32) + b"\0" + b"\x00\x02\xc0\x2b\x01\0\xff\xff" + bytes(131_000)
    received = 0
    for at_byte in range(0, len(hello), record_bytes):
        part = hello[at_byte : at_byte + record_bytes]
        record = b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        received += len(record)
        layer.receive(record)
        if layer.end is not None:
            break
    assert layer.end is not None
    assert (layer.end.reason, layer.end.detail) == ("handshake", "a TLS handshake of too many bytes")
    assert limits.TLS_HANDSHAKE_BYTES < received <= limits.TLS_HANDSHAKE_BYTES + len(record)


# --- WebSocket -------------------------------------------------------------------------------------------


def websocket() -> StreamSession:
    session = server_session(Transport.WS, 0.0)
    session.receive(
        b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        0.0,
    )
    assert session.take_output().startswith(b"HTTP/1.1 101 ")
    return session


def text_frame(content: bytes, first: int = 0x81) -> bytes:
    return bytes((first, 0x80 | len(content))) + bytes(4) + content


FRAMES = {
    "pings": (b"", PING_FRAME),
    "pongs": (b"", PONG_FRAME),
    "empty fragments": (b"\x01\x80\0\0\0\0", EMPTY_FRAGMENT),
    "pings between fragments": (b"\x01\x80\0\0\0\0", PING_FRAME),
    "fragments of one byte": (b"\x01\x80\0\0\0\0", b"\x00\x81\0\0\0\0a"),
}


@pytest.mark.parametrize("piece", [1, 2_700], ids=["one by one", "many in one read"])
@pytest.mark.parametrize(("begin", "frame"), FRAMES.values(), ids=FRAMES.keys())
def test_47_frames_without_a_message_are_bounded(begin: bytes, frame: bytes, piece: int) -> None:
    session = websocket()
    sent = 0
    if begin:
        session.receive(begin, 0.0)
        sent = 1
    while session.end is None:
        assert session.receive(frame * piece, 0.0) == []
        sent += piece
        answers = session.take_output()
        assert len(answers) <= 2 * limits.WEBSOCKET_FRAMES + 4, "no answer is longer than its ping"
        assert sent <= limits.WEBSOCKET_FRAMES + piece
    assert session.end.reason == "websocket"
    session.close()
    assert (answers + session.take_output()).endswith(b"\x88\x02\x03\xf0"), "1008, RFC 6455 section 7.4.1"


@pytest.mark.parametrize("frame", [PING_FRAME, PONG_FRAME])
def test_47_a_message_counts_frames_anew(frame: bytes) -> None:
    session = websocket()
    for _ in range(3):
        session.receive(frame * (limits.WEBSOCKET_FRAMES - 1), 0.0)
        assert session.receive(text_frame(MESSAGE), 0.0) == [MESSAGE]
        session.take_output()
    assert session.end is None


def test_47_the_largest_message_in_small_fragments_passes() -> None:
    session = websocket()
    parts = [LARGEST[at_byte : at_byte + 32] for at_byte in range(0, len(LARGEST), 32)]
    frames = [text_frame(parts[0], 0x02), *(text_frame(part, 0) for part in parts[1:-1]), text_frame(parts[-1], 0x80)]
    assert session.receive(b"".join(frames), 0.0) == [LARGEST]


# --- over the wire ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_one", [True, False], ids=["asking for one in return", "not asking"])
async def test_47_key_updates_over_the_wire(tmp_path: Path, certificates: Certificates, request_one: bool) -> None:
    """Only that connection ends."""
    async with running(tmp_path, text(tmp_path, secure_listener("tls", certificates))) as app:
        tls = at(app, "tls")
        async with Ua(await StreamWire.open(tls, certificates.client)) as neighbour:
            await assert_answered(neighbour, f"sip:{tls}")
            stream = await trio.open_tcp_stream(*tls)
            peer = client_to(certificates.ca_file, VERSIONS[1], keys=tmp_path / "keys")
            await shake_hands_over(stream, peer)
            writer = RecordWriter(peer, tmp_path / "keys")
            with contextlib.suppress(trio.BrokenResourceError):
                for _ in range(limits.EMPTY_RECORDS + 1):
                    await stream.send_all(writer.key_update(request_one))
            peer.receive(await read_to_end(stream))
            assert peer.ended, "by close_notify"
            await until(lambda: open_connections(app) == 1)
            await assert_answered(neighbour, f"sip:{tls}")
            await trio.aclose_forcefully(stream)


def has_records(connection: Connection, number: int) -> bool:
    return connection.counts.records == number


@needs("openssl")
@pytest.mark.parametrize("command", ["K", "k"], ids=["asking for one in return", "not asking"])
async def test_47_key_updates_of_openssl_s_client(tmp_path: Path, certificates: Certificates, command: str) -> None:
    async with (
        running(tmp_path, text(tmp_path, secure_listener("tls", certificates))) as app,
        s_client(app, "tls", "-tls1_3", "-msg") as client,
    ):
        await until(lambda: bool(app.plane.connections))
        (connection,) = app.plane.connections.values()
        for number in range(1, limits.EMPTY_RECORDS + 2):
            await client.types(command)
            await until(partial(has_records, connection, number))
        output = await client.rest()
        assert output.count("KEYUPDATE") == limits.EMPTY_RECORDS + 1
        assert "close_notify" in output
        await until(lambda: not open_connections(app))


@pytest.mark.parametrize("frame", [PING_FRAME, EMPTY_FRAGMENT], ids=["pings", "empty fragments"])
async def test_47_frames_over_the_wire(tmp_path: Path, frame: bytes) -> None:
    async with running(tmp_path, text(tmp_path, WS)) as app:
        tcp = at(app, "public-tcp")
        async with Ua(await StreamWire.open(tcp)) as neighbour:
            stream, _ = await open_websocket(app)
            if frame is EMPTY_FRAGMENT:
                await stream.send_all(b"\x01\x80\0\0\0\0")
            await stream.send_all(frame * (limits.WEBSOCKET_FRAMES + 1))
            answers = await read_to_end(stream)
            assert answers.endswith(b"\x88\x02\x03\xf0")
            assert len(answers) <= 2 * limits.WEBSOCKET_FRAMES + 4
            await until(lambda: open_connections(app) == 1)
            await assert_answered(neighbour, f"sip:{tcp}")
            await trio.aclose_forcefully(stream)


CARRIER = "127.0.0.66"
ATTACKERS = ("127.0.0.71", "127.0.0.72")
KEEP_ALIVE = text_frame(b"\r\n\r\n")
ATTACKS = {
    "pings": PING_FRAME * 500 + KEEP_ALIVE,
    "pongs": PONG_FRAME * 500 + KEEP_ALIVE,
    "empty fragments": b"\x01\x80\0\0\0\0" + EMPTY_FRAGMENT * 500 + text_frame(b"\r\n\r\n", 0x80),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_47_many_websockets_of_a_few_addresses_that_send_frames_only(tmp_path: Path, attack: bytes) -> None:
    """64 WebSockets send as fast as they can, with a keep-alive now and then, so that no bound of a connection is
    reached. All are closed, and their addresses banned, while a trunk is answered and another peer connects."""
    arrivals = "[screen.pike]\nreqs_density_per_unit = 10000"  # this test is not about what it counts
    async with running(tmp_path, text(tmp_path, WS, trunks=[CARRIER], more=arrivals)) as app:
        tcp = at(app, "public-tcp")
        async with Ua(await StreamWire.open(tcp, host=CARRIER)) as trunk, trio.open_nursery() as nursery:
            streams = [(await open_websocket(app, host=ATTACKERS[number % 2]))[0] for number in range(64)]
            assert app.plane.stream_work == {("ws", "handshakes"): 64}
            for stream in streams:
                nursery.start_soon(send_until_closed, stream, attack)
            while open_connections(app) > 1:
                await assert_answered(trunk, f"sip:{tcp}")
            for host in ATTACKERS:
                refused = await trio.open_tcp_stream(*at(app, "ws"), local_address=host)
                assert await read_to_end(refused) == b""
                await trio.aclose_forcefully(refused)
                assert any(Reason.WORK.meaning in sentence for sentence in app.why(host).sentences())
        assert event_count(app, "ws", "banned") == len(ATTACKERS)
        assert not event_count(app, "ws", "websocket")
        most = 2 * limits.OFFENCES_OF_ADDRESS * (WorkSettings().burst + limits.STREAM_READ_BYTES // 6)
        assert sum(app.plane.stream_work.values()) - app.plane.stream_work["ws", "handshakes"] < 2 * most
        stream, answer = await open_websocket(app, host="127.0.0.73")
        assert answer.startswith("HTTP/1.1 101 ")
        await trio.aclose_forcefully(stream)


async def send_until_closed(stream: trio.SocketStream, data: bytes) -> None:
    """Send ``data`` again and again, and read what comes, until the edge closes the connection."""
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            await read_to_end(stream)
            nursery.cancel_scope.cancel()

        nursery.start_soon(read)
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(data)
    await trio.aclose_forcefully(stream)


async def test_47_failed_handshakes_are_work_of_their_address(tmp_path: Path, certificates: Certificates) -> None:
    """The default allows 250 of them at once, and five a second."""
    more = "[screen.work]\nburst = 100\n[screen.pike]\nreqs_density_per_unit = 10000"
    async with running(tmp_path, text(tmp_path, secure_listener("tls", certificates), more=more)) as app:
        tls = at(app, "tls")
        while not event_count(app, "tls", "banned"):
            stream = await trio.open_tcp_stream(*tls, local_address=ATTACKERS[0])
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(b"no TLS at all\r\n\r\n")
            await read_to_end(stream)
            await trio.aclose_forcefully(stream)
        assert app.plane.stream_work["tls", "handshakes"] == 6 * limits.OFFENCES_OF_ADDRESS
        async with Ua(await StreamWire.open(tls, certificates.client)) as neighbour:
            await assert_answered(neighbour, f"sip:{tls}")
