"""Numbers as the next network wants them: digits cut off, put in front, or rewritten. Routes nothing."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import attrs

from edgesbc.base import limits
from edgesbc.base.patterns import check_pattern

__all__ = ["Numbers", "Rewrite", "check_user"]

_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%]*\Z")
"""RFC 3261 section 25.1 *user*."""
_UNESCAPED = "-_.!~*'()&=+$,;?/"
"""Besides letters and digits, what may stand there without an escape."""
_GROUPS = re.compile(r"\\(g<\w+>|[0-9]{1,2})")


def check_user(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator: a text that may stand in the user of a URI."""
    if not _USER.match(value):
        raise ValueError(f"expected characters that the user of a SIP URI may have, found {value!r}")


def _pattern(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    check_pattern(value)


def _template(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    check_user(instance, attribute, _GROUPS.sub("", value))


@attrs.frozen
class Rewrite:
    """What ``match`` finds in the user, the first time, becomes ``replace``, where ``\\1`` is its first group."""

    match: str = attrs.field(validator=_pattern)
    replace: str = attrs.field(default="", validator=_template)

    def __attrs_post_init__(self) -> None:
        try:
            re.compile(f"(?:{self.match})|").sub(self.template, "")  # which matches anything, and reads the template
        except (re.error, IndexError) as error:
            raise ValueError(
                f"expected groups of {self.match!r} in replace, found {self.replace!r} ({error})"
            ) from None

    @property
    def template(self) -> str:
        """:attr:`replace` with its escapes resolved, as ``re`` takes it."""
        return unquote(re.sub("(?i)%5C", "%5C%5C", self.replace))


@attrs.frozen
class Numbers:
    """First ``strip`` characters go, then ``rewrite`` is applied, then ``prepend`` goes in front."""

    strip: int = 0
    prepend: str = ""
    rewrite: Rewrite | None = None

    def apply(self, user: str) -> str:
        """The user of a Request-URI, without its password, as it goes on.

        Escapes are resolved, as for the patterns of routes, or who writes ``%2B`` for a plus would pass by both; what
        needs one has it again afterwards. A text that is longer than ``limits.ROUTE_TEXT`` is not rewritten, since the
        pattern may backtrack.
        """
        text = unquote(user, errors="surrogateescape")[self.strip :]
        if self.rewrite is not None and len(text) <= limits.ROUTE_TEXT:
            text = re.sub(self.rewrite.match, self.rewrite.template, text, count=1)
        return self.prepend + quote(text, _UNESCAPED, errors="surrogateescape")
