"""The command ``edgesbc`` in a thread of the test's process, where an edge may run too. A new process takes a second
to start."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import trio
from click.testing import CliRunner
from support.running import PATIENCE

from edgesbc.cli import main

__all__ = ["edgesbc"]

_output = threading.Lock()
"""All threads share ``sys.stdout``, so one command runs at a time."""


@contextmanager
def _own_output() -> Iterator[None]:
    """Keep the log of the edge out of the output of the command, which replaces ``sys.stdout``."""
    assert _output.acquire(blocking=False), "another command runs"
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stdout))
    try:
        yield
    finally:
        structlog.configure(**before)
        _output.release()


async def edgesbc(*arguments: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of ``edgesbc ARGUMENTS``."""
    invoke = partial(CliRunner().invoke, main, arguments, catch_exceptions=False)
    with trio.fail_after(PATIENCE), _own_output():
        result = await trio.to_thread.run_sync(invoke)
    return result.exit_code, result.stdout, result.stderr
