"""TLS without I/O, against OpenSSL's own client and server between two buffers."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import Certificates
from support.tls_peer import (
    ALERT,
    APPLICATION_DATA,
    VERSIONS,
    RecordWriter,
    TlsPeer,
    client_to,
    connect,
    records,
    server_layer,
    server_peer,
    shake_hands,
)

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.session import client_session
from edgesbc.streams.sip_stream import SipLayer
from edgesbc.streams.tls import TlsLayer
from edgesbc.streams.websocket import WebSocketLayer
from edgesbc.transport.tls import client_context, server_context

MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\n\r\nbody"
LARGE = b"MESSAGE sip:a@b SIP/2.0\r\nl: 60000\r\n\r\n" + bytes(range(250)) * 240
BROKEN = b"\x80no SIP"
LISTENER = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0))

versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


@pytest.fixture(scope="session")
def server(certificates: Certificates) -> ssl.SSLContext:
    return server_context(LISTENER, certificates.folder)


def client_layer(context: ssl.SSLContext, name: str = "localhost") -> TlsLayer:
    counts = StreamCounts()
    layer = TlsLayer(counts, SipLayer(counts), context, name)
    layer.start()
    return layer


Pair = Callable[[ssl.TLSVersion], tuple[TlsLayer, TlsPeer]]


@pytest.fixture(params=["server", "client"], scope="session")
def pair(request: pytest.FixtureRequest, certificates: Certificates, server: ssl.SSLContext) -> Pair:
    """Makes a layer, as a server or as a client, and OpenSSL's own other end."""

    def make(version: ssl.TLSVersion) -> tuple[TlsLayer, TlsPeer]:
        if request.param == "server":
            return server_layer(server), client_to(certificates.ca_file, version)
        settings = ListenSettings(
            Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0), client_ca=str(certificates.ca_file)
        )
        return client_layer(client_context(settings, None)), server_peer(certificates, version)

    return make


