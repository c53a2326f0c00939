"""A policy on its way: the sections that are right in themselves, before they are held against each other."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from edgesbc.base.errors import PolicyError

__all__ = ["Draft"]

_NAME_KEYS = {"listen": "name", "database": "name", "destinations": "set"}


class Draft:
    """``tables`` and ``lists`` hold what could be read; items of lists come with their place in the file.

    ``broken`` are the lists in which something could not be read; ``names`` are the names in those, so
    that a mistake in a set does not bring a second one for every route to it.
    """

    __slots__ = ("broken", "errors", "file", "lists", "names", "tables")

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[PolicyError] = []
        self.tables: dict[str, Any] = {}
        self.lists: defaultdict[str, list[tuple[int, Any]]] = defaultdict(list)
        self.broken: set[str] = set()
        self.names: defaultdict[str, set[str]] = defaultdict(set)

    def all(self, key: str) -> tuple[Any, ...]:
        """The items of the list ``key``, without their places."""
        return tuple(item for _, item in self.lists[key])

    def remember_name(self, key: str, item: object) -> None:
        """Note the name of an item that could not be read."""
        if isinstance(item, dict) and isinstance(name := item.get(_NAME_KEYS.get(key, "")), str):
            self.names[key].add(name)
