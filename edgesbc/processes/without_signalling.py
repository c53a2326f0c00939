"""What the supervisor answers on the control socket while signalling is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgesbc.control.lifecycle import EdgeStatus
from edgesbc.control.protocol import Command, CommandRefused, ControlRequest

__all__ = ["CommandsWithoutSignalling"]

_AWAY = "signalling is being started; ask again in a moment"


class CommandsWithoutSignalling(Mapping[str, Command]):
    """``status``, ``metrics`` and ``drain``; every other command is refused for now."""

    def __init__(self, status: Callable[[], EdgeStatus], drain: Callable[[], dict[str, Any]]) -> None:
        self._table: dict[str, Command] = {
            "status": lambda request: status(),
            "metrics": lambda request: [],
            "drain": lambda request: drain(),
        }

    def __getitem__(self, name: str) -> Command:
        return self._table.get(name, _refuse)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _refuse(request: ControlRequest) -> Any:
    raise CommandRefused(_AWAY)
