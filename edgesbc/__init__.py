"""A security-hardened SIP edge.

:func:`serve` runs the whole edge in a program of yours. :mod:`edgesbc.sip` is the SIP library alone: importing it
imports neither trio nor the edge, which is why the names here are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesbc.base.version import VERSION

if TYPE_CHECKING:
    from edgesbc.embedding import (
        CommandRefused,
        PolicyErrors,
        RestartNeeded,
        RunningEdge,
        load_policy,
        parse_policy,
        serve,
    )

__all__ = [
    "CommandRefused", "PolicyErrors", "RestartNeeded", "RunningEdge", "__version__", "load_policy", "parse_policy",
    "serve",
]  # fmt: skip

__version__ = VERSION


def __getattr__(name: str) -> object:
    """Import a public name when it is used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edgesbc import embedding

    return getattr(embedding, name)
