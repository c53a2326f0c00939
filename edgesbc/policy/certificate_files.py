"""The certificate files of a listener: which of them cannot be used, and why."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge, read_file
from edgesbc.policy.certificates import FULL_CHAIN, PRIVATE_KEY

__all__ = [
    "authorities_mistake", "certificate_mistakes", "default_context", "load_authorities", "load_certificate",
    "parsed_file",
]  # fmt: skip


def load_certificate(context: ssl.SSLContext, folder: Path, listener: str) -> None:
    """Load the certificate and key in ``folder`` for the listener of this name.

    Raises ``OSError`` that names listener and file, and says what was expected and found.
    """
    try:
        _load(context, folder)
    except OSError as error:  # ssl.SSLError among them, neither of which names the file
        mistakes = list(_unloadable(folder)) or [_refused(folder, error)]
        raise OSError(f"listener {listener}: {'; '.join(mistakes)}") from error


def load_authorities(context: ssl.SSLContext, path: Path, listener: str) -> None:
    """Trust the authorities in ``path``, the ``client_ca`` of the listener of this name.

    Raises ``OSError`` as :func:`load_certificate` does.
    """
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise OSError(f"listener {listener}: {authorities_mistake(path) or _reason(error)}") from error


def default_context(authorities: Path | None, listener: str) -> ssl.SSLContext:
    """A context of outgoing connections that trusts ``authorities``, or those of the system.

    Raises ``OSError`` as :func:`load_certificate` does.
    """
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        mistake = "" if authorities is None else authorities_mistake(authorities)
        raise OSError(f"listener {listener}: {mistake or _reason(error)}") from error


def certificate_mistakes(folder: Path) -> Iterator[str]:
    """What is wrong with the certificate and key in ``folder``, the time of validity included."""
    mistakes = list(_unloadable(folder))
    if mistakes:
        yield from mistakes
        return
    try:
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), folder)
    except OSError as error:
        yield _refused(folder, error)
        return
    now = datetime.now(UTC)
    leaf = x509.load_pem_x509_certificates(read_file(folder / FULL_CHAIN, limits.PEM_BYTES))[0]
    if leaf.not_valid_after_utc <= now:
        yield f"expected a certificate that is valid now, found one that ended on {leaf.not_valid_after_utc:%Y-%m-%d}"
    if leaf.not_valid_before_utc > now:
        yield f"expected a certificate that is valid now, found one that begins {leaf.not_valid_before_utc:%Y-%m-%d}"


def authorities_mistake(path: Path) -> str:
    """What is wrong with a file of certificates to trust, "" if nothing is."""
    _, mistake = parsed_file(path, "certificates in PEM", x509.load_pem_x509_certificates)
    if not mistake:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:
            mistake = f"expected certificates that OpenSSL accepts in {path}, found: {_reason(error)}"
    return mistake


def _load(context: ssl.SSLContext, folder: Path) -> None:
    # Without a password, OpenSSL would ask for one at the terminal.
    context.load_cert_chain(folder / FULL_CHAIN, folder / PRIVATE_KEY, password="")


def _unloadable(folder: Path) -> Iterator[str]:
    """Why the files in ``folder`` cannot be read, or do not belong together."""
    chain, mistake = parsed_file(folder / FULL_CHAIN, "certificates in PEM", x509.load_pem_x509_certificates)
    if mistake:
        yield mistake
    key, mistake = parsed_file(
        folder / PRIVATE_KEY,
        "an unencrypted private key in PEM",
        lambda data: serialization.load_pem_private_key(data, None).public_key(),
    )
    if mistake:
        yield mistake
    if isinstance(chain, list) and chain and key is not None and chain[0].public_key() != key:
        yield f"expected the key of {folder / FULL_CHAIN} in {folder / PRIVATE_KEY}, found another one's"


def _refused(folder: Path, error: OSError) -> str:
    return f"expected a certificate that OpenSSL accepts in {folder / FULL_CHAIN}, found: {_reason(error)}"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)


def parsed_file(path: Path, expected: str, parse: Callable[[bytes], object]) -> tuple[object, str]:
    """The parsed content of a small file and "", or None and the mistake."""
    try:
        return parse(read_file(path, limits.PEM_BYTES)), ""
    except OSError as error:
        return None, f"expected {expected} in {path}, found: {error.strerror}"
    except FileTooLarge as error:
        return None, str(error)
    # TypeError: a key that wants a pass phrase
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        return None, f"expected {expected} in {path}, found: {str(error).partition('. See ')[0]}"
