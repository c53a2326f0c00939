"""StateStore: writes bans and operator overrides to disk while the edge runs, and restores those of the last run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import trio

from edgesbc.base import limits
from edgesbc.base.files import write_file
from edgesbc.base.log import Log
from edgesbc.store.state_files import put_aside, read_state

__all__ = ["Persisted", "StateStore"]


class Persisted(Protocol):
    """One kind of state with a file of its own. ``now`` and ``wall`` are the same moment in seconds, on the monotonic
    clock and on the wall clock."""

    @property
    def name(self) -> str:
        """Its name in log records, in the plural."""

    @property
    def file(self) -> str:
        """The name of its file in the state directory."""

    @property
    def version(self) -> object:
        """A value that differs whenever the state has changed."""

    def as_json(self, now: float, wall: float) -> bytes:
        """The content of the file."""

    def restore(self, data: bytes, now: float, wall: float) -> int:
        """Put the state in ``data`` in force; returns the number of its entries. ``data`` is empty without a file.

        Raises ``ValueError`` that says what was expected and found.
        """


class StateStore:
    """The state files of the folder ``state_dir``: one task writes those whose state has changed."""

    def __init__(self, state_dir: Path, items: Sequence[Persisted], log: Log) -> None:
        self._state_dir = state_dir
        self._items = tuple(items)
        self._log = log
        self._writing = trio.Lock()

    def restore(self) -> None:
        """Put the state of the last run in force. A broken file is logged and put aside; the edge starts without it."""
        for item in self._items:
            self._restore(item)

    def _restore(self, item: Persisted) -> None:
        path = self._state_dir / item.file
        try:
            number = item.restore(read_state(path), trio.current_time(), time.time())
        except ValueError as error:
            self._log.error(f"the {item.name} of the last run are broken", error=str(error), kept_as=_put_aside(path))
        except OSError as error:
            self._log.error(f"the {item.name} of the last run cannot be read", error=str(error))
        else:
            if number:
                self._log.info(f"{item.name} of the last run are in force again", number=number)

    async def run(self) -> None:
        """Write changed state every ``limits.STATE_KEPT_SECONDS``, until cancelled."""
        written = [item.version for item in self._items]
        while True:
            await trio.sleep(limits.STATE_KEPT_SECONDS)
            for index, item in enumerate(self._items):
                if item.version != written[index]:
                    written[index] = item.version
                    await self._write(item)

    async def write(self) -> None:
        """Write all state now. An error of the disk is logged."""
        for item in self._items:
            await self._write(item)

    async def _write(self, item: Persisted) -> None:
        try:
            async with self._writing:  # at the end of the edge, run() may still be writing older state
                data = item.as_json(trio.current_time(), time.time())
                await trio.to_thread.run_sync(write_file, self._state_dir / item.file, data)
        except OSError as error:
            self._log.error(f"{item.name} cannot be written", error=str(error))


def _put_aside(path: Path) -> str:
    try:
        return str(put_aside(path))
    except OSError as error:
        return f"nothing: {error}"
