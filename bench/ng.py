"""The NG control protocol of rtpengine: bencoding, datagrams, and the commands of ``bench relay``, without I/O.

``bench relay`` controls the edge's media plane and rtpengine by the same datagrams. The edge itself has no NG socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Answer, MediaError, MediaReply, Offer

__all__ = [
    "COOKIE_BYTES", "DATAGRAM_BYTES", "DEPTH", "answer", "decode", "encode", "frame", "offer", "parse_frame", "ping",
    "read_command", "write_reply",
]  # fmt: skip

DATAGRAM_BYTES: Final = 65_535
"""Largest NG datagram: the largest UDP payload."""
DEPTH: Final = 12
"""Depth of bencoding: rtpengine's deepest reply, to `query`, has 8."""
COOKIE_BYTES: Final = 128
"""Longest NG cookie: rtpengine's clients send process id, underscore and number."""


def encode(value: Any) -> bytes:
    """Bencode ``str``, ``bytes``, ``int``, ``bool`` (as 0 or 1), sequences and mappings.

    Keys of a dictionary are sorted by their bytes. Raises ``TypeError`` for anything else.
    """
    out: list[bytes] = []
    _encode_into(value, out)
    return b"".join(out)


def _encode_into(value: Any, out: list[bytes]) -> None:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        out.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int):
        out.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        out.append(b"d")
        pairs = [(key.encode("utf-8", "surrogateescape"), item) for key, item in value.items()]
        for key, item in sorted(pairs, key=lambda pair: pair[0]):
            _encode_into(key, out)
            _encode_into(item, out)
        out.append(b"e")
    elif isinstance(value, Sequence):
        out.append(b"l")
        for item in value:
            _encode_into(item, out)
        out.append(b"e")
    else:
        raise TypeError(f"{type(value).__name__} has no bencoding")


def decode(data: bytes) -> Any:
    """One bencoded value that fills ``data``: str, int, list or dict with str keys.

    Strings are UTF-8; other bytes in them survive as surrogates and are encoded back as they were. Keys
    may be in any order, as rtpengine's clients send them, but not twice. Raises :class:`WireError`.
    """
    if len(data) > DATAGRAM_BYTES:
        raise WireError(f"more than {DATAGRAM_BYTES} bytes of bencoding")
    value, end = _decode_at(data, 0, 0)
    if end != len(data):
        raise WireError("bytes after a bencoded value")
    return value


def _decode_at(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > DEPTH:
        raise WireError(f"bencoding deeper than {DEPTH}")
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.find(b"e", at + 1, at + 24)
        return _decode_integer(data[at + 1 : end] if end > 0 else b""), end + 1
    if kind == b"l":
        return _decode_list(data, at + 1, depth)
    if kind == b"d":
        return _decode_dict(data, at + 1, depth)
    if kind.isdigit():
        return _decode_string(data, at)
    raise WireError("expected a bencoded value")


def _decode_integer(digits: bytes) -> int:
    body = digits.removeprefix(b"-")
    if not body.isdigit() or len(body) > 20 or (body[:1] == b"0" and digits != b"0"):
        raise WireError("expected a bencoded integer")
    return int(digits)


def _decode_string(data: bytes, at: int) -> tuple[str, int]:
    colon = data.find(b":", at, at + 8)
    if colon < 0:
        raise WireError("a bencoded string without its length")
    start = colon + 1
    end = start + _decode_integer(data[at:colon])
    if end > len(data):
        raise WireError("a bencoded string longer than its datagram")
    return data[start:end].decode("utf-8", "surrogateescape"), end


def _decode_list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while data[at : at + 1] != b"e":
        item, at = _decode_at(data, at, depth + 1)
        items.append(item)
    return items, at + 1


def _decode_dict(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    items: dict[str, Any] = {}
    while data[at : at + 1] != b"e":
        if not data[at : at + 1].isdigit():
            raise WireError("a bencoded dictionary whose key is not a string")
        key, at = _decode_string(data, at)
        if key in items:
            raise WireError("a bencoded dictionary with a key twice")
        items[key], at = _decode_at(data, at, depth + 1)
    return items, at + 1


def frame(cookie: str, command: Mapping[str, Any]) -> bytes:
    """A datagram of the NG protocol: ``cookie SP bencode``."""
    return cookie.encode("ascii") + b" " + encode(command)


def parse_frame(data: bytes) -> tuple[str, dict[str, Any]]:
    """The cookie and the dictionary of an NG datagram. Raises :class:`WireError`."""
    cookie, space, rest = data.partition(b" ")
    if not space or not 0 < len(cookie) <= COOKIE_BYTES:
        raise WireError("an NG datagram begins with a cookie and a space")
    if not (cookie.isascii() and cookie.decode("ascii").isprintable()):
        raise WireError("an NG cookie is printable ASCII")
    command = decode(rest)
    if not isinstance(command, dict):
        raise WireError("an NG datagram holds a dictionary")
    return cookie.decode("ascii"), command


def ping() -> dict[str, Any]:
    """A ``ping``; the reply is ``{"result": "pong"}``."""
    return {"command": "ping"}


def offer(call_id: str, from_tag: str, sdp: str, direction: tuple[str, str]) -> dict[str, Any]:
    """An ``offer`` command (RFC 3264 section 5).

    ``from_tag`` is the dialog tag of the offerer, ``direction`` the interfaces of the offerer and of the other side.
    """
    return _with_sdp("offer", call_id, from_tag, sdp) | {"direction": list(direction)}


def answer(call_id: str, from_tag: str, to_tag: str, sdp: str) -> dict[str, Any]:
    """An ``answer`` command (RFC 3264 section 6).

    As in rtpengine, ``from_tag`` is the dialog tag of the offerer and ``to_tag`` that of the answerer.
    """
    return _with_sdp("answer", call_id, from_tag, sdp) | {"to-tag": to_tag}


def _with_sdp(command: str, call_id: str, from_tag: str, sdp: str) -> dict[str, Any]:
    return {
        "command": command,
        "call-id": call_id,
        "from-tag": from_tag,
        "sdp": sdp,
        "replace": ["origin", "session-connection"],
    }


def read_command(command: Mapping[str, Any]) -> Offer | Answer:
    """The media command of a dictionary of :func:`offer` or :func:`answer`.

    Raises :class:`WireError` for any other dictionary.
    """
    try:
        sdp = command["sdp"].encode("utf-8", "surrogateescape")
        if command["command"] == "offer":
            offerer_zone, answerer_zone = (Zone(name) for name in command["direction"])
            return Offer(command["call-id"], command["from-tag"], "", sdp, offerer_zone, answerer_zone)
        if command["command"] == "answer":
            return Answer(command["call-id"], command["from-tag"], command["to-tag"], sdp)
    except (KeyError, AttributeError, TypeError, ValueError):
        pass
    raise WireError("expected an offer or an answer with sdp, call-id, from-tag and direction or to-tag")


def write_reply(reply: MediaReply | MediaError) -> dict[str, Any]:
    """The dictionary of a reply."""
    if isinstance(reply, MediaError):
        return {"result": "error", "error-reason": reply.reason}
    return {"result": "ok", "sdp": reply.sdp}
