"""Number rewriting: the user of a Request-URI with characters removed, added in front, or replaced by a pattern."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote

import attrs

from edgesbc.base import limits
from edgesbc.base.patterns import check_pattern, compile_pattern

__all__ = ["Numbers", "Rewrite", "check_user"]

_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%]*\Z")
"""RFC 3261 section 25.1 *user*."""
_UNESCAPED = "-_.!~*'()&=+$,;?/"
"""Characters that need no escape in the user, besides letters and digits."""
_GROUPS = re.compile(r"\\(g<\w+>|[0-9]{1,2})")


def check_user(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    """An attrs validator: the text must be allowed in the user of a SIP URI. Raises ``ValueError``."""
    if not _USER.match(value):
        raise ValueError(f"expected characters that the user of a SIP URI may have, found {value!r}")


def _pattern(_instance: object, _attribute: attrs.Attribute[Any], value: str) -> None:
    check_pattern(value)


def _template(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    check_user(instance, attribute, _GROUPS.sub("", value))


@attrs.frozen
class Rewrite:
    """The first match of the pattern ``match`` in the user is replaced by ``replace``, in which ``\\1`` is the first
    group."""

    match: str = attrs.field(validator=_pattern)
    replace: str = attrs.field(default="", validator=_template)

    def __attrs_post_init__(self) -> None:
        try:
            always = compile_pattern(f"(?:{self.match})|")  # it matches any text, so that the template is checked
            always.sub(self.template, "")
        except (re.error, IndexError) as error:
            raise ValueError(
                f"expected groups of {self.match!r} in replace, found {self.replace!r} ({error})"
            ) from None

    @property
    def template(self) -> str:
        """:attr:`replace` with its percent escapes decoded, as a template for ``re``."""
        return unquote(re.sub("(?i)%5C", "%5C%5C", self.replace))


@attrs.frozen
class Numbers:
    """The rewriting of a number: remove ``strip`` characters, apply ``rewrite``, put ``prepend`` in front."""

    strip: int = 0
    prepend: str = ""
    rewrite: Rewrite | None = None

    def apply(self, user: str) -> str:
        """Rewrite ``user``, the user of a Request-URI without its password.

        Percent escapes are decoded first, as for the patterns of routes, because ``%2B`` instead of a plus would evade
        both; characters that need an escape are escaped again afterwards. The pattern is not applied to a text longer
        than ``limits.ROUTE_TEXT``, because it may backtrack.
        """
        text = unquote(user, errors="surrogateescape")[self.strip :]
        if self.rewrite is not None and len(text) <= limits.ROUTE_TEXT:
            text = compile_pattern(self.rewrite.match).sub(self.rewrite.template, text, count=1)
        return self.prepend + quote(text, _UNESCAPED, errors="surrogateescape")
