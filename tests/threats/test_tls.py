"""THREATS 34: weak TLS, renegotiation, resumption, and connections that end in the middle of a handshake, by the
program `openssl s_client` where it can."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from support.certificates import Certificates
from support.peers import needs
from support.running import PATIENCE, PUBLIC_UDP, at, listen, policy_text, running, until
from support.s_client import s_client
from support.stream_listeners import Resources, event_count, open_connections, read_to_end, reset, secure_listener, text
from support.tls_peer import VERSIONS, TlsPeer, client_to, resuming, server_peer, shake_hands_over

from edgesbc.app import App
from edgesbc.base import limits

pytestmark = needs("openssl")

secure = pytest.mark.parametrize("transport", ["tls", "wss"])
OLD = {"1.0": "-tls1", "1.1": "-tls1_1"}
NEW = {"1.2": ("-tls1_2", "TLSv1.2"), "1.3": ("-tls1_3", "TLSv1.3")}
UNTRACKED = '[screen]\nstages = ["ratelimit", "sanity", "scanner", "method"]'
"""Without pike, which lets no untrusted peer open so many connections so fast."""
ENOUGH = "@SECLEVEL=0"
"""The client refuses nothing itself."""
WEAK = {
    "key exchange by RSA": "kRSA",
    "finite fields": "kDHE",
    "no authentication": "aNULL",
    "CBC": "ECDHE+AES:-AESGCM:-AESCCM",
    "CCM": "AESCCM",
    "Camellia": "CAMELLIA",
    "ARIA": "ARIA",
    "PSK": "PSK",
    "NULL": "eNULL",
    "all but ECDHE with AEAD": "ALL:COMPLEMENTOFALL:-ECDHE+AESGCM:-ECDHE+CHACHA20",
}


async def handshake(app: App, transport: str, *options: str) -> str:
    """The output of a client that ends after its handshake."""
    async with s_client(app, transport, *options) as client:
        assert client.process.stdin is not None
        await client.process.stdin.aclose()
        return await client.rest()


def edge(folder: Path, certificates: Certificates, transport: str) -> contextlib.AbstractAsyncContextManager[App]:
    return running(folder, text(folder, secure_listener(transport, certificates), more=UNTRACKED))


# --- versions, ciphers -----------------------------------------------------------------------------------


@secure
async def test_34_old_versions_are_refused(tmp_path: Path, certificates: Certificates, transport: str) -> None:
    async with edge(tmp_path, certificates, transport) as app:
        for refused, (version, option) in enumerate(OLD.items(), 1):
            output = await handshake(app, transport, option, "-cipher", f"ALL{ENOUGH}")
            assert "alert protocol version" in output, version
            assert "Cipher is (NONE)" in output, version
            await until(lambda: not open_connections(app))
            assert event_count(app, transport, "handshake") == refused


@secure
@pytest.mark.parametrize(("option", "version"), NEW.values(), ids=NEW.keys())
async def test_34_new_versions_are_taken_without_compression(
    tmp_path: Path, certificates: Certificates, transport: str, option: str, version: str
) -> None:
    async with edge(tmp_path, certificates, transport) as app:
        output = await handshake(app, transport, option, "-comp", "-CAfile", str(certificates.ca_file))
        assert f"New, {version}, Cipher is " in output
        cipher = output.split(f"New, {version}, Cipher is ")[1].split()[0]
        assert cipher.startswith(("ECDHE-", "TLS_"))
        assert "GCM" in cipher or "CHACHA20" in cipher
        assert "Compression: NONE" in output
        assert "Verify return code: 0 (ok)" in output
        await until(lambda: not open_connections(app))


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
@pytest.mark.parametrize("ciphers", WEAK.values(), ids=WEAK.keys())
async def test_34_weak_ciphers_are_refused(
    tmp_path: Path, certificates: Certificates, ciphers: str, key_type: trustme.KeyType
) -> None:
    folder = certificates.issue(tmp_path / "tls", "localhost", key_type=key_type)
    listener = listen("public", "tls", "127.0.0.1:0", "tls", f', certificate = "{folder}"')
    async with running(tmp_path, text(tmp_path, listener)) as app:
        output = await handshake(app, "tls", "-tls1_2", "-cipher", f"{ciphers}:{ENOUGH}", "-psk", "00112233")
        assert "alert handshake failure" in output
        await until(lambda: not open_connections(app))
        assert event_count(app, "tls", "handshake") == 1


async def test_34_weak_curves_and_signatures_are_refused(tmp_path: Path, certificates: Certificates) -> None:
    async with edge(tmp_path, certificates, "tls") as app:
        for options in (["-curves", "secp192r1"], ["-sigalgs", "RSA+SHA1:ECDSA+SHA1"]):
            output = await handshake(app, "tls", "-tls1_2", "-cipher", f"ALL:{ENOUGH}", *options)
            assert "alert handshake failure" in output, options


# --- renegotiation and resumption ------------------------------------------------------------------------


@secure
async def test_34_renegotiation_is_refused(tmp_path: Path, certificates: Certificates, transport: str) -> None:
    async with edge(tmp_path, certificates, transport) as app, s_client(app, transport, "-tls1_2") as client:
        await client.reads("Verify return code")
        await client.types("R")
        await client.reads("RENEGOTIATING")
        assert "no renegotiation" in await client.rest()
        await until(lambda: not open_connections(app))


@secure
@pytest.mark.parametrize(("option", "version"), NEW.values(), ids=NEW.keys())
async def test_34_a_session_is_resumed_until_certificates_are_loaded_anew(
    tmp_path: Path, certificates: Certificates, transport: str, option: str, version: str
) -> None:
    session = str(tmp_path / "session")
    async with edge(tmp_path, certificates, transport) as app:
        async with s_client(app, transport, option, "-msg", "-sess_out", session) as client:
            await client.reads(f"New, {version}")
            await until(lambda: Path(session).exists() and Path(session).stat().st_size > 0)
            await client.types("Q")  # it may still be writing the file: killed, it would leave half of one
            output = await client.rest()
            assert version != "TLSv1.3" or output.count("NewSessionTicket") == 1, "each costs 20 us of a handshake"
        assert f"Reused, {version}" in await handshake(app, transport, option, "-sess_in", session)
        app.plane.reload_certificates()
        assert f"New, {version}" in await handshake(app, transport, option, "-sess_in", session)


CARRIER = "sip.carrier.example"
ENDS = ("FIN", "RST", "garbage", "HTTP")


async def names_of(app: App, name: str, peer: TlsPeer) -> tuple[str, ...]:
    """The names that the edge knows the client by, after its handshake and a message."""
    stream = await trio.open_tcp_stream(*at(app, name))
    await shake_hands_over(stream, peer)
    await stream.send_all(peer.send(b"\r\n\r\n"))
    inside = b""
    with trio.fail_after(PATIENCE):
        while inside != b"\r\n":
            inside += peer.receive(bytes(await stream.receive_some()))
    (connection,) = app.plane.connections.values()
    assert connection.flow is not None
    names = connection.flow.names
    await stream.send_all(peer.close())
    await stream.aclose()
    await until(lambda: not app.plane.connections)
    return names


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_34_resumption_does_not_bypass_client_certificates(
    tmp_path: Path, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    """A resumed session has the names that its first handshake proved, and no others; a session of another listener is
    not resumed."""
    checked = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
    listeners = [secure_listener("tls", certificates), listen("public", "tls", "127.0.0.1:0", "checked", checked)]
    own = certificates.ca.issue_cert(CARRIER)
    async with running(tmp_path, text(tmp_path, *listeners, more=UNTRACKED)) as app:
        carrier = client_to(certificates.ca_file, version, prepare=own.configure_cert)
        assert await names_of(app, "checked", carrier) == (CARRIER,)
        again = resuming(carrier)
        assert await names_of(app, "checked", again) == (CARRIER,)
        assert again.tls.session_reused

        stranger = client_to(certificates.ca_file, version)
        assert await names_of(app, "checked", stranger) == ()
        own.configure_cert(stranger.tls.context)
        again = resuming(stranger)
        assert await names_of(app, "checked", again) == (), "it has proven nothing in the first handshake"
        assert again.tls.session_reused

        elsewhere = client_to(certificates.ca_file, version)
        assert await names_of(app, "tls", elsewhere) == ()
        again = resuming(elsewhere)
        assert await names_of(app, "checked", again) == ()
        assert not again.tls.session_reused

        app.plane.reload_certificates()
        again = resuming(carrier)
        assert await names_of(app, "checked", again) == (CARRIER,)
        assert not again.tls.session_reused, "an authority that was taken out of client_ca counts no more"


# --- ends in the middle of a handshake -------------------------------------------------------------------


@secure
@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_34_an_end_at_each_state_of_a_handshake_leaves_nothing(
    tmp_path: Path,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    version: ssl.TLSVersion,
) -> None:
    """By FIN, by RST, and by garbage: at once, not by a deadline."""
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 3600.0)
    monkeypatch.setattr(limits, "FIRST_MESSAGE_SECONDS", 3600.0)
    async with edge(tmp_path, certificates, transport) as app:
        before = Resources.now()
        for flight in range(3):
            for part in (0.0, 0.1, 0.5, 0.99, 1.0):
                for how in ENDS:
                    stream = await trio.open_tcp_stream(*at(app, transport))
                    peer = client_to(certificates.ca_file, version)
                    await partly(stream, peer, flight, part)
                    await end_by(how, stream)
        await until(lambda: not open_connections(app))
        await until(lambda: Resources.now().within(before))
        assert (app.edge.connections, app.plane.connections) == (0, {})
        assert ("public-tcp", "internal") not in app.plane.counts
        assert event_count(app, transport, "internal") == 0
        assert event_count(app, transport, "") == 0


async def end_by(how: str, stream: trio.SocketStream) -> None:
    """End a connection, or send what ends it, and wait for the other side's end."""
    if how == "RST":
        await reset(stream)
        return
    with contextlib.suppress(trio.BrokenResourceError):
        if how == "FIN":
            await stream.send_eof()
        else:
            await stream.send_all(b"\xff" * 20_000 if how == "garbage" else b"GET / HTTP/1.1\r\n" * 2_000)
        await read_to_end(stream)
    await trio.aclose_forcefully(stream)


