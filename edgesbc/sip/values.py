"""Header fields of RFC 3261 that not every message has, as values.

Each function parses the value of one header field, as ``Message.get`` returns it, and raises :class:`WireError` where
it is malformed. ``str()`` of the result is its wire form, which parses as an equal value. A list has at most
``limits.HEADER_FIELDS`` values and a value ``limits.PARAMETERS`` parameters (:mod:`edgesbc.base.limits`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import NameAddr, parse_name_addr, parse_params, split_list
from edgesbc.sip.uri import Param, Parameters

__all__ = [
    "DELTA_SECONDS", "Contact", "DeltaSeconds", "RetryAfter", "Values", "parse_allow", "parse_contact",
    "parse_content_length", "parse_delta_seconds", "parse_expires", "parse_max_forwards", "parse_number",
    "parse_require", "parse_retry_after", "parse_route", "parse_supported", "unsupported",
]  # fmt: skip

DELTA_SECONDS: Final = 2**32 - 1
"""Largest delta-seconds (section 20.19)."""
_EXPIRES_DEFAULT: Final = 3600

_Value = TypeVar("_Value")


class Values(Generic[_Value]):
    """The values of a list, in the order of the wire. ``separator`` stands between them when it is written."""

    __slots__ = ("_separator", "_values")

    def __init__(self, values: Iterable[_Value], separator: str = ", ") -> None:
        self._values: Final = tuple(values)
        self._separator: Final = separator

    def __iter__(self) -> Iterator[_Value]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __str__(self) -> str:
        return self._separator.join(map(str, self._values))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Values) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)


# --- numbers ---------------------------------------------------------------------------------------------


def parse_number(text: str, name: str, most: int) -> int:
    """A number from 0 to ``most``, of at most ten digits; the error names the field ``name``."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or (number := int(text)) > most:
        raise WireError(f"{name} is not a number from 0 to {most}")
    return number


def parse_max_forwards(text: str) -> int:
    """Max-Forwards, from 0 to 255 (section 20.22)."""
    return parse_number(text, "Max-Forwards", 255)


def parse_content_length(text: str) -> int:
    """Content-Length in bytes (section 20.14); the caller compares it with its own bound."""
    return parse_number(text, "Content-Length", 10**10 - 1)


def parse_expires(text: str) -> int:
    """Expires and Min-Expires, in seconds (section 20.19)."""
    return parse_number(text, "Expires", DELTA_SECONDS)


class DeltaSeconds(Parameters):
    """A number of seconds, up to :data:`DELTA_SECONDS`, with parameters: Session-Expires, Min-SE, Retry-After."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: int, params: Iterable[Param] = ()) -> None:
        self.seconds: Final = seconds
        self.params = tuple(params)

    def __str__(self) -> str:
        return f"{self.seconds}{self.written_params()}"


def parse_delta_seconds(text: str, name: str) -> DeltaSeconds:
    """``delta-seconds *( SEMI generic-param )``; the error names the field ``name``."""
    seconds, semicolon, rest = text.partition(";")
    number = parse_number(seconds.rstrip(" \t"), name, DELTA_SECONDS)
    return DeltaSeconds(number, parse_params(semicolon + rest) if semicolon else ())


class RetryAfter(DeltaSeconds):
    """Retry-After (section 20.33); ``comment`` has no outer parentheses, and is "" where it is missing."""

    __slots__ = ("comment",)

    def __init__(self, seconds: int, comment: str = "", params: Iterable[Param] = ()) -> None:
        super().__init__(seconds, params)
        self.comment: Final = comment

    def __str__(self) -> str:
        comment = f" ({self.comment})" if self.comment else ""
        return f"{self.seconds}{comment}{self.written_params()}"


def parse_retry_after(text: str) -> RetryAfter:
    """Retry-After: seconds, a comment and parameters (section 20.33)."""
    start = text.find("(")
    if start < 0 or -1 < text.find(";") < start:
        plain = parse_delta_seconds(text, "Retry-After")
        return RetryAfter(plain.seconds, "", plain.params)
    end = _end_of_comment(text, start)
    rest = text[end:].strip(" \t")
    if rest and rest[0] != ";":
        raise WireError("Retry-After is malformed")
    seconds = parse_number(text[:start].rstrip(" \t"), "Retry-After", DELTA_SECONDS)
    return RetryAfter(seconds, text[start + 1 : end - 1], parse_params(rest) if rest else ())


def _end_of_comment(text: str, start: int) -> int:
    """The end of the comment that begins at ``start``; comments may be nested (section 25.1)."""
    depth, position = 0, start
    while match := grammar.comment_piece(text, position):
        position = match.end()
        if match[1]:
            depth += 1 if match[1] == "(" else -1
            if depth == 0:
                return position
    raise WireError("a comment is not closed")


# --- addresses -------------------------------------------------------------------------------------------


class Contact(NameAddr):
    """A Contact value; ``*``, which stands for all bindings (section 10.2.2), has ``is_all`` and no URI."""

    __slots__ = ()

    @property
    def is_all(self) -> bool:
        """Whether the value is ``*``."""
        return self.uri_text == "*"

    @property
    def expires(self) -> int | None:
        """The *expires* parameter in seconds: at most :data:`DELTA_SECONDS`, 3600 where malformed (section 20.10)."""
        value = self.param("expires")
        if value is None:
            return None
        if not (value.isascii() and value.isdigit()):
            return _EXPIRES_DEFAULT
        digits = value.lstrip("0") or "0"
        return min(int(digits), DELTA_SECONDS) if len(digits) <= 10 else DELTA_SECONDS

    def __str__(self) -> str:
        return "*" if self.is_all else super().__str__()


def parse_contact(text: str) -> Contact:
    """One Contact value (section 20.10) with a URI of any scheme, which is checked too."""
    if text == "*":
        return Contact("", "*")
    address = parse_name_addr(text)
    _ = address.uri
    return Contact(address.display, address.uri_text, address.params)


def parse_route(text: str) -> NameAddr:
    """One value of Route, Record-Route (sections 20.34 and 20.30) or Path (RFC 3327): a SIP URI in angle brackets."""
    address = parse_name_addr(text)
    if "<" not in text or not address.uri.host:
        raise WireError("a route is not a SIP URI in angle brackets")
    return address


# --- lists of tokens -------------------------------------------------------------------------------------


def parse_require(text: str) -> Values[str]:
    """The option tags of Require and Proxy-Require (sections 20.32 and 20.29), in lower case."""
    return Values(tag.lower() for tag in _tokens(text))


def unsupported(fields: Iterable[str], known: Collection[str]) -> list[str]:
    """The option tags of Require or Proxy-Require that are not ``known``, as Unsupported lists them (section 20.40)."""
    return [tag for field in fields for tag in parse_require(field) if tag not in known]


def parse_supported(text: str) -> Values[str]:
    """The option tags of Supported (section 20.37), in lower case; the value may be empty."""
    return parse_require(text) if text else Values(())


def parse_allow(text: str) -> Values[str]:
    """The methods of Allow (section 20.5), which are case-sensitive; the value may be empty."""
    return Values(_tokens(text) if text else ())


def _tokens(text: str) -> list[str]:
    values = split_list(text)
    if not all(map(grammar.token, values)):
        raise WireError("a list of tokens has something else in it")
    return values
