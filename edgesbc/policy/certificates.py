"""Makes certificates: a small authority for development, and a self-signed one for listeners without a certificate."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgesbc.base import limits
from edgesbc.base.files import read_file, write_file

__all__ = ["FULL_CHAIN", "PRIVATE_KEY", "make_development_certificates", "own_certificate"]

FULL_CHAIN = "fullchain.pem"
PRIVATE_KEY = "privkey.pem"
AUTHORITY = "ca.pem"
ALWAYS = ("localhost", "127.0.0.1", "::1")

_LEAF_DAYS = 365
_RENEW_DAYS = 30
_BACKDATED = timedelta(hours=1)
"""How far the begin of validity lies back: a peer whose clock is a minute behind would refuse a certificate that is
valid from now on."""


def make_development_certificates(folder: str | Path, names: Iterable[str] = (), force: bool = False) -> list[Path]:
    """Make an authority and a leaf for ``localhost``, 127.0.0.1, ::1 and ``names`` in ``folder``.

    Writes ``ca.pem`` (for clients to trust), ``fullchain.pem`` and ``privkey.pem`` (readable by the owner alone) and
    returns their paths. The authority's own key is not stored, so that nothing else can be signed with it. Raises
    ``FileExistsError`` if one of the files exists, unless ``force``, and ``ValueError`` for a name that is neither a
    host name nor an address.
    """
    folder = Path(folder)
    paths = [folder / name for name in (AUTHORITY, FULL_CHAIN, PRIVATE_KEY)]
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise FileExistsError(f"there already: {', '.join(existing)}; --force makes new ones in their place")
    authority_key, leaf_key = _key(), _key()
    authority = _authority(authority_key)
    leaf = _leaf([*ALWAYS, *names], leaf_key, authority, authority_key)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(paths[0], _pem(authority), 0o644)
    write_file(paths[1], _pem(leaf) + _pem(authority), 0o644)
    write_file(paths[2], _private(leaf_key))
    return paths


def own_certificate(state_dir: Path, names: Iterable[str] = ()) -> Path:
    """Folder of the self-signed certificate for listeners without a certificate; made or renewed if needed.

    It is valid for a year, and renewed a month before its end or when ``names`` has a name that it lacks. Connections
    are encrypted, but a peer cannot verify the edge unless it is configured to trust this certificate. Raises
    ``OSError`` if ``state_dir`` cannot be written.
    """
    folder = state_dir / "self-signed"
    needed = sorted({*ALWAYS, *names})
    try:
        certificate = x509.load_pem_x509_certificate(read_file(folder / FULL_CHAIN, limits.PEM_BYTES))
        private_key = serialization.load_pem_private_key(read_file(folder / PRIVATE_KEY, limits.PEM_BYTES), None)
        # A crash between the two writes leaves a key that is not the one of the certificate.
        usable = private_key.public_key() == certificate.public_key() and _covers(certificate, needed)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: the key has a pass phrase
        usable = False
    if not usable:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        key = _key()
        write_file(folder / PRIVATE_KEY, _private(key))
        write_file(folder / FULL_CHAIN, _pem(_leaf(needed, key)), 0o644)
    return folder


def _covers(certificate: x509.Certificate, names: list[str]) -> bool:
    if certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(days=_RENEW_DAYS):
        return False
    present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(_general_names(names)) <= set(present)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    general_names: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            general_names.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            if not name.isascii() or not name.replace("-", "a").replace(".", "a").removeprefix("*").isalnum():
                raise ValueError(f"expected a host name or an IP address, found {name!r}") from None
            general_names.append(x509.DNSName(name))
    return general_names


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _named("edgesbc development authority")
    return (
        _builder(name, key, _LEAF_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    names: list[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None = None,
    authority_key: ec.EllipticCurvePrivateKey | None = None,
) -> x509.Certificate:
    """A certificate for server and client; self-signed without an authority."""
    subject = _named("edgesbc")
    signer = authority_key or key
    return (
        _builder(subject, key, _LEAF_DAYS)
        .issuer_name(subject if authority is None else authority.subject)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
