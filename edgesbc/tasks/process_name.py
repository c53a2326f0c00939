"""The name of this process in ``ps`` and ``top``."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Final

__all__ = ["name_process"]

_PR_SET_NAME: Final = 15
_ARGUMENTS: Final = 47, 48  # arg_start and arg_end in /proc/self/stat, counted from 0 (proc(5))


def name_process(name: str) -> None:
    """Show ``name`` instead of the command line of this process, or as much of it as that has room for.

    ``name`` is plain ASCII. Where the kernel does not say where the command line is, that stays.
    """
    data = name.encode("ascii")
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NAME, ctypes.c_char_p(data.removeprefix(b"edgesbc: ")[:15]), 0, 0, 0)
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The second field, in parentheses, may contain anything.
        fields = Path("/proc/self/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
        start, end = (int(fields[number - 2]) for number in _ARGUMENTS)
        if 0 < start < end:
            # The kernel reads the command line from here; the last byte has to stay 0 (setproctitle(3) of BSD).
            ctypes.memmove(start, data[: end - start - 1].ljust(end - start, b"\0"), end - start)
