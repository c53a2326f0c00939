"""Makes text that a peer may have chosen safe to show on a terminal and in a log. Knows no destination."""

from __future__ import annotations

__all__ = ["shown"]


def shown(text: str, limit: int) -> str:
    """``text`` on one line and without anything that a terminal or a log reader would obey.

    Control characters, line and paragraph separators, direction marks and lone surrogates become
    ``\\xNN`` or ``\\uNNNN``, as does the backslash itself, so that nothing shown can be mistaken for an escape
    made here. Of what is over ``limit`` characters, the middle gives way.
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
