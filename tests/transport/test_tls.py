"""The versions and ciphers of TLS, and the names that are trusted (RFC 3261 section 26.3, RFC 5922)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
from support.running import CORE_UDP, at, listen, policy_text, running

from edgesbc import serve
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.certificates import make_development_certificates
from edgesbc.policy.model import ListenSettings
from edgesbc.streams.tls import peer_names
from edgesbc.transport.tls import client_context, server_context

TLS = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0))


def test_no_version_below_1_2_and_no_cipher_without_authentication(certificates) -> None:
    for context in (server_context(TLS, certificates.folder), client_context(TLS, None)):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert {cipher["aead"] for cipher in context.get_ciphers()} == {True}
    assert client_context(TLS, None).check_hostname


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_tls_listener_accepts_both_versions(tmp_path: Path, certificates, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=certificates.ca_file)
    context.minimum_version, context.maximum_version = version, version
    listener = listen("public", "tls", "127.0.0.1:0", "tls", f', certificate = "{certificates.folder}"')
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], [listener, CORE_UDP])) as app:
        plain = await trio.open_tcp_stream(*at(app, "tls"))
        secure = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
        with trio.fail_after(10):
            await secure.send_all(b"\r\n\r\n")
            assert bytes(await secure.receive_some()) == b"\r\n"
        await trio.aclose_forcefully(secure)


async def test_a_start_with_a_certificate_that_cannot_be_loaded_names_file_and_listener(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_development_certificates(folder)
    (folder / "privkey.pem").write_text("not PEM")
    listener = listen("public", "tls", "127.0.0.1:0", "phones", f', certificate = "{folder}"')
    file = tmp_path / "policy.toml"
    file.write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"], [listener, CORE_UDP]))
    with pytest.raises(OSError, match="listener phones: expected an unencrypted private key in PEM in ") as caught:
        async with serve(file):
            pass
    assert str(folder / "privkey.pem") in str(caught.value)


async def test_a_reload_with_a_certificate_that_cannot_be_loaded_names_both_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    make_development_certificates(folder)
    listener = listen("public", "tls", "127.0.0.1:0", "phones", f', certificate = "{folder}"')
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], [listener, CORE_UDP])) as app:
        (stream_listener,) = app.plane._stream_listeners
        before = stream_listener.context
        (folder / "fullchain.pem").unlink()
        reloaded = await app.reload()
        assert reloaded.mistakes == [
            f"listener phones: expected certificates in PEM in {folder}/fullchain.pem, found: No such file or directory"
        ]
        assert stream_listener.context is before


async def test_a_reload_renews_the_certificate_of_outgoing_connections_too(tmp_path: Path) -> None:
    """A carrier that asks for a client certificate would see the old one until a restart."""
    folder = tmp_path / "certs"
    make_development_certificates(folder)
    listener = listen("public", "tls", "127.0.0.1:0", "carriers", f', certificate = "{folder}"')
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], [listener, CORE_UDP])) as app:
        ((number, before),) = app.plane._clients.items()
        make_development_certificates(folder, force=True)
        assert (await app.reload()).mistakes == []
        assert app.plane._clients[number] is not before


def test_only_dns_names_of_a_certificate_count() -> None:
    """RFC 5922 section 7.1 allows URIs as well; see the deviations."""
    names = (("DNS", "SIP.Carrier.example"), ("URI", "sip:other.example"), ("IP Address", "192.0.2.1"))
    assert peer_names({"subject": ((("commonName", "no.example"),),), "subjectAltName": names}) == (
        "sip.carrier.example",
    )
    assert peer_names(None) == peer_names({}) == ()
