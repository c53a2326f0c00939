"""Messages of the NG protocol: a cookie, a space and a bencoded dictionary, one for each datagram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.ng.bencode import decode, encode

__all__ = ["error", "frame", "parse_frame", "split_cookie"]


def frame(cookie: bytes, message: Mapping[str, Any]) -> bytes:
    """The datagram of a command or reply."""
    return cookie + b" " + encode(message)


def split_cookie(data: bytes) -> tuple[bytes, bytes]:
    """The cookie of a datagram, and what follows it. Raises :class:`WireError`."""
    cookie, space, rest = data[: limits.NG_COOKIE_BYTES + 1].partition(b" ")
    if not space or not cookie:
        raise WireError("an NG datagram begins with a cookie and a space")
    if not (cookie.isascii() and cookie.decode("ascii").isprintable()):
        raise WireError("an NG cookie is printable ASCII")
    return cookie, rest + data[limits.NG_COOKIE_BYTES + 1 :]


def parse_frame(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """The cookie and the dictionary of a datagram. Raises :class:`WireError`."""
    cookie, rest = split_cookie(data)
    message = decode(rest)
    if not isinstance(message, dict):
        raise WireError("an NG message is a dictionary")
    return cookie, message


def error(reason: str) -> dict[str, Any]:
    """The reply to a command that was not carried out."""
    return {"result": "error", "error-reason": reason}
