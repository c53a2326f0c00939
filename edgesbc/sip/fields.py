"""Header fields as pairs of name and value: canonical names, lists split, text that may stand on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.headers import split_list

__all__ = ["Field", "Fields", "check_text", "checked_fields", "refuse_repeated"]

Field = tuple[str, str]
"""Name in canonical form, and value without the white space around it."""
Fields = list[Field]

# What the parser refuses in a header block, besides line ends: control characters other than tab.
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_FROM_BODY: Final = "Content-Length"


def check_text(text: str, part: str) -> str:
    """``text`` as it is. Raises :class:`WireError` where it has a control character, a CR or a LF."""
    if _control(text):
        raise WireError(f"{part} has a control character: expected one line of text, found {text!r}")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise WireError(f"{part} cannot be encoded in UTF-8: found {text!r}") from None
    return text


def checked_fields(pairs: Iterable[Field]) -> tuple[Field, ...]:
    """The fields as the parser would return them: names in canonical form, values stripped, lists split.

    Raises :class:`WireError` for a name that is no token, for Content-Length, which is written from the body, and
    for a value that would end its line: with it, a caller could write further header fields (CWE-93).
    """
    fields: Fields = []
    for written, value in pairs:
        if not grammar.token(written):
            raise WireError(f"the name of a header field is not a token: found {written!r}")
        name = grammar.CANONICAL.get(written) or grammar.CANONICAL.get(written.lower()) or written
        if name == _FROM_BODY:
            raise WireError("Content-Length stands among the fields: it is written from the body")
        value = check_text(value, f"the value of {name}").strip(" \t")
        if name in grammar.LISTED and ("," in value or not value):
            fields += [(name, part) for part in split_list(value)]
        else:
            fields.append((name, value))
    return tuple(fields)


def refuse_repeated(fields: Iterable[Field]) -> None:
    """Raise :class:`WireError` where a field appears twice that may appear once only."""
    seen: set[str] = set()
    for name, _ in fields:
        if name in seen and name in grammar.SINGLE:
            raise WireError(f"{name} stands twice")
        seen.add(name)
    if _FROM_BODY in seen:
        raise WireError(f"{_FROM_BODY} stands twice")
