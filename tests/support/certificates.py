"""Certificates of an authority that lives as long as the test run."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


class Certificates:
    """The folder with a server's certificate and key, and the TLS context of a client that trusts its authority."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.issue(folder, "localhost", "127.0.0.1", "::1")
        self.client = ssl.create_default_context(cafile=str(self.ca_file))

    def issue(self, folder: Path, *names: str, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> Path:
        folder.mkdir(exist_ok=True)
        leaf = self.ca.issue_cert(*names, key_type=key_type)
        leaf.private_key_pem.write_to_path(folder / "privkey.pem")
        (folder / "fullchain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        return folder

    def load_odd(self, name: bytes, context: ssl.SSLContext) -> None:
        """Load a certificate of the authority into ``context`` whose DNS name is ``name``, whatever its bytes are."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        authority = load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(authority, ec.EllipticCurvePrivateKey)
        names = bytes((0x30, len(name) + 2, 0x82, len(name))) + name  # GeneralNames (RFC 5280 section 4.2.1.6)
        certificate = (
            x509.CertificateBuilder(issuer.subject, x509.Name(()), key.public_key(), x509.random_serial_number())
            .not_valid_before(issuer.not_valid_before_utc)
            .not_valid_after(issuer.not_valid_after_utc)
            .add_extension(x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, names), critical=True)
            .sign(authority, SHA256())
        )
        with tempfile.NamedTemporaryFile() as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.write(certificate.public_bytes(Encoding.PEM))
            file.flush()
            context.load_cert_chain(file.name)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


class Served:
    """A context for a server with a certificate for these names, and the SNI of its clients."""

    def __init__(self, certificates, folder: Path, *names: str) -> None:
        certificates.issue(folder, *names)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
        self.context.sni_callback = lambda conn, name, context: self.asked.append(name)
        self.asked: list[str | None] = []
