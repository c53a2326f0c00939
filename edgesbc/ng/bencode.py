"""Bencoding, strict and bounded: the values of the NG protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = ["decode", "decode_first", "encode"]

_INTEGER_DIGITS = 20
_LENGTH_DIGITS = 7


class _Incomplete(WireError):
    """More bytes may complete the value."""


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
        for key, item in sorted(pairs, key=_key_of):
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


def _key_of(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def decode(data: bytes) -> Any:
    """One bencoded value that fills ``data``: ``str``, ``int``, list, or dict with ``str`` keys.

    Strings are UTF-8; other bytes in them survive as surrogates and are encoded back as they were. Keys
    may be in any order, as rtpengine's clients send them, but not twice. Raises :class:`WireError`.
    """
    value, end = decode_first(data)
    if end == 0:
        raise WireError("bencoding that ends within a value")
    if end != len(data):
        raise WireError("bytes after a bencoded value")
    return value


def decode_first(data: bytes) -> tuple[Any, int]:
    """The bencoded value that ``data`` begins with, and its size; (None, 0) where more bytes may complete it.

    Raises :class:`WireError` as :func:`decode`.
    """
    if len(data) > limits.NG_BYTES:
        raise WireError(f"more than {limits.NG_BYTES} bytes of bencoding")
    try:
        return _Decoder(data).value(0, 0)
    except _Incomplete:
        if len(data) == limits.NG_BYTES:
            raise WireError(f"a bencoded value of more than {limits.NG_BYTES} bytes") from None
        return None, 0


class _Decoder:
    """Decodes one text; ``items`` counts its values, which take much more memory than their bytes."""

    __slots__ = ("_data", "_items")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        """The value at ``at``, and where it ends."""
        self._items += 1
        if self._items > limits.NG_ITEMS:
            raise WireError(f"more than {limits.NG_ITEMS} values in one bencoding")
        if depth > limits.NG_DEPTH:
            raise WireError(f"bencoding deeper than {limits.NG_DEPTH}")
        kind = self._data[at : at + 1]
        if kind.isdigit():
            return self._string(at)
        if kind == b"d":
            return self._dictionary(at + 1, depth)
        if kind == b"l":
            return self._list(at + 1, depth)
        if kind == b"i":
            digits, end = self._until(b"e", at + 1, _INTEGER_DIGITS + 1)
            return _integer(digits), end
        raise _Incomplete("bencoding that ends within a value") if not kind else WireError("expected a bencoded value")

    def _until(self, end: bytes, at: int, most: int) -> tuple[bytes, int]:
        """The bytes from ``at`` before ``end``, at most ``most``, and where the next value begins."""
        data = self._data
        found = data.find(end, at, at + most + 1)
        if found < 0:
            if len(data) <= at + most:
                raise _Incomplete("bencoding that ends within a number")
            raise WireError("a bencoded number that is too long")
        return data[at:found], found + 1

    def _string(self, at: int) -> tuple[str, int]:
        digits, start = self._until(b":", at, _LENGTH_DIGITS)
        end = start + _integer(digits)
        if end > limits.NG_BYTES:
            raise WireError(f"a bencoded string that ends after {limits.NG_BYTES} bytes")
        if end > len(self._data):
            raise _Incomplete("a bencoded string longer than its text")
        return self._data[start:end].decode("utf-8", "surrogateescape"), end

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while self._data[at : at + 1] != b"e":
            item, at = self.value(at, depth + 1)
            items.append(item)
        return items, at + 1

    def _dictionary(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        while self._data[at : at + 1] != b"e":
            first = self._data[at : at + 1]
            if first and not first.isdigit():
                raise WireError("a bencoded dictionary whose key is not a string")
            key, at = self.value(at, depth + 1)
            if key in items:
                raise WireError("a bencoded dictionary with a key twice")
            items[key], at = self.value(at, depth + 1)
        return items, at + 1


def _integer(digits: bytes) -> int:
    body = digits.removeprefix(b"-")
    if not body.isdigit() or len(body) > _INTEGER_DIGITS or (body[:1] == b"0" and digits != b"0"):
        raise WireError("expected a bencoded integer")
    return int(digits)
