"""Messages between signalling and the media plane as bytes, one message for each packet of a link.

A packet is a version, the kind of the message, a cookie (the same number in a command and its reply) and the fields of
the message in their order: texts and bytes after their length, tuples after the number of their items. Both ends are
processes of one edge; the reader checks every length all the same.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
    Refresh,
    RelayLayout,
    Restore,
    Rollback,
)
from edgesbc.media.link_messages import Hello, LinkMessage, ListSessions, PrivateSide, SessionsListed
from edgesbc.media.session_journal import SessionCopy

__all__ = ["LinkError", "decode", "encode"]

VERSION: Final = 1
_HEAD: Final = struct.Struct("!BBQ")
_LENGTH: Final = struct.Struct("!I")
_FLOAT: Final = struct.Struct("!d")
_PORTS: Final = struct.Struct("!HH")
_STATUS: Final = struct.Struct("!H")
_NONE: Final = b"\0"
_SOME: Final = b"\1"


class LinkError(ValueError):
    """A packet that is no message of this version, or a message that no packet may carry; the text says why."""


class _Reader:
    """Takes the fields of one packet, front to back."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, size: int) -> bytes:
        start = self._position
        self._position = end = start + size
        if end > len(self._data):
            raise LinkError("the packet ends within a field")
        return self._data[start:end]

    def number(self, most: int) -> int:
        number: int = _LENGTH.unpack(self.take(4))[0]
        if number > most:
            raise LinkError(f"a field of {number} where at most {most} are expected")
        return number

    def end(self) -> None:
        if self._position != len(self._data):
            raise LinkError("the packet goes on after its last field")


class _Codec(Protocol):
    """One kind of field."""

    def write(self, value: Any, parts: list[bytes]) -> None: ...

    def read(self, reader: _Reader) -> Any: ...


class _Bytes:
    def write(self, value: Any, parts: list[bytes]) -> None:
        if len(value) > limits.MEDIA_LINK_FIELD_BYTES:
            raise LinkError(f"a field of {len(value)} bytes; expected at most {limits.MEDIA_LINK_FIELD_BYTES}")
        parts.append(_LENGTH.pack(len(value)))
        parts.append(value)

    def read(self, reader: _Reader) -> Any:
        return reader.take(reader.number(limits.MEDIA_LINK_FIELD_BYTES))


class _Text:
    """A text as SIP messages are decoded: bytes that are no UTF-8 are kept."""

    def write(self, value: Any, parts: list[bytes]) -> None:
        _BYTES.write(value.encode("utf-8", "surrogateescape"), parts)

    def read(self, reader: _Reader) -> Any:
        return bytes(_BYTES.read(reader)).decode("utf-8", "surrogateescape")


class _Flag:
    def write(self, value: Any, parts: list[bytes]) -> None:
        parts.append(_SOME if value else _NONE)

    def read(self, reader: _Reader) -> Any:
        flag = reader.take(1)
        if flag not in (_NONE, _SOME):
            raise LinkError("a flag that is neither 0 nor 1")
        return flag == _SOME


class _Number:
    def __init__(self, form: struct.Struct) -> None:
        self._form = form

    def write(self, value: Any, parts: list[bytes]) -> None:
        parts.append(self._form.pack(value))

    def read(self, reader: _Reader) -> Any:
        return self._form.unpack(reader.take(self._form.size))[0]


class _PortPair:
    def write(self, value: Any, parts: list[bytes]) -> None:
        parts.append(_PORTS.pack(*value))

    def read(self, reader: _Reader) -> Any:
        return _PORTS.unpack(reader.take(_PORTS.size))


class _Choice:
    """One of a few values, such as the members of an enumeration."""

    def __init__(self, *values: Any) -> None:
        self._values = values
        self._bytes = {value: bytes([number]) for number, value in enumerate(values)}

    def write(self, value: Any, parts: list[bytes]) -> None:
        parts.append(self._bytes[value])

    def read(self, reader: _Reader) -> Any:
        number = reader.take(1)[0]
        if number >= len(self._values):
            raise LinkError(f"a choice {number} of {len(self._values)}")
        return self._values[number]


class _Many:
    def __init__(self, item: _Codec, most: int) -> None:
        self._item = item
        self._most = most

    def write(self, value: Any, parts: list[bytes]) -> None:
        if len(value) > self._most:
            raise LinkError(f"{len(value)} items; expected at most {self._most}")
        parts.append(_LENGTH.pack(len(value)))
        for item in value:
            self._item.write(item, parts)

    def read(self, reader: _Reader) -> Any:
        return tuple([self._item.read(reader) for _ in range(reader.number(self._most))])


class _Optional:
    def __init__(self, item: _Codec) -> None:
        self._item = item

    def write(self, value: Any, parts: list[bytes]) -> None:
        parts.append(_NONE if value is None else _SOME)
        if value is not None:
            self._item.write(value, parts)

    def read(self, reader: _Reader) -> Any:
        return self._item.read(reader) if _FLAG.read(reader) else None


class _Fields:
    """A class of frozen values, by the codec of each of its fields."""

    def __init__(self, cls: type[Any], **codecs: _Codec) -> None:
        names = [field.name for field in attrs.fields(cls)]
        if names != list(codecs):
            raise TypeError(f"{cls.__name__} has the fields {names}, not {list(codecs)}")
        self._cls = cls
        self._codecs = tuple(codecs.items())

    def write(self, value: Any, parts: list[bytes]) -> None:
        for name, codec in self._codecs:
            codec.write(getattr(value, name), parts)

    def read(self, reader: _Reader) -> Any:
        return self._cls(*[codec.read(reader) for _, codec in self._codecs])


