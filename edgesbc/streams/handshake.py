"""The opening handshake of a WebSocket, as a server answers it (RFC 6455 section 4.2, RFC 7118 section 4)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Final

import h11

__all__ = ["HandshakeError", "accept_request"]

SUBPROTOCOL: Final = "sip"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_VERSION: Final = b"13"
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")
"""16 bytes in base64. The spare bits of its last character may be set, as in the example of RFC 6455 section 4.1."""
_REASONS: Final = {
    400: b"Bad Request", 403: b"Forbidden", 426: b"Upgrade Required", 431: b"Request Header Fields Too Large",
}  # fmt: skip

_Fields = dict[bytes, list[bytes]]


class HandshakeError(Exception):
    """The request cannot open a WebSocket. ``reason`` is a label for metrics, ``response`` is for the peer."""

    def __init__(self, detail: str, reason: str = "handshake", status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        # RFC 6455 section 4.4: the versions that the server has; RFC 9110 section 15.5.22: the protocol to upgrade to.
        more = b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" if status == 426 else b""
        options = b"Upgrade, close" if status == 426 else b"close"
        self.response = b"HTTP/1.1 %d %b\r\n%bConnection: %b\r\nContent-Length: 0\r\n\r\n" % (
            status, _REASONS[status], more, options,
        )  # fmt: skip


def accept_request(head: bytes, origins: Sequence[str]) -> bytes:
    """The response that opens the WebSocket, to a request with its blank line (RFC 6455 section 4.2).

    With ``origins``, the request must have one Origin, which is one of them. Raises :class:`HandshakeError`.
    """
    fields = _http_request(head)
    if "websocket" not in _elements(fields, b"upgrade", fold=True):
        raise HandshakeError("no Upgrade to websocket")
    if "upgrade" not in _elements(fields, b"connection", fold=True):
        raise HandshakeError("no Connection with the option Upgrade")
    if _only(fields, b"sec-websocket-version") != _VERSION:
        raise HandshakeError("a version of the protocol other than 13", status=426)
    key = _only(fields, b"sec-websocket-key")
    if not _KEY.fullmatch(key):
        raise HandshakeError("a Sec-WebSocket-Key that is not 16 bytes in base64")
    _elements(fields, b"sec-websocket-extensions")  # none is agreed
    subprotocols = _elements(fields, b"sec-websocket-protocol")
    if origins:
        values = fields.get(b"origin", [])
        if len(values) != 1 or values[0].decode("latin-1") not in origins:
            raise HandshakeError("an Origin that is not listed", "origin", 403)
    if SUBPROTOCOL not in subprotocols:
        raise HandshakeError("the subprotocol sip is not offered", "subprotocol")
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % (accept, SUBPROTOCOL.encode())
    )


def _http_request(head: bytes) -> _Fields:
    """The header fields of a GET request of HTTP/1.1 without a body, by their names in lower case."""
    if head.count(b"\n") != head.count(b"\r\n"):
        raise HandshakeError("a line that ends without CR")  # h11 could see the end of the request at another place
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        error.__traceback__ = None  # a cycle: a method of the error raises it, so that its frames refer to it
        raise HandshakeError(f"no request of HTTP: {error}") from None
    if not isinstance(request, h11.Request) or request.method != b"GET" or request.http_version != b"1.1":
        raise HandshakeError("no GET request of HTTP/1.1")
    fields: _Fields = {}
    for name, value in request.headers:
        fields.setdefault(name, []).append(value)
    if b"transfer-encoding" in fields or fields.get(b"content-length", [b"0"]) != [b"0"]:
        raise HandshakeError("a request with a body, which would be read as frames")
    if not _only(fields, b"host"):
        raise HandshakeError("an empty Host")
    return fields


def _only(fields: _Fields, name: bytes) -> bytes:
    """The value of a field that the request must have exactly once."""
    values = fields.get(name, [])
    if len(values) != 1:
        raise HandshakeError(f"{len(values)} fields {name.decode()}, not one")
    return values[0]


def _elements(fields: _Fields, name: bytes, fold: bool = False) -> list[str]:
    """The elements of a list over all fields of that name; with ``fold``, in lower case."""
    try:
        text = b",".join(fields.get(name, [])).decode("ascii")
    except UnicodeDecodeError:
        raise HandshakeError(f"a field {name.decode()} that is not ASCII") from None
    return [element.strip(" \t") for element in (text.lower() if fold else text).split(",")]
