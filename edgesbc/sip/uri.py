"""SIP and SIPS URIs (RFC 3261 section 19.1) as values; other schemes pass through unread."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.remembered import remembered

__all__ = ["Parameters", "Params", "Uri", "parse_uri"]

Params = list[tuple[str, str | None]]


class Parameters:
    """What has parameters: a URI, an address, a Via. Names are in lower case, the order is that of the wire."""

    __slots__ = ("params",)

    params: Params

    def param(self, name: str) -> str | None:
        """The parameter's value, "" where it stands without one, None where it is missing."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def written_params(self) -> str:
        """The parameters as they stand on the wire, each behind its semicolon."""
        text = ""
        for name, value in self.params:
            text += f";{name}" if value is None else f";{name}={value}"
        return text


class Uri(Parameters):
    """A URI in its parts, escapes left as they were written.

    ``host`` is in lower case, an IPv6 reference without its brackets; ``user`` includes a password, if
    there is one. For a scheme other than sip and sips, ``host`` is empty and ``opaque`` holds all that
    follows the colon.
    """

    __slots__ = ("headers", "host", "opaque", "port", "scheme", "user")

    def __init__(
        self,
        scheme: str,
        user: str | None,
        host: str,
        port: int | None = None,
        params: Params | None = None,
        headers: str = "",
        opaque: str = "",
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.host = host
        self.port = port
        self.params = [] if params is None else params
        self.headers = headers
        self.opaque = opaque

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


@remembered
def parse_uri(text: str) -> Uri:
    """Read ``text`` as a URI; it may come from anywhere.

    Raises :class:`WireError` with status 400, or 414 where it is too long (RFC 3261 section 21.4.12).
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
        _parse_params(params) if params else None,
        headers or "",
    )


def _parse_params(text: str) -> Params:
    """The parameters; one that stands twice would mean two things (RFC 3261 section 19.1.1)."""
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
    return list(params.items())


def _parse_other(text: str) -> Uri:
    match = grammar.absolute_uri(text)
    if match is None or match[1].lower() in ("sip", "sips"):
        raise WireError("a URI is malformed")
    return Uri(match[1].lower(), None, "", opaque=match[2])
