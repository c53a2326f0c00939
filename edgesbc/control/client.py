"""The client of the control socket, for another process than the edge. Blocks."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edgesbc.base import limits
from edgesbc.control.protocol import ControlRequest, read_answer, request_line

__all__ = ["NoAnswer", "ask"]

_CHUNK: Final = 65_536


class NoAnswer(Exception):
    """No edge answers; the text has the socket and the reason."""


def ask(path: Path, request: ControlRequest, seconds: float = limits.CONTROL_ANSWER_SECONDS) -> Any:
    """The result of a command of the edge whose control socket is ``path``.

    Raises :class:`NoAnswer` without an answer in ``seconds``, and
    :class:`edgesbc.control.protocol.CommandRefused` when it refuses.
    """
    line = request_line(request)
    deadline = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(seconds)
            _connect(sock, path)
            with suppress(BrokenPipeError):  # the edge has closed, maybe after an answer that says why
                sock.sendall(line)
            answer = _line_of(sock, deadline)
    except TimeoutError:
        raise NoAnswer(f"no answer from {path} within {seconds:g} s") from None
    except OSError as error:
        raise NoAnswer(f"no edge answers at {path}: {error.strerror or error}") from None
    if not answer.endswith(b"\n"):
        raise NoAnswer(f"the edge at {path} went away in the middle of its answer")
    return read_answer(answer)


def _connect(sock: socket.socket, path: Path) -> None:
    """Connect by a name below the open folder: a path may be longer than the kernel takes as an address."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _line_of(sock: socket.socket, deadline: float) -> bytes:
    """The bytes up to the first line feed, or to the end. Raises ``TimeoutError``, and ``OSError`` for too many."""
    answer = bytearray()
    while b"\n" not in answer[-_CHUNK:]:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        more = sock.recv(_CHUNK)
        answer += more
        if not more:
            break
        if len(answer) > limits.CONTROL_ANSWER_BYTES:
            raise OSError(f"its answer is longer than {limits.CONTROL_ANSWER_BYTES} bytes")
    return bytes(answer)