_BYTES: Final = _Bytes()
_TEXT: Final = _Text()
_FLAG: Final = _Flag()
_ZONE: Final = _Choice(Zone.PUBLIC, Zone.CORE)
_CONSENT: Final = _Choice(Consent.NONE, Consent.SOURCE, Consent.ANY)
_LATCH: Final = _Choice(*LatchMode)
_TEXTS: Final = _Many(_TEXT, limits.MEDIA_LINK_ITEMS)

_OFFER: Final = _Fields(
    Offer, session_id=_TEXT, offerer=_TEXT, answerer=_TEXT, sdp=_BYTES, offerer_zone=_ZONE, answerer_zone=_ZONE,
    received_from=_TEXT, consent=_CONSENT, reserved=_FLAG, answerer_family=_TEXT, offerer_interface=_TEXT,
    answerer_interface=_TEXT, latch=_LATCH,
)  # fmt: skip
_ANSWER: Final = _Fields(
    Answer, session_id=_TEXT, offerer=_TEXT, answerer=_TEXT, sdp=_BYTES, received_from=_TEXT, consent=_CONSENT,
    final=_FLAG, latch=_LATCH,
)  # fmt: skip


class _Addresses:
    """The two addresses of a layout."""

    def write(self, value: Any, parts: list[bytes]) -> None:
        for address in value:
            _TEXT.write(address, parts)

    def read(self, reader: _Reader) -> Any:
        return _TEXT.read(reader), _TEXT.read(reader)


_LAYOUT: Final = _Fields(RelayLayout, addresses=_Addresses(), ports=_Many(_PortPair(), limits.SDP_MEDIA))
_RESTORE: Final = _Fields(Restore, offer=_OFFER, layout=_LAYOUT, answer=_Optional(_ANSWER))
_ESTABLISH: Final = _Fields(Establish, session_id=_TEXT, tag=_TEXT, record=_BYTES)
_SILENCE: Final = _Fields(MediaSilence, session_id=_TEXT, tag=_TEXT, missing=_TEXT, seconds=_Number(_FLOAT))

_KINDS: Final[dict[type[Any], tuple[int, _Fields]]] = {
    Offer: (1, _OFFER),
    Answer: (2, _ANSWER),
    Restore: (3, _RESTORE),
    Establish: (4, _ESTABLISH),
    Rollback: (5, _Fields(Rollback, session_id=_TEXT, offerer=_TEXT)),
    Acknowledge: (6, _Fields(Acknowledge, session_id=_TEXT, tag=_TEXT)),
    Refresh: (7, _Fields(Refresh, session_id=_TEXT, tag=_TEXT)),
    Delete: (8, _Fields(Delete, session_id=_TEXT, tag=_TEXT)),
    MediaReply: (9, _Fields(MediaReply, sdp=_BYTES, layout=_LAYOUT)),
    MediaError: (10, _Fields(MediaError, status=_Number(_STATUS), reason=_TEXT)),
    MediaTimeout: (11, _Fields(MediaTimeout, session_id=_TEXT, tags=_Many(_TEXT, 2), silent=_Many(_SILENCE, 2))),
    MediaSilence: (12, _SILENCE),
    Hello: (13, _Fields(Hello, version=_TEXT)),
    ListSessions: (14, _Fields(ListSessions)),
    SessionCopy: (
        15,
        _Fields(SessionCopy, session_id=_TEXT, exchanges=_Many(_RESTORE, 2), establish=_Optional(_ESTABLISH)),
    ),
    SessionsListed: (16, _Fields(SessionsListed)),
    PrivateSide: (
        17,
        _Fields(PrivateSide, hosts=_TEXTS, prefixes=_TEXTS, trunks=_TEXTS, first=_FLAG, last=_FLAG),
    ),
}
_BY_NUMBER: Final = dict(_KINDS.values())


def encode(message: LinkMessage, cookie: int = 0) -> bytes:
    """The packet of a message. Raises :class:`LinkError` where it or a field of it is larger than a link carries."""
    number, fields = _KINDS[type(message)]
    parts = [_HEAD.pack(VERSION, number, cookie)]
    fields.write(message, parts)
    data = b"".join(parts)
    if len(data) > limits.MEDIA_LINK_BYTES:
        raise LinkError(f"a message of {len(data)} bytes; expected at most {limits.MEDIA_LINK_BYTES}")
    return data


def decode(data: bytes) -> tuple[LinkMessage, int]:
    """The message in a packet, and its cookie. Raises :class:`LinkError`."""
    if len(data) < _HEAD.size or len(data) > limits.MEDIA_LINK_BYTES:
        raise LinkError(f"a packet of {len(data)} bytes")
    version, number, cookie = _HEAD.unpack_from(data)
    if version != VERSION:
        raise LinkError(f"a packet of version {version}; expected version {VERSION}")
    fields = _BY_NUMBER.get(number)
    if fields is None:
        raise LinkError(f"a packet of the unknown kind {number}")
    reader = _Reader(data, _HEAD.size)
    message = fields.read(reader)
    reader.end()
    return message, cookie
