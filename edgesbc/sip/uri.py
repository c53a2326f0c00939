"""SIP and SIPS URIs (RFC 3261 section 19.1) as immutable values; URIs of other schemes are kept as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.memo import memoized

__all__ = ["Param", "Parameters", "Params", "Uri", "are_equivalent", "parse_uri"]

Param = tuple[str, str | None]
Params = tuple[Param, ...]


class Parameters:
    """Base of every value with parameters: a URI, an address, a Via. Immutable.

    ``params`` are pairs of name and value in the order of the wire: names in lower case, None for a parameter
    without "=". Two values are equal where they have the same type and are written the same way.
    """

    __slots__ = ("params",)

    params: Params

    def param(self, name: str) -> str | None:
        """The value of the parameter ``name``, "" if it has none, None if the parameter is missing."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def written_params(self) -> str:
        """The parameters in wire form, each with its semicolon before it."""
        text = ""
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and str(self) == str(other))

    def __hash__(self) -> int:
        return hash(str(self))


class Uri(Parameters):
    """A URI (RFC 3261 section 19.1.1); escapes are kept as they were written.

    ``scheme`` and ``host`` are in lower case, an IPv6 reference has no brackets in ``host``. ``user`` includes the
    password, if any, after a colon, and is None without "@". ``headers`` is the text after "?". For a scheme other
    than sip and sips, ``host`` is empty and ``opaque`` is all that follows the colon.

    ``==`` compares the written forms; the URI comparison of section 19.1.4 is :func:`are_equivalent`. The constructor
    does not check its arguments: :func:`parse_uri` does, and so does a message that is built with the URI.
    """

    __slots__ = ("headers", "host", "opaque", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str | None,
        host: str,
        port: int | None = None,
        params: Iterable[Param] = (),
        headers: str = "",
        opaque: str = "",
    ) -> None:
        self.scheme: Final = scheme
        self.user: Final = user
        self.host: Final = host
        self.port: Final = port
        self.params = tuple(params)
        self.headers: Final = headers
        self.opaque: Final = opaque

    @property
    def transport(self) -> str:
        """The transport that the URI asks for, in lower case (RFC 3263 section 4.1, RFC 7118 section 5.2)."""
        return (self.param("transport") or ("tls" if self.scheme == "sips" else "udp")).lower()

    def __str__(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        text = f"{self.scheme}:{self.user}@{host}" if self.user is not None else f"{self.scheme}:{host}"
        if self.port is not None:
            text = f"{text}:{self.port}"
        text += self.written_params()
        return f"{text}?{self.headers}" if self.headers else text

    def __repr__(self) -> str:
        return f"Uri({str(self)!r})"


@memoized
def parse_uri(text: str) -> Uri:
    """Parse a URI of any scheme; the text may come from the network.

    Raises :class:`WireError` with status 400, or 414 where it is longer than ``limits.START_LINE_BYTES`` or has
    more than ``limits.PARAMETERS`` parameters (RFC 3261 section 21.4.12).
    """
    if len(text) > limits.START_LINE_BYTES:
        raise WireError("a URI is too long", 414)
    match = grammar.sip_uri(text)
    if "%" in text and grammar.bad_escape(text):
        raise WireError("a URI has a percent sign that begins no escape")
    if match is None:
        return _parse_other(text)
    scheme, user, password, host, port, params, headers = match.groups()
    if password is not None:
        user = f"{user}:{password}"
    number = None
    if port is not None:
        number = int(port)
        if not 0 < number < 65536:
            raise WireError("the port of a URI is not between 1 and 65535")
    return Uri(
        scheme.lower(),
        user,
        (host[1:-1] if host[0] == "[" else host).lower(),
        number,
        _parse_params(params) if params else (),
        headers or "",
    )


_COMPARED: Final = ("user", "ttl", "method", "maddr", "transport")
"""Parameters that have to be in both of two equivalent URIs, or in neither."""


def are_equivalent(one: Uri, other: Uri) -> bool:
    """The URI comparison of RFC 3261 section 19.1.4. URIs of other schemes are compared as text.

    A component that is missing does not match its default: ``sip:a@h`` is not ``sip:a@h:5060``.
    """
    if one.opaque or other.opaque:
        return one == other
    if (one.scheme, one.host, one.port) != (other.scheme, other.host, other.port):
        return False
    if (one.user is None) is not (other.user is None) or _unescaped(one.user) != _unescaped(other.user):
        return False
    if _header_set(one) != _header_set(other):
        return False
    mine, theirs = _comparable(one.params), _comparable(other.params)
    if any((name in mine) is not (name in theirs) for name in _COMPARED):
        return False
    return all(theirs.get(name, value) == value for name, value in mine.items())


def _unescaped(text: str | None) -> str:
    """The text without the escapes of characters that need none; others stay, with capital digits."""
    if not text or "%" not in text:
        return text or ""
    parts = text.split("%")
    result = parts[0]
    for part in parts[1:]:
        sign = unquote(f"%{part[:2]}", errors="replace")
        plain = sign.isascii() and (sign.isalnum() or sign in "-_.!~*'()")
        result += (sign if plain else f"%{part[:2].upper()}") + part[2:]
    return result


def _comparable(params: Params) -> dict[str, str]:
    return {_unescaped(name): _unescaped(value).lower() for name, value in params}


def _header_set(uri: Uri) -> frozenset[str]:
    """The headers, in any order; their names in any case."""
    pairs = (pair.partition("=") for pair in uri.headers.split("&") if pair)
    return frozenset(f"{_unescaped(name).lower()}={_unescaped(value)}" for name, _, value in pairs)


def _parse_params(text: str) -> Params:
    """The parameters of a URI; none may appear twice (RFC 3261 section 19.1.1)."""
    params: dict[str, str | None] = {}
    parts = text[1:].split(";", limits.PARAMETERS)
    if len(parts) > limits.PARAMETERS:
        raise WireError("a URI has too many parameters", 414)
    for part in parts:
        name, equals, value = part.partition("=")
        if not name:
            raise WireError("a URI parameter has no name")
        params[name.lower()] = value if equals else None
    if len(params) != len(parts):
        raise WireError("a URI parameter stands twice")
    return tuple(params.items())


def _parse_other(text: str) -> Uri:
    match = grammar.absolute_uri(text)
    if match is None or match[1].lower() in ("sip", "sips"):
        raise WireError("a URI is malformed")
    return Uri(match[1].lower(), None, "", opaque=match[2])
