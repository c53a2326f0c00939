"""Keeps what operators and the edge have decided on disk, and puts that of the last run in force. Decides nothing."""

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
    """One thing to be kept, in a file of its own. Times are seconds, on the plane's clock and on that of the world."""

    @property
    def name(self) -> str:
        """What the log calls it, in the plural."""

    @property
    def file(self) -> str:
        """The name of its file in the state directory."""

    @property
    def version(self) -> object:
        """Another value whenever there is something else to keep."""

    def as_json(self, now: float, wall: float) -> bytes:
        """What is worth keeping."""

    def enter(self, data: bytes, now: float, wall: float) -> int:
        """Put in force what was kept; how many there are. ``data`` is empty where there is no file.

        Raises ``ValueError`` that says what was found where something else was expected.
        """


class StateStore:
    """One task for all that is kept in ``folder``."""

    def __init__(self, folder: Path, kept: Sequence[Persisted], log: Log) -> None:
        self._folder = folder
        self._kept = tuple(kept)
        self._log = log
        self._writing = trio.Lock()

    def enter(self) -> None:
        """Put what the last run had in force. A file that is broken is said and put aside, and stops nothing."""
        for each in self._kept:
            self._enter(each)

    def _enter(self, kept: Persisted) -> None:
        path = self._folder / kept.file
        try:
            entered = kept.enter(read_state(path), trio.current_time(), time.time())
        except ValueError as error:
            self._log.error(f"the {kept.name} of the last run are broken", error=str(error), kept_as=_put_aside(path))
        except OSError as error:
            self._log.error(f"the {kept.name} of the last run cannot be read", error=str(error))
        else:
            if entered:
                self._log.info(f"{kept.name} of the last run are in force again", number=entered)

    async def run(self) -> None:
        """Write from time to time what is other than before."""
        written = [each.version for each in self._kept]
        while True:
            await trio.sleep(limits.STATE_KEPT_SECONDS)
            for number, each in enumerate(self._kept):
                if each.version != written[number]:
                    written[number] = each.version
                    await self._write(each)

    async def write(self) -> None:
        """Write all of it now. A disk that fails is logged and stops nothing."""
        for each in self._kept:
            await self._write(each)

    async def _write(self, kept: Persisted) -> None:
        try:
            async with self._writing:  # at the end of the edge, run() may still be writing what was there before
                data = kept.as_json(trio.current_time(), time.time())
                await trio.to_thread.run_sync(write_file, self._folder / kept.file, data)
        except OSError as error:
            self._log.error(f"{kept.name} cannot be written", error=str(error))


def _put_aside(path: Path) -> str:
    try:
        return str(put_aside(path))
    except OSError as error:
        return f"nothing: {error}"
