"""The attributes of a destination of Kamailio's, read by the rules of its parser (``parse_params``)."""

from __future__ import annotations

import re
from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.inventory.rows import plain

__all__ = ["KNOWN", "leading_number", "parse_attributes"]

KNOWN = frozenset({
    "cc", "duid", "latency", "maxload", "obproxy", "ocmax", "ocmin", "ocrate", "ping_from", "ping_socket",
    "ping_sockname", "rweight", "sockname", "socket", "weight",
})  # fmt: skip
"""Names with a meaning in Kamailio, which ignores their case."""

_NAME = re.compile(r"[^\s,;=]*+")
_VALUE = re.compile(r"[^\s,;]++")
_NUMBER = re.compile(r"([+-]?)0*([0-9]{0,9})")


def parse_attributes(text: str, note: Callable[[str], None]) -> dict[str, str]:
    """``name=value;name="a;b";name`` as a dict; a name alone has an empty value.

    As in Kamailio, a value in double or single quotes may have semicolons and blanks, the first of several values of a
    name counts, and nothing is read after a comma. ``note`` takes what is read in another way than it may be meant.
    Raises ``ValueError`` where Kamailio leaves the destination out, and for more than ``limits.DATABASE_PAIRS`` names.
    """
    values: dict[str, str] = {}
    rest = text.strip()
    while rest:
        match = _NAME.match(rest)
        name = match[0] if match is not None else ""
        rest = rest[len(name) :].lstrip()
        value = ""
        if rest.startswith("="):
            value, rest = _value(rest[1:].lstrip(), name, note)
            if not name:
                raise ValueError(f"expected name=value, found {plain('=' + value)}")
        if name.lower() in KNOWN:
            name = name.lower()
        if name in values:
            note(f"{plain(name)} stands there again, and the first of its values counts")
        elif name:
            values[name] = value
        if rest.startswith(","):
            note(f"nothing is read after a comma: {plain(rest)} is left out; write the value in quotes")
            break
        if rest and not rest.startswith(";"):
            raise ValueError(f"expected ; after {plain(name)}, found {plain(rest)}")
        rest = rest[1:].lstrip()
    if len(values) > limits.DATABASE_PAIRS:
        raise ValueError(f"expected at most {limits.DATABASE_PAIRS} pairs, found {len(values)}")
    return values


def _value(text: str, name: str, note: Callable[[str], None]) -> tuple[str, str]:
    """The value at the beginning of ``text``, and what follows it."""
    if text[:1] in ("'", '"'):
        value, quote, rest = text[1:].partition(text[0])
        if not quote:
            raise ValueError(f"expected a value in quotes after {plain(name)}=, found no end of {plain(text)}")
        return value, rest.lstrip()
    match = _VALUE.match(text)
    value = match[0] if match is not None else ""
    rest = text[len(value) :].lstrip()
    if rest and not rest.startswith((",", ";")):
        # Kamailio leaves such a destination out. Here the value has always had its blanks.
        words, separator, others = rest.partition(";")
        value = f"{value} {words.rstrip()}"
        note(f"Kamailio leaves a destination out for the blank in {plain(f'{name}={value}')}; write it in quotes")
        rest = separator + others
    return value, rest


def leading_number(text: str) -> int | None:
    """The number at the beginning of ``text``, which is all that Kamailio reads of it; None if there is none."""
    match = _NUMBER.match(text.strip())
    if match is None or not match[0].strip("+-"):
        return None
    return int(match[2] or "0") * (-1 if match[1] == "-" else 1)
