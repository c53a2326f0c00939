"""Digest challenges and credentials (RFC 3261 section 22, RFC 7616): reads what they say. Checks no password."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import split_list

__all__ = ["is_stale", "parse_digest", "renewed"]


def parse_digest(text: str) -> dict[str, str]:
    """The parameters of a value of WWW-Authenticate, Authorization and the like, names in lower case and values
    without quotes; none where the scheme is not Digest.

    Raises :class:`WireError`.
    """
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "digest" or not rest.strip():
        return {}
    found: dict[str, str] = {}
    for part in split_list(rest.strip()):
        name, equals, value = part.partition("=")
        name, value = name.strip().lower(), value.strip()
        if not equals or not name or name in found:
            raise WireError("a Digest parameter is malformed or stands twice")
        if value[:1] == '"' and (len(value) < 2 or value[-1] != '"'):
            raise WireError("a Digest parameter has quotes that are not closed")
        found[name] = value[1:-1] if value[:1] == '"' else value
    return found


def is_stale(challenge: str) -> bool:
    """Whether a challenge says that password and name were right, or not looked at: only the nonce was old."""
    try:
        return parse_digest(challenge).get("stale", "").lower() == "true"
    except WireError:
        return False


def renewed(challenge: str, fresh: Callable[[str], str]) -> str:
    """The challenge with what ``fresh`` makes of its nonce and opaque, and otherwise as it is written."""
    return grammar.nonce_or_opaque.sub(lambda match: f"{match[1]}{fresh(match[2])}{match[3]}", challenge)
