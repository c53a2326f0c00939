"""Log: what packages need of a logger. Loggers are made by :mod:`edgesbc.observe.logs`."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Log"]


class Log(Protocol):
    """Structured log records: ``event`` is a fixed text of this program, and what varies stands in ``values``.

    A value may hold a peer's text: it is escaped where it is written.
    """

    def info(self, event: str, **values: object) -> object:
        """Something that an operator expects to see: started, reloaded, a database is back."""

    def error(self, event: str, **values: object) -> object:
        """Something that an operator has to look into."""
