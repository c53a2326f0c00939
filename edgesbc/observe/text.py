"""Escapes a peer's text for terminals and logs."""

from __future__ import annotations

__all__ = ["shown"]


def shown(text: str, limit: int) -> str:
    """``text`` on one line, without characters that a terminal or a log reader would interpret.

    Control characters, line and paragraph separators, direction marks and lone surrogates become ``\\xNN`` or
    ``\\uNNNN``, as does the backslash itself, so that the result is unambiguous. A text longer than ``limit``
    characters loses its middle.
    """
    if len(text) > limit:
        head = limit // 4
        text = f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else _escaped(c) for c in text)


_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _escaped(character: str) -> str:
    """``character`` as Python writes it in a literal.

    Not by its codec ``unicode_escape``: Python would import that when the first text needs it, and a process without a
    free descriptor could not.
    """
    if short := _SHORT.get(character):
        return short
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
