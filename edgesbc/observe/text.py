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
    return "".join(
        c if c.isprintable() and c != "\\" else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )
