"""Session descriptions (RFC 8866) as frozen values, parsed from bytes and serialised to bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import attrs

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = ["Attribute", "ConnectionData", "MediaDescription", "Origin", "SessionDescription", "parse_session"]

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_ANY_FORMAT = "0"  # of a rejected section whose line ends with the protocol, though the grammar wants one
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")
"""Control characters but HTAB, and LF and CR, which end lines."""
_BEFORE_CONNECTION = "iuep"  # information, URI, e-mail and phone come before c= (RFC 8866 section 5)


class Attribute(NamedTuple):
    """One ``a=`` line; ``value`` is None for a property attribute (RFC 8866 section 5.13)."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class ConnectionData(NamedTuple):
    """A ``c=`` line (RFC 8866 section 5.7); ``family`` is ``IP4`` or ``IP6``, ``address`` the text as it came."""

    family: str
    address: str

    @property
    def unspecified(self) -> bool:
        """Whether the address is the unspecified one, which means hold (RFC 3264 section 8.4)."""
        return self.address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def __str__(self) -> str:
        return f"IN {self.family} {self.address}"


class Origin(NamedTuple):
    """The ``o=`` line (RFC 8866 section 5.2); ``id`` and ``version`` are decimal numbers kept as text."""

    username: str
    id: str
    version: str
    family: str
    address: str

    def __str__(self) -> str:
        return f"{self.username} {self.id} {self.version} IN {self.family} {self.address}"


@attrs.frozen
class MediaDescription:
    """One media section (RFC 8866 section 5.14). ``port`` 0 means rejected or ended (RFC 3264 sections 6 and 8.2)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    ports: int = 1
    """Number of RTP ports from ``port`` on; serialised as ``port/ports`` where it is not 1."""
    connection: ConnectionData | None = None
    bandwidth: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    """``i=`` and ``k=`` lines as (letter, value)."""

    def attribute(self, name: str) -> Attribute | None:
        """The first attribute of that name, or None."""
        return _first(self.attributes, name)

    @property
    def direction(self) -> str | None:
        """The direction attribute of this section (RFC 8866 section 6.7), or None where it has none."""
        return _direction(self.attributes)

    def _lines(self) -> Iterator[str]:
        count = f"/{self.ports}" if self.ports != 1 else ""
        yield f"m={self.kind} {self.port}{count} {self.protocol} {' '.join(self.formats)}"
        yield from _other_lines(self.others, "i")
        if self.connection is not None:
            yield f"c={self.connection}"
        yield from (f"b={value}" for value in self.bandwidth)
        yield from _other_lines(self.others, "k")
        yield from (f"a={attribute}" for attribute in self.attributes)


@attrs.frozen
class SessionDescription:
    """A session description. Attributes are kept in their order, also those that the edge does not know."""

    origin: Origin
    name: str = "-"
    connection: ConnectionData | None = None
    bandwidth: tuple[str, ...] = ()
    times: tuple[tuple[str, str], ...] = (("t", "0 0"),)
    """``t=``, ``r=`` and ``z=`` lines as (letter, value), in order."""
    attributes: tuple[Attribute, ...] = ()
    media: tuple[MediaDescription, ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    """``i=``, ``u=``, ``e=``, ``p=`` and ``k=`` lines as (letter, value)."""

    def attribute(self, name: str) -> Attribute | None:
        """The first session-level attribute of that name, or None."""
        return _first(self.attributes, name)

    def connection_of(self, media: MediaDescription) -> ConnectionData | None:
        """The ``c=`` line that applies to a media section: its own, else the session's (RFC 8866 section 5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> str:
        """The direction that applies to a media section; sendrecv by default (RFC 8866 section 6.7)."""
        return media.direction or _direction(self.attributes) or "sendrecv"

    def serialise(self) -> bytes:
        """The description in the order of RFC 8866 section 5, with CRLF line ends."""
        return "".join(f"{line}\r\n" for line in self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        yield "v=0"
        yield f"o={self.origin}"
        yield f"s={self.name}"
        yield from _other_lines(self.others, _BEFORE_CONNECTION)
        if self.connection is not None:
            yield f"c={self.connection}"
        yield from (f"b={value}" for value in self.bandwidth)
        yield from (f"{letter}={value}" for letter, value in self.times)
        yield from _other_lines(self.others, "k")
        yield from (f"a={attribute}" for attribute in self.attributes)
        for media in self.media:
            yield from media._lines()


def parse_session(data: bytes) -> SessionDescription:
    """Parse a session description; lines end in CRLF or LF (RFC 8866 section 5).

    Accepted, because some devices write so, and made regular: no ``s=`` or ``t=`` line, an empty user name in ``o=``, a
    rejected section without formats, the names of RTP profiles in lower case, and blanks at the end of an attribute.
    Raises :class:`WireError` with ``status_hint`` 400 for text that breaks the grammar otherwise, and 488 for a
    description over a bound or with a feature that the edge does not have.
    """
    lines = _split(data)
    if not lines or lines[0] != ("v", "0"):
        raise WireError("a session description begins with v=0")
    first_media = next((at for at, (letter, _) in enumerate(lines) if letter == "m"), len(lines))
    level = _Level(lines[1:first_media])
    media: list[MediaDescription] = []
    at = first_media
    while at < len(lines):
        end = next((i for i in range(at + 1, len(lines)) if lines[i][0] == "m"), len(lines))
        if len(media) >= limits.SDP_MEDIA:
            raise WireError(f"more than {limits.SDP_MEDIA} media sections", 488)
        media.append(_parse_media(lines[at][1], _Level(lines[at + 1 : end])))
        at = end
    level.allow("osiuepcbtrzka", "the session level")
    return SessionDescription(
        origin=_parse_origin(level.one("o", required=True)),
        name=level.one("s") or "-",
        connection=level.connection(),
        bandwidth=level.values("b"),
        times=level.pick("trz") or (("t", "0 0"),),
        attributes=level.attributes(),
        media=tuple(media),
        others=_ordered(level.pick("iuepk"), "iuepk"),
    )


class _Level:
    """The lines of the session level or of one media section, looked up by letter."""

    __slots__ = ("_lines",)

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines = lines

    def allow(self, letters: str, where: str) -> None:
        """Raise :class:`WireError` for a line of any other type."""
        for letter, _ in self._lines:
            if letter not in letters:
                raise WireError(f"a line of type {letter!a} has no place at {where}")

    def pick(self, letters: str) -> tuple[tuple[str, str], ...]:
        """The lines of these types as (letter, value), in the order that they came in."""
        return tuple(line for line in self._lines if line[0] in letters)

    def values(self, letter: str) -> tuple[str, ...]:
        return tuple(value for kind, value in self._lines if kind == letter)

    def one(self, letter: str, required: bool = False) -> str:
        """The value of the only line of a type, or "" where there is none and it is not required."""
        values = self.values(letter)
        if len(values) > 1 or (required and not values):
            raise WireError(f"expected one {letter}= line, found {len(values)}")
        return values[0] if values else ""

    def connection(self) -> ConnectionData | None:
        values = self.values("c")
        if not values:
            return None
        if len(values) > 1:
            raise WireError("several c= lines for one section: layered multicast is not relayed", 488)
        parts = values[0].split()
        if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
            raise WireError("expected c=IN IP4|IP6 ADDRESS")
        return ConnectionData(parts[1], parts[2])

    def attributes(self) -> tuple[Attribute, ...]:
        values = self.values("a")
        if len(values) > limits.SDP_ATTRIBUTES:
            raise WireError(f"more than {limits.SDP_ATTRIBUTES} attributes in a section", 488)
        attributes = []
        for value in values:
            name, colon, rest = value.rstrip(" \t").partition(":")
            # A name with a space around it would be unknown here and known to a parser that strips it.
            if name.split() != [name]:
                raise WireError("an a= line without a name")
            attributes.append(Attribute(name, rest if colon else None))
        return tuple(attributes)


def _split(data: bytes) -> list[tuple[str, str]]:
    if len(data) > limits.SDP_BYTES:
        raise WireError(f"a session description of more than {limits.SDP_BYTES} bytes", 488)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise WireError("a session description that is not UTF-8") from None
    rows = text.split("\n")
    while rows and rows[-1] in ("", "\r"):
        rows.pop()
    has_controls = _CONTROL.search(text) is not None
    lines: list[tuple[str, str]] = []
    for row in rows:
        row = row.removesuffix("\r")
        if len(row) < 2 or row[1] != "=" or not row[0].isascii() or not row[0].isalpha():
            raise WireError("a line of a session description that is not LETTER=VALUE")
        # Parsers differ in what a control character such as NUL or CR means.
        if "\r" in row or (has_controls and _CONTROL.search(row) is not None):
            raise WireError("a control character in a session description")
        lines.append((row[0], row[2:]))
    return lines


def _parse_origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) == 5:
        parts.insert(0, "-")  # some phones send an empty user name
    if len(parts) != 6 or parts[3] != "IN" or parts[4] not in ("IP4", "IP6"):
        raise WireError("expected o=USER ID VERSION IN IP4|IP6 ADDRESS")
    for number in (parts[1], parts[2]):
        if not _decimal(number, 20):
            raise WireError("the id and version of an o= line are numbers")
    return Origin(parts[0], parts[1], parts[2], parts[4], parts[5])


