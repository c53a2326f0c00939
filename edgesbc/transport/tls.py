"""TLS settings of listeners and of connections to destinations: 1.2 and up, AEAD only, names verified."""

from __future__ import annotations

import ssl
from pathlib import Path

from edgesbc.base.address import Transport, Zone
from edgesbc.policy.certificate_files import default_context, load_authorities, load_certificate
from edgesbc.policy.model import ListenSettings

__all__ = ["client_context", "server_context"]

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def server_context(settings: ListenSettings, folder: Path) -> ssl.SSLContext:
    """The context of a ``tls`` or ``wss`` listener with the certificate in ``folder``.

    With ``client_ca``, a client may present a certificate; the handshake fails if it cannot be verified.
    Raises ``OSError`` that names the listener and the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    load_certificate(context, folder, settings.name)
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        load_authorities(context, settings.client_ca, settings.name)
    context.num_tickets = 1  # OpenSSL's default of 2 is for clients that open several connections at once
    if settings.transport is Transport.WSS:
        context.set_alpn_protocols(["http/1.1"])
    return context


def client_context(settings: ListenSettings, folder: Path | None) -> ssl.SSLContext:
    """The context of outgoing connections of a ``tls`` listener; the peer's name is verified (RFC 5922).

    The certificate authorities are those of ``client_ca`` if the listener has it, otherwise the system's. Raises
    ``OSError`` as :func:`server_context` does.
    """
    context = default_context(settings.client_ca, settings.name)
    _harden(context)
    if folder is not None and settings.zone is Zone.PUBLIC:
        load_certificate(context, folder, settings.name)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
