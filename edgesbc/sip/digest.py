"""Digest challenges and credentials (RFC 3261 section 22, RFC 7616): parsing, and challenges with a new nonce."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import split_list
from edgesbc.sip.uri import Param, Parameters

__all__ = ["Credentials", "Digest", "account_of", "credentials_of", "is_stale", "parse_digest", "renewed"]

_quoted_pair = re.compile(r"\\(.)", re.DOTALL)


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
        if len(params) == limits.DIGEST_PARAMETERS:
            raise WireError("a header field has too many parameters", 513)
        params[name] = value
    return Digest(params.items())


class Credentials(NamedTuple):
    """Complete credentials. Both are hashes, so that their size does not depend on the peer's text."""

    account: int
    """Of username and realm."""
    proof: int
    """Of account, nonce and response: another one for each nonce, and with ``nc`` for each request."""


def account_of(digest: Digest) -> int | None:
    """A number for username and realm (RFC 7616 section 3.4), the same in every process; None where one is missing or
    empty, or the name stands twice.

    Forms that some registrar may accept for the same account are the same here: quotes, escapes, the extended notation
    of ``username*`` (RFC 8187), capitals, and spaces around it. Otherwise one account could count as many.
    """
    plain, extended, realm = digest.text("username"), digest.text("username*"), digest.text("realm")
    if (plain is None) is (extended is None) or not realm:
        return None
    name = _plain(plain) if extended is None else _plain(unquote(extended.split("'", 2)[-1]))
    if not name:
        return None
    text = f"{len(name)}:{name}{_plain(realm)}"
    digest_of_both = hashlib.blake2s(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest_of_both, "big", signed=True)


def _plain(text: str | None) -> str:
    return _quoted_pair.sub(r"\1", text or "").strip().casefold()


def credentials_of(fields: Sequence[str]) -> Credentials | None:
    """The credentials in the Authorization fields of a request; None unless there is one field, which has all that a
    registrar needs to check it. With several fields one would not know which of them was accepted."""
    if len(fields) != 1:
        return None
    try:
        digest = parse_digest(fields[0])
    except WireError:
        return None
    account = account_of(digest)
    nonce, response = digest.text("nonce"), digest.text("response")
    if account is None or not nonce or not response or not digest.text("uri"):
        return None
    return Credentials(account, hash((account, _plain(nonce), _plain(response))))


def is_stale(challenge: str) -> bool:
    """Whether a challenge says that the nonce was old and nothing else wrong (RFC 7616 section 3.3)."""
    try:
        return (parse_digest(challenge).text("stale") or "").lower() == "true"
    except WireError:
        return False


def renewed(challenge: str, fresh: Callable[[str], str], realm: str = "") -> str:
    """The challenge with nonce and opaque replaced by ``fresh(value)``, the realm by ``realm`` unless that is "", and
    the rest as it was written."""
    if realm:
        challenge = grammar.realm.sub(lambda match: f"{match[1]}{realm}{match[3]}", challenge)
    return grammar.nonce_or_opaque.sub(lambda match: f"{match[1]}{fresh(match[2])}{match[3]}", challenge)
