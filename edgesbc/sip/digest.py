"""Digest challenges and credentials (RFC 3261 section 22, RFC 7616): reads what they say. Checks no password."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import split_list
from edgesbc.sip.uri import Parameters, Params

__all__ = ["Digest", "is_stale", "parse_digest", "renewed"]


class Digest(Parameters):
    """One value of WWW-Authenticate, Authorization and the like; ``params`` with the quotes that they have.

    There are none where the scheme is not Digest.
    """

    __slots__ = ()

    def __init__(self, params: Params) -> None:
        self.params = params

    def text(self, name: str) -> str | None:
        """A parameter's value without its quotes; None where it is missing."""
        value = self.param(name)
        return value[1:-1] if value is not None and value[:1] == '"' else value

    def __str__(self) -> str:
        return "Digest " + ", ".join(f"{name}={value or ''}" for name, value in self.params)


def parse_digest(text: str) -> Digest:
    """Raises :class:`WireError`, also where a parameter stands twice."""
    scheme, _, rest = text.partition(" ")
    rest = rest.strip(" \t")
    if scheme.lower() != "digest" or not rest:
        return Digest([])
    found: dict[str, str | None] = {}
    for part in split_list(rest):
        name, equals, value = part.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if not equals or not grammar.token(name) or name in found:
            raise WireError("a Digest parameter is malformed or stands twice")
        if '"' in value and not grammar.quoted(value):
            raise WireError("a Digest parameter has quotes that are not closed")
        if len(found) == limits.PARAMETERS:
            raise WireError("a header field has too many parameters", 513)
        found[name] = value
    return Digest(list(found.items()))


def is_stale(challenge: str) -> bool:
    """Whether a challenge says that the password was not looked at: only the nonce was old."""
    try:
        return (parse_digest(challenge).text("stale") or "").lower() == "true"
    except WireError:
        return False


def renewed(challenge: str, fresh: Callable[[str], str]) -> str:
    """The challenge with what ``fresh`` makes of its nonce and opaque, and otherwise as it is written."""
    return grammar.nonce_or_opaque.sub(lambda match: f"{match[1]}{fresh(match[2])}{match[3]}", challenge)
