"""Draft: the sections of a policy file that are valid by themselves, before they are checked against each other."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from edgesbc.base.errors import PolicyError

__all__ = ["Draft"]

_NAME_KEYS = {"listen": "name", "database": "name", "destinations": "set"}


class Draft:
    """A policy under construction.

    ``tables`` and ``lists`` hold the valid sections; items of lists have their index in the file. ``broken`` are the
    lists with an invalid item, and ``names`` the names of those items, so that a mistake in a set does not cause a
    second one for every route to it.
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
        """The items of the list ``key``, without their indexes."""
        return tuple(item for _, item in self.lists[key])

    def remember_name(self, key: str, item: object) -> None:
        """Keep the name of an invalid item."""
        if isinstance(item, dict) and isinstance(name := item.get(_NAME_KEYS.get(key, "")), str):
            self.names[key].add(name)
