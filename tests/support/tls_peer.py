"""OpenSSL's own end of a TLS connection, between two buffers, and records that no OpenSSL would write."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from support.certificates import Certificates
from support.running import PATIENCE

from edgesbc.streams.layer import StreamCounts
from edgesbc.streams.sip_stream import SipLayer
from edgesbc.streams.tls import TlsLayer

__all__ = [
    "ALERT", "APPLICATION_DATA", "HANDSHAKE", "KEY_UPDATE", "VERSIONS", "RecordWriter", "TlsPeer", "client_to",
    "connect", "only", "records", "resuming", "server_layer", "server_peer", "shake_hands", "shake_hands_over",
]  # fmt: skip

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

# Types of records (RFC 8446 section 5.1).
ALERT = 21
HANDSHAKE = 22
APPLICATION_DATA = 23

KEY_UPDATE = b"\x18\x00\x00\x01"
"""A KeyUpdate (RFC 8446 section 4.6.3) without its last byte: 0, or 1 to ask the other side for one as well."""


class TlsPeer:
    """OpenSSL's client or, without ``server_name``, its server. Nothing is caught: an alert raises ``ssl.SSLError``."""

    def __init__(
        self, context: ssl.SSLContext, server_name: str | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=session,
        )
        self.is_open = False
        self.ended = False  # whether close_notify has come
        self.sent = b""  # all bytes written so far

    @property
    def pending_output(self) -> bool:
        return self._outgoing.pending > 0

    def output(self) -> bytes:
        data = self._outgoing.read()
        self.sent += data
        return data

    def receive(self, data: bytes = b"") -> bytes:
        """Go on with the handshake, or decrypt; returns what has come inside."""
        self._incoming.write(data)
        inside = b""
        try:
            if not self.is_open:
                self.tls.do_handshake()
                self.is_open = True
            while not self.ended:
                read = self.tls.read(65_536)
                inside += read
                self.ended = not read
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return inside

    def send(self, data: bytes) -> bytes:
        """The records with ``data``."""
        written = 0
        while written < len(data):
            written += self.tls.write(data[written:])
        return self.output()

    def close(self) -> bytes:
        """The record with close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self.output()


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """``context`` with this one version."""
    context.minimum_version = context.maximum_version = version
    return context


def client_to(
    ca_file: Path,
    version: ssl.TLSVersion | None = None,
    name: str = "localhost",
    *,
    keys: Path | None = None,
    alpn: Sequence[str] = (),
    prepare: Callable[[ssl.SSLContext], None] | None = None,
) -> TlsPeer:
    """OpenSSL's client, which trusts an authority and speaks one version. It writes its secrets to ``keys``;
    ``prepare`` may load its certificate."""
    context = ssl.create_default_context(cafile=str(ca_file))
    if prepare is not None:
        prepare(context)
    if keys is not None:
        context.keylog_filename = str(keys)
    if alpn:
        context.set_alpn_protocols(alpn)
    return TlsPeer(context if version is None else only(context, version), name)


def server_peer(certificates: Certificates, version: ssl.TLSVersion | None = None) -> TlsPeer:
    """OpenSSL's server, which speaks one version."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.folder / "fullchain.pem", certificates.folder / "privkey.pem")
    return TlsPeer(context if version is None else only(context, version))


def resuming(client: TlsPeer) -> TlsPeer:
    """A client that resumes the session of an earlier one, in its context."""
    return TlsPeer(client.tls.context, "localhost", client.tls.session)


def server_layer(context: ssl.SSLContext) -> TlsLayer:
    """SIP over TLS as a server has it."""
    counts = StreamCounts()
    layer = TlsLayer(counts, SipLayer(counts), context)
    layer.start()
    return layer


def connect(layer: TlsLayer, peer: TlsPeer) -> bytes:
    """Pass bytes between the two until neither has more; returns what the peer has got inside."""
    inside = peer.receive()
    while True:
        to_layer, to_peer = peer.output(), layer.take_output()
        if not to_layer and not to_peer:
            return inside
        if to_layer and layer.end is None:
            assert layer.receive(to_layer) == []
        inside += peer.receive(to_peer)


