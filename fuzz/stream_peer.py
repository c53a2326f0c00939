"""The other side of a fuzzed connection: what it writes becomes bytes on the wire, in the clear or by OpenSSL."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import trustme

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.transport.tls import client_context, server_context

__all__ = ["NAME", "Contexts", "Peer", "TlsPeer", "contexts"]

NAME: Final = "localhost"
"""In the certificate of the edge, and in that of the server that it connects to."""


class Contexts(NamedTuple):
    """TLS settings of the edge and of its peers."""

    edge_server: ssl.SSLContext
    edge_client: ssl.SSLContext
    server: ssl.SSLContext
    client: ssl.SSLContext
    client_of_tls_1_2: ssl.SSLContext


@cache
def contexts() -> Contexts:
    """The settings, with certificates that are made once in a process."""
    authority = trustme.CA()
    leaf = authority.issue_cert(NAME)
    with TemporaryDirectory() as name:
        folder = Path(name)
        leaf.private_key_pem.write_to_path(folder / "privkey.pem")
        (folder / "fullchain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        authority.cert_pem.write_to_path(folder / "ca.pem")
        listener = ListenSettings(zone=Zone.CORE, transport=Transport.TLS, bind=Source("127.0.0.1", 5061))
        connector = ListenSettings(
            zone=Zone.CORE, transport=Transport.TLS, bind=Source("127.0.0.1", 5061), client_ca=folder / "ca.pem"
        )
        edge_server, edge_client = server_context(listener, folder), client_context(connector, None)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client, old_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    authority.configure_trust(old_client)
    old_client.maximum_version = ssl.TLSVersion.TLSv1_2
    return Contexts(edge_server, edge_client, server, client, old_client)


class Peer:
    """A peer without TLS: what it writes is on the wire at once."""

    def __init__(self) -> None:
        self.is_open = True
        self.failed = False
        """Whether it has refused what the edge wrote, or the edge has told it by an alert that it failed."""
        self.was_closed = False
        """Whether the edge has sent close_notify."""
        self.received = bytearray()
        """What the edge has said, without TLS."""
        self._wire = bytearray()

    def feed(self, data: bytes) -> None:
        """Receive from the edge."""
        self.received += data

    def write(self, data: bytes) -> None:
        """Send to the edge; only while it is open."""
        self._wire += data

    def close(self) -> None:
        """Send close_notify."""

    def take(self) -> bytes:
        """The bytes on the wire since the last call."""
        taken = bytes(self._wire)
        self._wire.clear()
        return taken


class TlsPeer(Peer):
    """A peer with TLS: a client, or the server of a connection that the edge makes."""

    def __init__(self, context: ssl.SSLContext, is_server: bool) -> None:
        super().__init__()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=is_server, server_hostname=None if is_server else NAME
        )
        self.is_open = False
        self._go_on()

    def feed(self, data: bytes) -> None:
        self._incoming.write(data)
        self._go_on()

    def write(self, data: bytes) -> None:
        if not self.failed:
            self._tls.write(data)

    def close(self) -> None:
        if self.is_open and not self.failed:
            try:
                self._tls.unwrap()
            except ssl.SSLError:  # that of the edge has not come
                pass

    def take(self) -> bytes:
        return self._outgoing.read()

    def _go_on(self) -> None:
        if self.failed:
            return
        try:
            if not self.is_open:
                self._tls.do_handshake()
                self.is_open = True
            while data := self._tls.read(65_536):
                self.received += data
            self.was_closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.was_closed = True
        except ssl.SSLError:
            self.failed = True
