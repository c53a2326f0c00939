"""The NG control protocol of rtpengine: bencoding, cookie framing and the commands as values. No sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = [
    "answer", "decode", "delete", "encode", "error", "frame", "offer", "parse_frame", "ping", "query",
    "read_received_from", "read_sdp", "read_text",
]  # fmt: skip


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
    may stand in any order, as rtpengine's clients send them, but not twice. Raises :class:`WireError`.
    """
    if len(data) > limits.NG_BYTES:
        raise WireError(f"more than {limits.NG_BYTES} bytes of bencoding")
    value, end = _decode_at(data, 0, 0)
    if end != len(data):
        raise WireError("bytes behind a bencoded value")
    return value


def _decode_at(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > limits.NG_DEPTH:
        raise WireError(f"bencoding deeper than {limits.NG_DEPTH}")
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.find(b"e", at + 1, at + 24)
        return _integer(data[at + 1 : end] if end > 0 else b""), end + 1
    if kind == b"l":
        return _decode_list(data, at + 1, depth)
    if kind == b"d":
        return _decode_dict(data, at + 1, depth)
    if kind.isdigit():
        return _decode_string(data, at)
    raise WireError("expected a bencoded value")


def _integer(digits: bytes) -> int:
    body = digits.removeprefix(b"-")
    if not body.isdigit() or len(body) > 20 or (body[:1] == b"0" and digits != b"0"):
        raise WireError("a bencoded integer that is not one")
    return int(digits)


def _decode_string(data: bytes, at: int) -> tuple[str, int]:
    colon = data.find(b":", at, at + 8)
    if colon < 0:
        raise WireError("a bencoded string without its length")
    start = colon + 1
    end = start + _integer(data[at:colon])
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
    if not space or not 0 < len(cookie) <= limits.NG_COOKIE_BYTES:
        raise WireError("an NG datagram begins with a cookie and a space")
    if not (cookie.isascii() and cookie.decode("ascii").isprintable()):
        raise WireError("an NG cookie is printable ASCII")
    command = decode(rest)
    if not isinstance(command, dict):
        raise WireError("an NG datagram holds a dictionary")
    return cookie.decode("ascii"), command


def ping() -> dict[str, Any]:
    """Ask whether the media plane lives; the answer is ``{"result": "pong"}``."""
    return {"command": "ping"}


def offer(
    call_id: str,
    from_tag: str,
    sdp: str | bytes,
    direction: tuple[str, str],
    to_tag: str = "",
    received_from: str = "",
) -> dict[str, Any]:
    """A description that asks (RFC 3264 section 5), whichever SIP message carries it.

    ``from_tag`` is the tag of the side that sent it, ``direction`` the interfaces of that side and of
    the other, ``received_from`` the address that the SIP message came from, where it may be behind NAT.
    """
    return _described("offer", call_id, from_tag, to_tag, sdp, received_from) | {"direction": list(direction)}


def answer(call_id: str, from_tag: str, to_tag: str, sdp: str | bytes, received_from: str = "") -> dict[str, Any]:
    """A description that answers (RFC 3264 section 6).

    As in rtpengine, ``from_tag`` is the tag of the side that *offered* and ``to_tag`` that of the side
    whose description this is.
    """
    return _described("answer", call_id, from_tag, to_tag, sdp, received_from)


def _described(
    command: str, call_id: str, from_tag: str, to_tag: str, sdp: str | bytes, received_from: str
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "command": command,
        "call-id": call_id,
        "from-tag": from_tag,
        "sdp": sdp,
        "replace": ["origin", "session-connection"],
    }
    if to_tag:
        values["to-tag"] = to_tag
    if received_from:
        values["received-from"] = ["IP6" if ":" in received_from else "IP4", received_from]
    return values


def delete(call_id: str, from_tag: str = "", to_tag: str = "") -> dict[str, Any]:
    """End a call; without tags, every call with that Call-ID."""
    return _about("delete", call_id, from_tag, to_tag)


def query(call_id: str, from_tag: str = "", to_tag: str = "") -> dict[str, Any]:
    """Ask for the counters of a call."""
    return _about("query", call_id, from_tag, to_tag)


def _about(command: str, call_id: str, from_tag: str, to_tag: str) -> dict[str, Any]:
    values = {"command": command, "call-id": call_id}
    if from_tag:
        values["from-tag"] = from_tag
    if to_tag:
        values["to-tag"] = to_tag
    return values


def error(reason: str) -> dict[str, Any]:
    """The reply that refuses a command."""
    return {"result": "error", "error-reason": reason}


def read_text(command: Mapping[str, Any], key: str, required: bool = True) -> str:
    """A short string of a command, such as a Call-ID or a tag. Raises :class:`WireError`."""
    value = command.get(key, "")
    if not isinstance(value, str) or len(value.encode("utf-8", "surrogateescape")) > limits.NG_NAME_BYTES:
        raise WireError(f"{key} is a short string")
    if required and not value:
        raise WireError(f"{key} is missing")
    return value


def read_sdp(command: Mapping[str, Any]) -> bytes:
    """The description of a command, given as text or bytes. Raises :class:`WireError`."""
    value = command.get("sdp")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise WireError("sdp is missing")
    return value.encode("utf-8", "surrogateescape")


def read_received_from(command: Mapping[str, Any]) -> str:
    """The address that signalling came from, or "". Raises :class:`WireError`."""
    value = command.get("received-from")
    if value is None:
        return ""
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], str):
        return value[1]
    raise WireError("received-from is a list of family and address")
