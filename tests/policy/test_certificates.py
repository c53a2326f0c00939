"""Certificates made by the edge: a real handshake accepts them, and existing files are kept."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from edgesbc.policy import certificates
from edgesbc.policy.certificates import make_development_certificates, own_certificate


def handshake(folder: Path, trusted: Path, name: str) -> None:
    """A TLS handshake in memory between a server with ``folder`` and a client that trusts ``trusted``."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    client_context = ssl.create_default_context(cafile=trusted)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert client.version() == "TLSv1.3"


def names_in(folder: Path) -> set[str]:
    leaf = x509.load_pem_x509_certificate((folder / "fullchain.pem").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def test_a_client_that_trusts_the_authority_accepts_the_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    paths = make_development_certificates(folder, ["sip.example.com", "192.0.2.1", "2001:db8::1", "*.example.org"])
    assert [path.name for path in paths] == ["ca.pem", "fullchain.pem", "privkey.pem"]
    for name in ("localhost", "127.0.0.1", "::1", "sip.example.com", "192.0.2.1", "2001:db8::1", "a.example.org"):
        handshake(folder, folder / "ca.pem", name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(folder, folder / "ca.pem", "other.example.com")


def test_the_private_key_is_private(tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    assert (tmp_path / "privkey.pem").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "fullchain.pem", "privkey.pem"]


def test_the_authority_signs_servers_only(tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    leaf, authority = x509.load_pem_x509_certificates((tmp_path / "fullchain.pem").read_bytes())
    constraints = [
        certificate.extensions.get_extension_for_class(x509.BasicConstraints).value for certificate in (leaf, authority)
    ]
    assert [(constraint.ca, constraint.path_length) for constraint in constraints] == [(False, None), (True, 0)]
    assert leaf.not_valid_after_utc - datetime.now(UTC) < timedelta(days=398)  # browsers refuse longer ones


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    before = (tmp_path / "privkey.pem").read_bytes()
    with pytest.raises(FileExistsError, match=r"there already: .*privkey\.pem; --force"):
        make_development_certificates(tmp_path)
    assert (tmp_path / "privkey.pem").read_bytes() == before
    make_development_certificates(tmp_path, force=True)
    assert (tmp_path / "privkey.pem").read_bytes() != before
    handshake(tmp_path, tmp_path / "ca.pem", "localhost")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "bücher.example", "a_b\r\n"])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a host name or an IP address"):
        make_development_certificates(tmp_path / "dev", [name])
    assert not (tmp_path / "dev").exists()


def test_the_edges_own_certificate_is_kept(tmp_path: Path) -> None:
    folder = own_certificate(tmp_path / "state", ["127.0.0.9"])
    assert folder == tmp_path / "state" / "self-signed"
    assert names_in(folder) == {"localhost", "127.0.0.1", "::1", "127.0.0.9"}
    assert (folder / "privkey.pem").stat().st_mode & 0o777 == 0o600
    assert folder.parent.stat().st_mode & 0o077 == 0
    handshake(folder, folder / "fullchain.pem", "localhost")
    before = (folder / "fullchain.pem").read_bytes()
    assert own_certificate(tmp_path / "state", ["127.0.0.9"]) == folder
    assert own_certificate(tmp_path / "state") == folder  # fewer names need no new certificate
    assert (folder / "fullchain.pem").read_bytes() == before
    own_certificate(tmp_path / "state", ["10.0.0.1"])
    assert str(ip_address("10.0.0.1")) in names_in(folder)


def test_the_edges_own_certificate_is_renewed_when_it_is_broken_or_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = own_certificate(tmp_path)
    other_key = (own_certificate(tmp_path / "other") / "privkey.pem").read_bytes()
    damages: list[Callable[[], object]] = [
        lambda: (folder / "fullchain.pem").write_text("x"),
        lambda: (folder / "privkey.pem").unlink(),
        lambda: (folder / "privkey.pem").write_bytes(b""),
        lambda: (folder / "privkey.pem").write_bytes(other_key),  # what a kill between the two writes leaves
    ]
    for damage in damages:
        damage()
        own_certificate(tmp_path)
        handshake(folder, folder / "fullchain.pem", "localhost")
    before = (folder / "fullchain.pem").read_bytes()
    monkeypatch.setattr(certificates, "_RENEW_DAYS", 366)
    own_certificate(tmp_path)
    assert (folder / "fullchain.pem").read_bytes() != before