def one_by_one(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def receive(layer: TlsLayer, pieces: Iterator[bytes]) -> list[bytes]:
    """The messages of ``pieces``, until the layer has ended."""
    messages: list[bytes] = []
    for piece in pieces:
        if layer.end is not None:
            break
        messages += layer.receive(piece)
    return messages


# --- handshakes ------------------------------------------------------------------------------------------


@versions
def test_a_handshake_and_messages_both_ways(pair: Pair, version: ssl.TLSVersion) -> None:
    layer, peer = pair(version)
    assert not layer.is_open
    connect(layer, peer)
    assert layer.is_open
    assert not layer.pending
    assert peer.tls.version() == version.name.replace("_", ".")
    assert layer.receive(peer.send(MESSAGE)) == [MESSAGE]
    assert peer.receive(layer.send(MESSAGE)) == MESSAGE
    assert layer.end is None


@versions
def test_a_handshake_byte_by_byte(pair: Pair, version: ssl.TLSVersion) -> None:
    layer, peer = pair(version)
    peer.receive()
    messages: list[bytes] = []
    while not (layer.is_open and peer.is_open):
        for byte in one_by_one(peer.output()):
            messages += layer.receive(byte)
        for byte in one_by_one(layer.take_output()):
            peer.receive(byte)
    for byte in one_by_one(peer.output() + peer.send(MESSAGE)):
        messages += layer.receive(byte)
    assert messages == [MESSAGE]
    for byte in one_by_one(layer.send(MESSAGE)):
        inside = peer.receive(byte)
    assert inside == MESSAGE
    assert layer.end is None


@versions
def test_the_first_messages_come_with_the_end_of_the_handshake(pair: Pair, version: ssl.TLSVersion) -> None:
    """A peer may send as soon as its side is complete."""
    layer, peer = pair(version)
    peer.receive()
    while not peer.is_open:
        layer.receive(peer.output())
        peer.receive(layer.take_output())
    assert layer.receive(peer.output() + peer.send(MESSAGE) + peer.send(MESSAGE)[:9]) == [MESSAGE]
    assert layer.is_open
    assert layer.pending


@versions
def test_what_is_sent_is_behind_the_end_of_the_handshake(
    certificates: Certificates, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    """The output that has not been taken when a message is sent comes before the message."""
    layer, peer = server_layer(server), client_to(certificates.ca_file, version)
    peer.receive()
    layer.receive(peer.output())
    peer.receive(layer.take_output())
    layer.receive(peer.output())
    assert layer.is_open
    assert peer.receive(layer.send(MESSAGE)) == MESSAGE


@versions
def test_large_messages_both_ways(pair: Pair, version: ssl.TLSVersion) -> None:
    """In several records, of at most 16 KiB each (RFC 8446 section 5.1)."""
    layer, peer = pair(version)
    connect(layer, peer)
    assert layer.receive(peer.send(LARGE)) == [LARGE]
    written = layer.send(LARGE)
    assert len(records(written)) == 4
    assert peer.receive(written) == LARGE
    connect(layer, peer)
    written = peer.send(LARGE * 3)
    pieces = (written[at : at + 1000] for at in range(0, len(written), 1000))
    assert receive(layer, pieces) == [LARGE] * 3


# --- the end ---------------------------------------------------------------------------------------------


@versions
def test_the_peer_closes(pair: Pair, version: ssl.TLSVersion) -> None:
    """What came before close_notify is passed on, and can still be answered (RFC 8446 section 6.1)."""
    layer, peer = pair(version)
    connect(layer, peer)
    assert layer.receive(peer.send(MESSAGE) + peer.close()) == [MESSAGE]
    assert layer.end is not None
    assert (layer.end.reason, layer.end.cause) == ("", None)
    answer = layer.send(MESSAGE)
    layer.close()
    assert [record[0] for record in records(answer + layer.take_output())] == (
        [APPLICATION_DATA, ALERT] if version is ssl.TLSVersion.TLSv1_2 else [APPLICATION_DATA] * 2
    )
    assert layer.receive(b"more") == []


@versions
def test_this_side_closes(pair: Pair, version: ssl.TLSVersion) -> None:
    """Messages that are sent before the output is taken are still written before close_notify; none follows it."""
    layer, peer = pair(version)
    connect(layer, peer)
    layer.close()
    written = layer.send(MESSAGE) + layer.take_output()
    assert peer.receive(written) == MESSAGE
    assert peer.ended
    assert layer.send(MESSAGE) == b""
    layer.close()
    assert layer.take_output() == b""


def test_a_handshake_that_is_closed_says_nothing(pair: Pair) -> None:
    layer, peer = pair(VERSIONS[1])
    peer.receive()
    layer.take_output()
    layer.close()
    assert layer.take_output() == b""


@versions
def test_the_transport_ends_at_any_point_of_a_handshake(pair: Pair, version: ssl.TLSVersion) -> None:
    """Without a flight, in the middle of each, and after each."""
    cut = 0
    while True:
        layer, peer = pair(version)
        peer.receive()
        ended = _carry(layer, peer, cut)
        layer.receive_end()
        assert layer.end is not None
        assert layer.end.reason == ("" if layer.is_open else "handshake")
        assert not layer.peer_names or layer.is_open
        layer.close()
        layer.take_output()
        if not ended:
            break
        cut += 97
    assert layer.is_open
    assert cut > 200


def _carry(layer: TlsLayer, peer: TlsPeer, most: int) -> bool:
    """Carry at most so many bytes from the peer; whether that was too few for the handshake."""
    while not (layer.is_open and peer.is_open):
        data = peer.output()
        if len(data) > most:
            layer.receive(data[:most])
            return True
        most -= len(data)
        layer.receive(data)
        peer.receive(layer.take_output())
    return False


def test_the_end_of_tls_before_that_of_the_inner_handshake_is_a_failed_handshake(
    certificates: Certificates, server: ssl.SSLContext
) -> None:
    for cut in ("close_notify", "garbage"):
        counts = StreamCounts()
        layer = TlsLayer(counts, WebSocketLayer(counts), server)
        peer = client_to(certificates.ca_file)
        connect(layer, peer)
        assert not layer.is_open
        layer.receive(peer.send(b"GET / HTTP/1.1\r\n") + (peer.close() if cut == "close_notify" else b"G" * 20))
        assert layer.end is not None
        assert layer.end.reason == "handshake"


@versions
def test_what_the_inner_layer_has_to_say_comes_before_the_end(
    certificates: Certificates, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    counts = StreamCounts()
    layer = TlsLayer(counts, WebSocketLayer(counts), server)
    peer = client_to(certificates.ca_file, version)
    connect(layer, peer)
    layer.receive(peer.send(b"no HTTP\r\n\r\n"))
    assert layer.end is not None
    layer.close()
    assert peer.receive(layer.take_output()).startswith(b"HTTP/1.1 400 ")
    assert peer.ended


# --- garbage ---------------------------------------------------------------------------------------------

GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "SIP": MESSAGE,
    "NUL": bytes(64),
    "a record of no type": b"\x63\x03\x03\x00\x04abcd",
    "a record of 65,535 bytes": b"\x17\x03\x03\xff\xff" + bytes(65_535),
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "application data": b"\x17\x03\x03\x00\x20" + bytes(32),
    "a handshake message of 16 MB": b"\x16\x03\x03\x00\x04\x01\xff\xff\xff",
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
}

RECORDS = [garbage for name, garbage in GARBAGE.items() if name in ("application data", "a record of 65,535 bytes")]


@versions
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_at_each_state_ends_with_an_alert(pair: Pair, version: ssl.TLSVersion, garbage: bytes) -> None:
    for flights in range(4):
        layer, peer = pair(version)
        peer.receive()
        for _ in range(flights):
            layer.receive(peer.output())
            peer.receive(layer.take_output())
        was_open, spoken = layer.is_open, bool(peer.sent)
        layer.take_output()
        assert layer.receive(garbage + bytes(64)) == []
        assert layer.end is not None, f"after {flights} flights"
        assert layer.end.reason == ("tls" if was_open else "handshake")
        assert isinstance(layer.end.cause, ssl.SSLError)
        assert layer.end.detail
        layer.close()
        said = [record[0] for record in records(layer.take_output())]
        assert layer.receive(garbage) == []
        assert layer.send(MESSAGE) == b""
        if garbage is GARBAGE["an alert"] or (not spoken and garbage not in RECORDS):
            continue  # OpenSSL answers no alert by another, and no other protocol's first bytes by TLS
        assert len(said) == 1, f"after {flights} flights"
        assert said[0] == ALERT or version is ssl.TLSVersion.TLSv1_3


@given(data=st.data())
@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_flipped_bytes_never_change_a_message(pair: Pair, version: ssl.TLSVersion, data: st.DataObject) -> None:
    """Nothing is raised; what comes out is what was sent, or the begin of it."""
    layer, peer = pair(version)
    flips = data.draw(st.dictionaries(st.integers(0, 3_000), st.integers(1, 255), min_size=1, max_size=3))
    at = 0
    messages: list[bytes] = []
    with suppress(ssl.SSLError):  # the peer may find out first
        peer.receive()
        for _ in range(6):
            sent = bytearray(peer.output() + (peer.send(MESSAGE) if peer.is_open else b""))
            for place, mask in flips.items():
                if at <= place < at + len(sent):
                    sent[place - at] ^= mask
            at += len(sent)
            if layer.end is None:
                messages += layer.receive(bytes(sent))
            else:
                assert layer.end.reason in ("handshake", "tls", "")
            peer.receive(layer.take_output())
    assert set(messages) <= {MESSAGE}
    assert layer.counts.empty_records <= layer.counts.records
    layer.close()
    layer.take_output()


# --- counts ----------------------------------------------------------------------------------------------


@versions
def test_records_are_counted_exactly(
    tmp_path: Path, certificates: Certificates, server: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    layer, peer, writer = hand_made(tmp_path, certificates, server, version)
    counts = layer.counts
    assert (counts.records, counts.empty_records) == (0, 0), "those of the handshake are not counted"
    half, rest = MESSAGE[:10], MESSAGE[10:]
    written = [writer.write(APPLICATION_DATA, part) for part in (half, b"", rest, MESSAGE * 3, b"")]
    if writer.is_1_3:
        written += [writer.key_update(), writer.write(APPLICATION_DATA, MESSAGE, padding=900)]
    else:
        written += [writer.write(ALERT, b"\x01\x5a"), writer.write(APPLICATION_DATA, MESSAGE)]
    data = b"".join(written)
    assert layer.receive(data[: len(written[0]) + 3]) == []
    assert (counts.records, counts.empty_records) == (1, 0), "a header that is not whole is not counted"
    assert layer.pending
    messages = receive(layer, one_by_one(data[len(written[0]) + 3 :]))
    assert messages == [MESSAGE] * 5
    assert (counts.records, counts.empty_records) == (7, 3)
    assert not layer.pending
    assert peer.receive(layer.take_output()) == b""


def hand_made(
    folder: Path, certificates: Certificates, server: ssl.SSLContext, version: ssl.TLSVersion
) -> tuple[TlsLayer, TlsPeer, RecordWriter]:
    """A server's layer after its handshake with OpenSSL's client, and what writes more records as that client."""
    layer = server_layer(server)
    peer = client_to(certificates.ca_file, version, keys=folder / "keys")
    return layer, peer, RecordWriter(peer, folder / "keys", shake_hands(layer, peer))


@versions
def test_records_are_counted_however_they_are_cut(pair: Pair, version: ssl.TLSVersion) -> None:
    for size in (1, 2, 3, 4, 5, 6, 7, 50, 5_000, 100_000):
        layer, peer = pair(version)
        connect(layer, peer)
        before = layer.counts.records
        written = b"".join(peer.send(MESSAGE) for _ in range(200))
        pieces = (written[at : at + size] for at in range(0, len(written), size))
        assert receive(layer, pieces) == [MESSAGE] * 200
        assert layer.counts.records == before + 200
        assert not layer.pending


def test_what_follows_a_broken_message_is_not_decrypted(certificates: Certificates, server: ssl.SSLContext) -> None:
    layer, peer = server_layer(server), client_to(certificates.ca_file)
    connect(layer, peer)
    assert layer.receive(peer.send(MESSAGE) + peer.send(BROKEN) + peer.send(MESSAGE)) == [MESSAGE]
    assert layer.end is not None
    assert layer.end.error is not None
    assert layer.end.broken == BROKEN
    assert (layer.counts.records, layer.counts.empty_records) == (2, 0)


# --- names and certificates ------------------------------------------------------------------------------


def settings(certificates: Certificates, transport: Transport = Transport.TLS) -> ListenSettings:
    """A listener that verifies the certificates of clients, and of destinations."""
    return ListenSettings(Zone.PUBLIC, transport, Source("127.0.0.1", 0), client_ca=str(certificates.ca_file))


@versions
def test_the_names_of_a_client(certificates: Certificates, version: ssl.TLSVersion) -> None:
    context = server_context(settings(certificates), certificates.folder)
    for names in ((), ("A.carrier.example", "b.carrier.example", "192.0.2.1")):
        prepare = certificates.ca.issue_cert(*names).configure_cert if names else None
        layer, peer = server_layer(context), client_to(certificates.ca_file, version, prepare=prepare)
        assert layer.peer_names == ()
        peer.receive()
        layer.receive(peer.output())
        assert layer.peer_names == (), "not before the client has proven them"
        peer.receive(layer.take_output())
        layer.receive(peer.output())
        assert layer.is_open
        assert layer.peer_names == tuple(name.lower() for name in names if "carrier" in name)


@versions
def test_a_clients_certificate_of_another_authority_ends_the_handshake(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = server_context(settings(certificates), certificates.folder)
    prepare = trustme.CA().issue_cert("a.carrier.example").configure_cert
    layer, peer = server_layer(context), client_to(certificates.ca_file, version, prepare=prepare)
    with pytest.raises(ssl.SSLError, match="unknown ca"):
        connect(layer, peer)
    assert not layer.is_open
    assert layer.peer_names == ()
    assert layer.end is not None
    assert layer.end.reason == "handshake"
    assert isinstance(layer.end.cause, ssl.SSLCertVerificationError)


@versions
def test_a_name_that_is_no_text_is_no_name(certificates: Certificates, version: ssl.TLSVersion) -> None:
    """An authority may sign it; the handshake is good, and the peer has no name."""
    context = server_context(settings(certificates), certificates.folder)
    prepare = partial(certificates.load_odd, b"\xff\xfe.example")
    layer, peer = server_layer(context), client_to(certificates.ca_file, version, prepare=prepare)
    connect(layer, peer)
    assert layer.is_open
    assert layer.peer_names == ()


@pytest.mark.parametrize(
    ("name", "found"),
    [("other.example", "Hostname mismatch"), ("192.0.2.7", "IP address mismatch"), ("::2", "IP address mismatch")],
)
@versions
def test_a_server_with_another_name_is_refused(
    certificates: Certificates, version: ssl.TLSVersion, name: str, found: str
) -> None:
    layer = client_layer(client_context(settings(certificates), None), name)
    peer = server_peer(certificates, version)
    with pytest.raises(ssl.SSLError, match="bad certificate"):
        connect(layer, peer)
    assert not layer.is_open
    assert layer.end is not None
    assert layer.end.reason == "handshake"
    assert isinstance(layer.end.cause, ssl.SSLCertVerificationError)
    assert found in layer.end.cause.verify_message


def test_a_server_of_an_unknown_authority_is_refused(certificates: Certificates) -> None:
    layer, peer = client_layer(client_context(LISTENER, None)), server_peer(certificates)
    with pytest.raises(ssl.SSLError, match="unknown ca"):
        connect(layer, peer)
    assert layer.end is not None
    assert isinstance(layer.end.cause, ssl.SSLCertVerificationError)


@pytest.mark.parametrize(
    ("name", "sni"), [("localhost", "localhost"), ("LocalHost", "LocalHost"), ("127.0.0.1", None), ("::1", None)]
)
def test_a_name_is_sent_as_sni_and_an_address_is_not(certificates: Certificates, name: str, sni: str | None) -> None:
    """RFC 6066 section 3; both are verified."""
    asked: list[str | None] = []
    peer = server_peer(certificates)
    peer.tls.context.sni_callback = lambda connection, server_name, context: asked.append(server_name)
    layer = client_layer(client_context(settings(certificates), None), name)
    connect(layer, peer)
    assert layer.is_open
    assert asked == [sni]
    assert "localhost" in layer.peer_names


@pytest.mark.parametrize("name", ["", ".example.com", "a" * 64 + ".example.com"])
def test_a_client_needs_a_name_to_verify(certificates: Certificates, name: str) -> None:
    """It is not made a server, nor a client that verifies nothing."""
    context = client_context(settings(certificates), None)
    with pytest.raises(ValueError, match=r"."):
        client_session(0.0, 5.0, context, name)
    assert client_session(0.0, 5.0, None, name).is_open, "without TLS no name is proven"


@pytest.mark.parametrize(
    ("offered", "agreed"), [([], None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None)]
)
def test_alpn_of_wss(certificates: Certificates, offered: list[str], agreed: str | None) -> None:
    """A browser that would speak HTTP/2 does not; without a protocol in common the handshake goes on."""
    context = server_context(settings(certificates, Transport.WSS), certificates.folder)
    layer, peer = server_layer(context), client_to(certificates.ca_file, alpn=offered)
    connect(layer, peer)
    assert peer.tls.selected_alpn_protocol() == agreed
    assert layer.is_open
