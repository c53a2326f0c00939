"""The user of a SIP URI and the number of a ``tel:`` URI, in one spelling for comparisons.

A caller may write a number in many ways that a server behind the edge takes for the same (RFC 3966, RFC 3261 section
19.1.6): with visual separators, with escapes, with parameters as ``;npdi`` or ``;phone-context=``. What decides by a
number compares :func:`plain_user`; what changes a number uses :class:`WrittenUser`, which keeps the rest.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from edgesbc.sip.uri import Uri

__all__ = ["WrittenUser", "address_of_record", "plain_user", "spellings"]

# phonedigit       = DIGIT / [ visual-separator ]
# phonedigit-hex   = HEXDIG / "*" / "#" / [ visual-separator ]
# visual-separator = "-" / "." / "(" / ")" (RFC 3966 section 3)
# A number without its parameters: at least one sign that is dialled. Spaces are accepted, since phones write "%20".
_NUMBER: Final = re.compile(r"[ \-.()]*+\+?[ \-.()]*+[0-9*#][0-9*# \-.()]*+").fullmatch
_SEPARATORS: Final = str.maketrans("", "", " -.()")
# A semicolon begins parameters also where it is escaped, for a server that decodes before it looks for them.
_PARAMS: Final = re.compile(";|%3[Bb]")
_CONTEXT: Final = "phone-context="


def plain_user(uri: Uri) -> str:
    """The user of ``uri`` as it is compared: without password, with escapes decoded, and where it is a telephone number
    also without visual separators and parameters.

    A user is a telephone number in a ``tel:`` URI, and where it has no other characters than digits, ``*``, ``#``, a
    plus in front and visual separators. A URI without a user gives ``""``.
    """
    user = uri.user
    if user is None:
        return _plain(uri.opaque, uri.scheme == "tel")
    if user.isascii() and user.isalnum():
        return user
    return _plain(user.partition(":")[0], is_tel=False)


def address_of_record(uri: Uri) -> str:
    """User and host of ``uri`` as they are compared, without what a caller may write differently each time: password,
    port, parameters, visual separators."""
    return f"{plain_user(uri)}@{uri.host}"


def spellings(uri: Uri) -> tuple[str, ...]:
    """:func:`plain_user`, and behind it the user as it was written, without password and with escapes decoded, where
    that differs: for patterns that were made for a written form."""
    plain, user = plain_user(uri), uri.user
    written = uri.opaque if user is None else user
    if written is plain:
        return (plain,)
    if user is not None:
        written = written.partition(":")[0]
    if "%" in written:
        written = unquote(written, errors="replace")
    return (plain,) if written == plain else (plain, written)


def _plain(text: str, is_tel: bool) -> str:
    number = _PARAMS.split(text, 1)[0]
    if "%" in text:
        text = unquote(text, errors="replace")
        number = unquote(number, errors="replace")
    return number.translate(_SEPARATORS) if is_tel or _NUMBER(number) is not None else text


class WrittenUser:
    """The user of a URI in its parts, to put another number in its place.

    ``number`` is the text that rules for numbers change: a telephone number without separators and escapes, any other
    user as it was written. ``params`` are the parameters of a telephone number and ``password`` the
    password, each as written with the mark before it.
    """

    __slots__ = ("number", "params", "password")

    def __init__(self, uri: Uri) -> None:
        is_tel = uri.scheme == "tel"
        text, colon, password = (uri.opaque, "", "") if is_tel else (uri.user or "").partition(":")
        written, *params = _PARAMS.split(text, 1)
        number = unquote(written, errors="surrogateescape")
        is_number = is_tel or _NUMBER(number) is not None
        if _NUMBER(number) is not None:
            written = number
        self.number: Final = written.translate(_SEPARATORS) if is_number else text
        self.params: Final = f";{params[0]}" if is_number and params else ""
        self.password: Final = colon + password

    def with_number(self, number: str) -> str:
        """The user with ``number``, escaped, in the place of its own. A global number has no context: ``phone-context``
        belongs to local ones (RFC 3966 section 5.1.5)."""
        params = self.params
        if number.startswith("+") and _CONTEXT in params.lower():
            others = [param for param in params[1:].split(";") if not param.lower().startswith(_CONTEXT)]
            params = "".join(f";{param}" for param in others)
        return number + params + self.password
