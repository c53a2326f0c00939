"""Certificate files that cannot be used: the error names listener and file, at a check, a start and a reload."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from edgesbc.policy.certificate_files import (
    authorities_mistake,
    certificate_mistakes,
    default_context,
    load_authorities,
    load_certificate,
)
from edgesbc.policy.certificates import make_development_certificates


def _missing(folder: Path) -> None:
    (folder / "fullchain.pem").unlink()


def _no_key(folder: Path) -> None:
    (folder / "privkey.pem").unlink()


def _no_pem(folder: Path) -> None:
    (folder / "fullchain.pem").write_text("not PEM")


def _key_for_certificate(folder: Path) -> None:
    (folder / "privkey.pem").write_bytes((folder / "fullchain.pem").read_bytes())


def _another_key(folder: Path) -> None:
    make_development_certificates(folder / "other")
    (folder / "other" / "privkey.pem").replace(folder / "privkey.pem")


def _pass_phrase(folder: Path) -> None:
    path = folder / "privkey.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"x")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))


def _short_key(folder: Path) -> None:
    """A key that cryptography reads, and OpenSSL refuses."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + timedelta(days=2)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encryption = serialization.NoEncryption()
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )


@pytest.mark.parametrize(
    ("spoil", "file", "found"),
    [
        (_missing, "fullchain.pem", "No such file or directory"),
        (_no_key, "privkey.pem", "No such file or directory"),
        (_no_pem, "fullchain.pem", "expected certificates in PEM"),
        (_key_for_certificate, "privkey.pem", "expected an unencrypted private key in PEM"),
        (_another_key, "privkey.pem", "found another one's"),
        (_pass_phrase, "privkey.pem", "expected an unencrypted private key in PEM"),
        (_short_key, "fullchain.pem", "found: ee key too small"),
    ],
)
def test_the_error_names_the_listener_and_the_file(
    tmp_path: Path, spoil: Callable[[Path], None], file: str, found: str
) -> None:
    make_development_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate(context, tmp_path, "carriers")
    assert list(certificate_mistakes(tmp_path)) == []
    spoil(tmp_path)
    with pytest.raises(OSError, match="listener carriers: ") as caught:
        load_certificate(context, tmp_path, "carriers")
    assert str(tmp_path / file) in str(caught.value)
    assert found in str(caught.value)
    assert "_ssl.c" not in str(caught.value)
    assert any(found in mistake for mistake in certificate_mistakes(tmp_path))


@pytest.mark.parametrize(("text", "found"), [(None, "No such file"), ("", "in PEM"), ("not PEM", "in PEM")])
def test_authorities_that_cannot_be_used(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    assert found in authorities_mistake(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for load in (lambda: load_authorities(context, path, "carriers"), lambda: default_context(path, "carriers")):
        with pytest.raises(OSError, match="listener carriers: ") as caught:
            load()
        assert str(path) in str(caught.value)
