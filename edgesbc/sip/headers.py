"""Typed values of the header fields that every message has: addresses, Via and CSeq (RFC 3261 section 20)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import host_port
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.memo import memoized
from edgesbc.sip.uri import Param, Parameters, Params, Uri, parse_uri

__all__ = ["CSeq", "NameAddr", "Via", "parse_cseq", "parse_name_addr", "parse_params", "parse_via", "split_list"]


def parse_params(text: str) -> Params:
    """``;name=value;flag`` as pairs: names in lower case, quoted values with their quotes.

    Raises :class:`WireError`, also where a name appears twice (RFC 3261 section 7.3.1).
    """
    params: list[Param] = []
    if grammar.plain_params(text):
        for part in text[1:].split(";", limits.PARAMETERS):
            name, _, value = part.partition("=")
            params.append((name.lower(), value or None))
    else:
        position, end = 0, len(text)
        while position < end and len(params) <= limits.PARAMETERS:
            match = grammar.param(text, position)
            if match is None:
                raise WireError("a header parameter is malformed")
            params.append((match[1].lower(), match[2]))
            position = match.end()
    if len(params) > limits.PARAMETERS:
        raise WireError("a header field has too many parameters", 513)
    if len({name for name, _ in params}) != len(params):
        raise WireError("a header parameter stands twice")
    return tuple(params)


class NameAddr(Parameters):
    """A *name-addr* or *addr-spec* with header parameters: From, To, Contact, Route (RFC 3261 section 20.10).

    ``display`` is the display name as it was written, quotes included. ``uri_text`` is the URI as text; :attr:`uri`
    parses it when it is first read, since most messages are forwarded without that. ``tag`` is "" if there is none.
    """

    __slots__ = ("_uri", "display", "tag", "uri_text")

    def __init__(self, display: str, uri_text: str, params: Iterable[Param] = ()) -> None:
        self.display: Final = display
        self.uri_text: Final = uri_text
        self.params = tuple(params)
        self.tag: Final = self.param("tag") or ""
        self._uri: Uri | None = None

    @property
    def uri(self) -> Uri:
        """The parsed URI. Raises :class:`WireError` where it is malformed."""
        if self._uri is None:
            self._uri = parse_uri(self.uri_text)
        return self._uri

    def __str__(self) -> str:
        text = f"{self.display} <{self.uri_text}>" if self.display else f"<{self.uri_text}>"
        return text + self.written_params()

    def __repr__(self) -> str:
        return f"NameAddr({str(self)!r})"


@memoized
def parse_name_addr(text: str) -> NameAddr:
    """Parse one value of an address header field. Raises :class:`WireError`."""
    match = grammar.name_addr(text)
    if match is not None:
        quoted, words, uri, rest = match.groups()
        display = quoted or (words or "").strip()
    else:
        match = grammar.bare_addr(text)
        if match is None:
            raise WireError("an address header field is malformed")
        uri, rest = match.groups()
        display = ""
    if not rest:
        return NameAddr(display, uri)
    tag = grammar.only_tag(rest)
    if tag is not None:
        return NameAddr(display, uri, (("tag", tag[1]),))
    params = parse_params(rest)
    for name, value in params:
        if name == "tag" and (value is None or not grammar.token(value)):
            raise WireError("a tag is not a token")
    return NameAddr(display, uri, params)


class Via(Parameters):
    """One Via value (RFC 3261 section 20.42): ``transport`` in upper case, sent-by, parameters in order.

    ``host`` and ``port`` are the sent-by, ``port`` None where it is missing; ``branch`` is "" where it is missing.
    """

    __slots__ = ("branch", "host", "port", "transport")

    def __init__(self, transport: str, host: str, port: int | None, params: Iterable[Param] = ()) -> None:
        self.transport: Final = transport
        self.host: Final = host
        self.port: Final = port
        self.params = tuple(params)
        self.branch: Final = self.param("branch") or ""

    @property
    def sent_by(self) -> str:
        """Host and port as one text, for transaction matching (RFC 3261 section 17.2.3)."""
        return f"{self.host}:{self.port or ''}"

    def received_from(self, host: str, port: int) -> Via:
        """This value with ``received`` and, if it has ``rport``, that filled in (RFC 3261 section 18.2.1, RFC 3581).

        ``host`` and ``port`` are the source address of the request.
        """
        params = [pair for pair in self.params if pair[0] not in ("received", "rport")]
        rport = self.param("rport") is not None
        if rport or self.host != host:
            params.append(("received", host))
        if rport:
            params.append(("rport", str(port)))
        return Via(self.transport, self.host, self.port, params)

    def __str__(self) -> str:
        sent_by = (
            host_port(self.host, self.port)
            if self.port is not None
            else (f"[{self.host}]" if ":" in self.host else self.host)
        )
        return f"SIP/2.0/{self.transport} {sent_by}{self.written_params()}"

    def __repr__(self) -> str:
        return f"Via({str(self)!r})"


def parse_via(text: str) -> Via:
    """Parse one Via value. Raises :class:`WireError`."""
    end = text.find(";")  # the first one: none may stand before the parameters
    if end < 0:
        transport, host, port = _parse_sent_by(text)
        return Via(transport, host, port)
    transport, host, port = _parse_sent_by(text[:end])
    return Via(transport, host, port, parse_params(text[end:]))


@memoized  # and not the whole value: a peer's sent-by is always the same, its branches are always new
def _parse_sent_by(text: str) -> tuple[str, str, int | None]:
    """Transport, host and port of a Via value without its parameters. Raises :class:`WireError`."""
    match = grammar.via(text)
    if match is None:
        raise WireError("a Via header field is malformed")
    transport, host, port = match.groups()
    number = None
    if port is not None:
        number = int(port)
        if not 0 < number < 65536:
            raise WireError("the port of a Via is not between 1 and 65535")
    return transport.upper(), (host[1:-1] if host[0] == "[" else host).lower(), number


class CSeq(NamedTuple):
    """Number and method (RFC 3261 section 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@memoized
def parse_cseq(text: str) -> CSeq:
    """Parse a CSeq value. Raises :class:`WireError`."""
    match = grammar.cseq(text)
    if match is None or int(match[1]) >= 2**31:
        raise WireError("CSeq is not a number below 2**31 and a method")
    return CSeq(int(match[1]), match[2])


def split_list(text: str, most: int = limits.HEADER_FIELDS) -> list[str]:
    """The values of a comma-separated list (RFC 3261 section 7.3.1). Commas in quotes or brackets do not separate.

    Raises :class:`WireError` for a list that is malformed, has an empty value, or has more than ``most`` values.
    """
    if "," not in text and text:
        return [text]
    values: list[str] = []
    start = position = 0
    end = len(text)
    while position < end:
        match = grammar.quoted_or_comma(text, position)
        if match is None:
            raise WireError("a quoted string or an angle bracket is not closed")
        if match[1]:
            if len(values) + 1 >= most:  # one more value follows this comma
                raise WireError("a list has too many values", 513)
            values.append(text[start:position].strip(" \t"))
            start = match.end()
        position = match.end()
    values.append(text[start:].strip(" \t"))
    if not all(values):
        raise WireError("a list of values has an empty place")
    return values