def _parse_media(value: str, level: _Level) -> MediaDescription:
    parts = value.split()
    if len(parts) == 3 and parts[1] == "0":
        parts.append(_ANY_FORMAT)
    if len(parts) < 4:
        raise WireError("expected m=KIND PORT PROTOCOL FORMAT...")
    if len(parts) - 3 > limits.SDP_FORMATS:
        raise WireError(f"more than {limits.SDP_FORMATS} formats in a media section", 488)
    port, slash, count = parts[1].partition("/")
    if not _decimal(port, 5) or int(port) > 65_535 or (slash and not (_decimal(count, 5) and int(count))):
        raise WireError("a media port is a number up to 65535, or PORT/COUNT")
    level.allow("icbka", "the media level")
    return MediaDescription(
        kind=parts[0],
        port=int(port),
        protocol=parts[2].upper() if parts[2][:4].lower() == "rtp/" else parts[2],
        formats=tuple(parts[3:]),
        ports=int(count) if slash else 1,
        connection=level.connection(),
        bandwidth=level.values("b"),
        attributes=level.attributes(),
        others=_ordered(level.pick("ik"), "ik"),
    )


def _decimal(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _first(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    return next((attribute for attribute in attributes if attribute.name == name), None)


def _direction(attributes: tuple[Attribute, ...]) -> str | None:
    return next((name for name, value in attributes if value is None and name in _DIRECTIONS), None)


def _ordered(lines: tuple[tuple[str, str], ...], order: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(lines, key=lambda line: order.index(line[0])))


def _other_lines(lines: tuple[tuple[str, str], ...], letters: str) -> Iterator[str]:
    return (f"{letter}={value}" for letter, value in lines if letter in letters)
