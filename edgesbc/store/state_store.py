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
from edgesbc.tasks.containment import Containment

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
    """The state files of the folder ``state_dir``: one task writes those whose state has changed.

    What cannot be written, as on a full disk, is in force all the same, and its writing is tried again.
    ``containment`` counts and reports internal errors.
    """

    def __init__(self, state_dir: Path, items: Sequence[Persisted], log: Log, containment: Containment) -> None:
        self._state_dir = state_dir
        self._items = tuple(items)
        self._log = log
        self._containment = containment
        self._writing = trio.Lock()
        self._written = [item.version for item in self._items]
        self._failed: set[str] = set()  # names of items whose last writing failed

    def restore(self) -> None:
        """Put the state of the last run in force. A broken file is logged and put aside; the edge starts without it."""
        for index, item in enumerate(self._items):
            self._restore(item)
            self._written[index] = item.version

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
        while True:
            await trio.sleep(limits.STATE_KEPT_SECONDS)
            for index, item in enumerate(self._items):
                if item.version != self._written[index]:
                    await self._write(index, item)

    async def write(self) -> None:
        """Write all state now. An error of the disk is logged."""
        for index, item in enumerate(self._items):
            await self._write(index, item)

    async def _write(self, index: int, item: Persisted) -> None:
        """Write one file. Raises nothing; a failure is logged once, until it is written again."""
        with self._containment.contain("state files"):
            try:
                async with self._writing:  # at the end of the edge, run() may still be writing older state
                    version, data = item.version, item.as_json(trio.current_time(), time.time())
                    await trio.to_thread.run_sync(write_file, self._state_dir / item.file, data)
            except OSError as error:
                if item.name not in self._failed:
                    self._failed.add(item.name)
                    self._log.error(f"{item.name} cannot be written", error=str(error))
                return
            self._written[index] = version
            if item.name in self._failed:
                self._failed.discard(item.name)
                self._log.info(f"{item.name} are written again")


def _put_aside(path: Path) -> str:
    try:
        return str(put_aside(path))
    except OSError as error:
        return f"nothing: {error}"
