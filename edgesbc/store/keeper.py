"""Keeps the bans of a running edge on disk, and puts those of the last run in force. Decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from edgesbc.base import limits
from edgesbc.screen.pipeline import Pipeline
from edgesbc.store import bans

__all__ = ["BanKeeper"]


class BanKeeper:
    """``pipeline`` gives the one in force; ``log`` has ``info`` and ``error``."""

    def __init__(self, folder: Path, pipeline: Callable[[], Pipeline], log: Any) -> None:
        self._folder = folder
        self._pipeline = pipeline
        self._log = log

    def enter(self) -> None:
        """Put the bans of the last run in force. A file that is broken is said and put aside, and stops nothing."""
        try:
            entered = bans.enter(self._pipeline(), bans.read(self._folder), trio.current_time(), time.time())
        except ValueError as error:
            self._log.error("the bans of the last run are broken", error=str(error), kept_as=self._put_aside())
        except OSError as error:
            self._log.error("the bans of the last run cannot be read", error=str(error))
        else:
            if entered:
                self._log.info("bans of the last run are in force again", bans=entered)

    def _put_aside(self) -> str:
        try:
            return str(bans.put_aside(self._folder))
        except OSError as error:
            return f"nothing: {error}"

    async def run(self) -> None:
        """Write bans from time to time, where there are others than before."""
        written = self._version
        while True:
            await trio.sleep(limits.BANS_KEPT_SECONDS)
            if self._version != written:
                written = self._version
                await self.write()

    @property
    def _version(self) -> tuple[int, int]:
        pipeline = self._pipeline()
        return pipeline.penalties.version, pipeline.orders.version

    async def write(self) -> None:
        """Write them now. A disk that fails is logged and stops nothing."""
        data = bans.as_json(self._pipeline(), trio.current_time(), time.time())
        try:
            await trio.to_thread.run_sync(bans.write, self._folder, data)
        except OSError as error:
            self._log.error("bans cannot be written", error=str(error))