async def partly(stream: trio.SocketStream, peer: TlsPeer, flight: int, part: float) -> None:
    """Send ``flight`` whole flights, and a part of the next one: of the handshake, and then of an Upgrade."""
    peer.receive()
    for _ in range(flight):
        await stream.send_all(peer.output())
        with trio.fail_after(PATIENCE):
            while not peer.is_open:
                peer.receive(bytes(await stream.receive_some()))
                if peer.pending_output:
                    break
    data = peer.output() or (peer.send(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n") if peer.is_open else b"")
    data = data[: int(len(data) * part)]
    if data:
        await stream.send_all(data)


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
async def test_34_a_destination_that_ends_at_each_state_of_a_handshake_leaves_nothing(
    tmp_path: Path, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    """Health checks open one connection after the other."""
    files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
    inside = listen("core", "tls", "127.0.0.1:0", "core-tls", files)
    (server,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = server.socket.getsockname()[1]
    member = f"sip:127.0.0.1:{port};transport=tls"
    policy = policy_text(tmp_path, [member], [PUBLIC_UDP, inside], health="interval = 0.05")
    async with running(tmp_path, policy) as app:
        first = await server.accept()
        await reset(first)
        before = Resources.now()
        for part in (0.0, 0.1, 0.5, 0.99, 1.0):
            for how in ENDS:
                with trio.fail_after(PATIENCE):
                    stream = await server.accept()
                    peer = server_peer(certificates, version)
                    peer.receive(bytes(await stream.receive_some()))
                    flight = peer.output()
                    await stream.send_all(flight[: int(len(flight) * part)])
                    await end_by(how, stream)
        await server.aclose()
        await until(lambda: Resources.now().within(before))
        assert event_count(app, "core-tls", "connect-failed") >= len(ENDS) * 4
        assert event_count(app, "core-tls", "internal") == 0
