"""Session descriptions (RFC 8866) as values: parsed from bytes, built anew as bytes. Judges no address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import attrs

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = ["Attribute", "ConnectionData", "MediaDescription", "Origin", "SessionDescription", "parse_session"]

_DIRECTIONS = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_BEFORE_CONNECTION = "iuep"  # information, URI, e-mail and phone stand before c= (RFC 8866 section 5)


class Attribute(NamedTuple):
    """One ``a=`` line; ``value`` is None for a property attribute (RFC 8866 section 5.13)."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class ConnectionData(NamedTuple):
    """A ``c=`` line; ``family`` is ``IP4`` or ``IP6``, ``address`` as it was written (section 5.7)."""

    family: str
    address: str

    @property
    def unspecified(self) -> bool:
        """Whether it asks for no media at all, the hold of RFC 3264 section 8.4."""
        return self.address in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def __str__(self) -> str:
        return f"IN {self.family} {self.address}"


class Origin(NamedTuple):
    """The ``o=`` line (section 5.2); ``id`` and ``version`` are decimal numbers kept as text."""

    username: str
    id: str
    version: str
    family: str
    address: str

    def __str__(self) -> str:
        return f"{self.username} {self.id} {self.version} IN {self.family} {self.address}"


@attrs.frozen
class MediaDescription:
    """One media section (section 5.14). ``port`` 0 means rejected or ended (RFC 3264 section 6)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    ports: int = 1
    """Number of RTP ports from ``port`` on; more than 1 is written ``port/ports``."""
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
        """sendrecv, sendonly, recvonly or inactive where this section says so (RFC 3264 section 5.1)."""
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
    """A session description. Attributes keep their order, known or not."""

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
        """The ``c=`` line that holds for a media section (section 5.7)."""
        return media.connection or self.connection

    def direction_of(self, media: MediaDescription) -> str:
        """The direction that holds for a media section; sendrecv where nothing is said."""
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
    """Read a session description; lines end in CRLF or LF.

    A missing ``s=`` or ``t=`` line is forgiven, since phones forget them. Raises :class:`WireError` with
    ``status_hint`` 400 where the text is broken and 488 where it is over a bound or asks for what the
    edge does not do.
    """
    lines = _split(data)
    if not lines or lines[0] != ("v", "0"):
        raise WireError("a session description begins with v=0")
    first_media = next((at for at, (letter, _) in enumerate(lines) if letter == "m"), len(lines))
    sections = _Sections(lines[1:first_media])
    media: list[MediaDescription] = []
    at = first_media
    while at < len(lines):
        end = next((i for i in range(at + 1, len(lines)) if lines[i][0] == "m"), len(lines))
        if len(media) >= limits.SDP_MEDIA:
            raise WireError(f"more than {limits.SDP_MEDIA} media sections", 488)
        media.append(_parse_media(lines[at][1], _Sections(lines[at + 1 : end])))
        at = end
    sections.allow("osiuepcbtrzka", "the session level")
    times = sections.pick("trz")
    return SessionDescription(
        origin=_parse_origin(sections.one("o", required=True)),
        name=sections.one("s") or "-",
        connection=sections.connection(),
        bandwidth=sections.values("b"),
        times=times or (("t", "0 0"),),
        attributes=sections.attributes(),
        media=tuple(media),
        others=_ordered(sections.pick("iuepk"), "iuepk"),
    )


class _Sections:
    """The lines of one level, by letter."""

    __slots__ = ("_lines",)

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines = lines

    def allow(self, letters: str, where: str) -> None:
        for letter, _ in self._lines:
            if letter not in letters:
                raise WireError(f"a line of type {letter!a} has no place at {where}")

    def pick(self, letters: str) -> tuple[tuple[str, str], ...]:
        return tuple(line for line in self._lines if line[0] in letters)

    def values(self, letter: str) -> tuple[str, ...]:
        return tuple(value for kind, value in self._lines if kind == letter)

    def one(self, letter: str, required: bool = False) -> str:
        found = self.values(letter)
        if len(found) > 1 or (required and not found):
            raise WireError(f"expected one {letter}= line, found {len(found)}")
        return found[0] if found else ""

    def connection(self) -> ConnectionData | None:
        found = self.values("c")
        if not found:
            return None
        if len(found) > 1:
            raise WireError("several c= lines for one section: layered multicast is not relayed", 488)
        parts = found[0].split()
        if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
            raise WireError("expected c=IN IP4|IP6 ADDRESS")
        return ConnectionData(parts[1], parts[2])

    def attributes(self) -> tuple[Attribute, ...]:
        values = self.values("a")
        if len(values) > limits.SDP_ATTRIBUTES:
            raise WireError(f"more than {limits.SDP_ATTRIBUTES} attributes in a section", 488)
        found = []
        for value in values:
            name, colon, rest = value.partition(":")
            if name.split() != [name]:  # space behind it would be another name here, and none to a forgiving reader
                raise WireError("an a= line without a name")
            found.append(Attribute(name, rest if colon else None))
        return tuple(found)


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
    lines: list[tuple[str, str]] = []
    for row in rows:
        row = row.removesuffix("\r")
        if len(row) < 2 or row[1] != "=" or not row[0].isascii() or not row[0].isalpha():
            raise WireError("a line of a session description that is not LETTER=VALUE")
        # NUL, CR and their like would mean something else to the next reader
        if any((sign < " " and sign != "\t") or sign == "\x7f" for sign in row):
            raise WireError("a control character in a session description")
        lines.append((row[0], row[2:]))
    return lines


def _parse_origin(value: str) -> Origin:
    parts = value.split()
    if len(parts) == 5:
        parts.insert(0, "-")  # seen from phones with an empty user name
    if len(parts) != 6 or parts[3] != "IN" or parts[4] not in ("IP4", "IP6"):
        raise WireError("expected o=USER ID VERSION IN IP4|IP6 ADDRESS")
    for number in (parts[1], parts[2]):
        if not _decimal(number, 20):
            raise WireError("the id and version of an o= line are numbers")
    return Origin(parts[0], parts[1], parts[2], parts[4], parts[5])


def _parse_media(value: str, sections: _Sections) -> MediaDescription:
    parts = value.split()
    if len(parts) < 4:
        raise WireError("expected m=KIND PORT PROTOCOL FORMAT...")
    if len(parts) - 3 > limits.SDP_FORMATS:
        raise WireError(f"more than {limits.SDP_FORMATS} formats in a media section", 488)
    port, slash, count = parts[1].partition("/")
    if not _decimal(port, 5) or int(port) > 65_535 or (slash and not (_decimal(count, 5) and int(count))):
        raise WireError("a media port is a number up to 65535, or PORT/COUNT")
    sections.allow("icbka", "the media level")
    return MediaDescription(
        kind=parts[0],
        port=int(port),
        protocol=parts[2],
        formats=tuple(parts[3:]),
        ports=int(count) if slash else 1,
        connection=sections.connection(),
        bandwidth=sections.values("b"),
        attributes=sections.attributes(),
        others=_ordered(sections.pick("ik"), "ik"),
    )


def _decimal(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits


def _first(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    return next((attribute for attribute in attributes if attribute.name == name), None)


def _direction(attributes: tuple[Attribute, ...]) -> str | None:
    return next((a.name for a in attributes if a.value is None and a.name in _DIRECTIONS), None)


def _ordered(lines: tuple[tuple[str, str], ...], order: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(lines, key=lambda line: order.index(line[0])))


def _other_lines(lines: tuple[tuple[str, str], ...], letters: str) -> Iterator[str]:
    return (f"{letter}={value}" for letter, value in lines if letter in letters)
