"""Digest challenges and credentials (RFC 3261 section 22, RFC 7616): parsing, and challenges with a new nonce."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import split_list
from edgesbc.sip.uri import Param, Parameters

__all__ = ["Digest", "is_stale", "parse_digest", "renewed"]


class Digest(Parameters):
    """One value of WWW-Authenticate, Proxy-Authenticate, Authorization or Proxy-Authorization.

    The values of ``params`` keep their quotes. ``params`` is empty where the scheme is not Digest.
    """

    __slots__ = ()

    def __init__(self, params: Iterable[Param] = ()) -> None:
        self.params = tuple(params)

    def text(self, name: str) -> str | None:
        """The value of the parameter ``name`` without its quotes; None where it is missing."""
        value = self.param(name)
        return value[1:-1] if value is not None and value[:1] == '"' else value

    def __str__(self) -> str:
        return "Digest " + ", ".join(f"{name}={value or ''}" for name, value in self.params)


def parse_digest(text: str) -> Digest:
    """Parse a challenge or credentials. Raises :class:`WireError`, also where a parameter appears twice."""
    scheme, _, rest = text.partition(" ")
    rest = rest.strip(" \t")
    if scheme.lower() != "digest" or not rest:
        return Digest()
    params: dict[str, str | None] = {}
    for part in split_list(rest):
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if not equals or not grammar.token(name) or name in params:
            raise WireError("a Digest parameter is malformed or stands twice")
        if '"' in value and not grammar.quoted(value):
            raise WireError("a Digest parameter has quotes that are not closed")
        if len(params) == limits.PARAMETERS:
            raise WireError("a header field has too many parameters", 513)
        params[name] = value
    return Digest(params.items())


def is_stale(challenge: str) -> bool:
    """Whether a challenge says that the nonce was old and nothing else wrong (RFC 7616 section 3.3)."""
    try:
        return (parse_digest(challenge).text("stale") or "").lower() == "true"
    except WireError:
        return False


def renewed(challenge: str, fresh: Callable[[str], str]) -> str:
    """The challenge with nonce and opaque replaced by ``fresh(value)``, and the rest as it was written."""
    return grammar.nonce_or_opaque.sub(lambda match: f"{match[1]}{fresh(match[2])}{match[3]}", challenge)