def shake_hands(layer: TlsLayer, client: TlsPeer, complete: bool = True) -> tuple[bytes, bytes]:
    """The handshake of a server's layer with a client, without the last flight unless it is to be ``complete``; returns
    the first flight of each."""
    client.receive()
    hello = client.output()
    layer.receive(hello)
    answer = layer.take_output()
    client.receive(answer)
    if complete:
        layer.receive(client.output())
        client.receive(layer.take_output())
        assert layer.is_open
        assert client.is_open
    return hello, answer


async def shake_hands_over(stream: trio.SocketStream, client: TlsPeer) -> None:
    """The handshake of a client with a running edge."""
    with trio.fail_after(PATIENCE):
        client.receive()
        while not client.is_open:
            await stream.send_all(client.output())
            data = bytes(await stream.receive_some())
            assert data, "closed"
            client.receive(data)
        await stream.send_all(client.output())


def records(data: bytes) -> list[bytes]:
    """The records of TLS in ``data``, by their headers."""
    found, at = [], 0
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
        assert end <= len(data), "a record is cut"
        found.append(data[at:end])
        at = end
    return found


class RecordWriter:
    """Encrypts records of any type and content as a client, after a handshake that ``keys`` (a file in the format of
    ``SSLContext.keylog_filename``) has the secrets of. The cipher must be AES-GCM.

    In TLS 1.2 ``opening`` has both sides' bytes of the handshake, for their random numbers; the client's first
    encrypted record was its Finished. In TLS 1.3 the client must have sent nothing since its Finished.
    """

    def __init__(self, peer: TlsPeer, keys: Path, opening: tuple[bytes, bytes] | None = None) -> None:
        name, version, bits = peer.tls.cipher() or ("", "", 0)
        assert "GCM" in name, name
        self._hash: HashAlgorithm = SHA384() if name.endswith("SHA384") else SHA256()
        self._bytes = bits // 8
        self.is_1_3 = version == "TLSv1.3"
        secrets = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in _lines(keys)}
        if self.is_1_3:
            self._use(secrets["CLIENT_TRAFFIC_SECRET_0"])
        else:
            assert opening is not None
            client, server = (data[11:43] for data in opening)
            block = self._prf(secrets["CLIENT_RANDOM"], b"key expansion" + server + client)
            self._cipher = AESGCM(block[: self._bytes])
            self._iv = block[2 * self._bytes : 2 * self._bytes + 4]
            self._number = 1

    def write(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """A record (RFC 8446 section 5.2, RFC 5288 section 3)."""
        number, self._number = self._number.to_bytes(8, "big"), self._number + 1
        if self.is_1_3:
            inner = content + bytes((kind,)) + bytes(padding)
            header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
            nonce = bytes(a ^ b for a, b in zip(self._iv, bytes(4) + number, strict=True))
            return header + self._cipher.encrypt(nonce, inner, header)
        begin = bytes((kind, 3, 3))
        sealed = self._cipher.encrypt(self._iv + number, content, number + begin + len(content).to_bytes(2, "big"))
        return begin + (len(sealed) + 8).to_bytes(2, "big") + number + sealed

    def key_update(self, request: bool = False) -> bytes:
        """A record with a KeyUpdate; the next record has the next key."""
        record = self.write(HANDSHAKE, KEY_UPDATE + bytes((request,)))
        self._use(self._expand(self._secret, b"traffic upd", self._hash.digest_size))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = AESGCM(self._expand(secret, b"key", self._bytes))
        self._iv = self._expand(secret, b"iv", 12)
        self._number = 0

    def _expand(self, secret: bytes, label: bytes, size: int) -> bytes:
        """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1)."""
        info = size.to_bytes(2, "big") + bytes((len(label) + 6,)) + b"tls13 " + label + b"\0"
        return HKDFExpand(self._hash, size, info).derive(secret)

    def _prf(self, secret: bytes, seed: bytes) -> bytes:
        """The key block (RFC 5246 sections 5 and 6.3)."""
        block, step = b"", seed
        while len(block) < 2 * self._bytes + 8:
            step = self._hmac(secret, step)
            block += self._hmac(secret, step + seed)
        return block

    def _hmac(self, key: bytes, data: bytes) -> bytes:
        mac = hmac.HMAC(key, self._hash)
        mac.update(data)
        return mac.finalize()


def _lines(keys: Path) -> list[str]:
    return [line for line in keys.read_text().splitlines() if line and not line.startswith("#")]
