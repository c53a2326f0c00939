"""The loop that accepts connections, which goes on where descriptors or memory are short."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import trio

from edgesbc.base import limits

__all__ = ["Acceptor"]

_NO_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE))
_NO_MEMORY = frozenset((errno.ENOBUFS, errno.ENOMEM))
_OF_THE_CONNECTION = frozenset(
    (
        errno.ECONNABORTED, errno.ECONNRESET, errno.EPERM, errno.EPROTO, errno.EINTR, errno.ENETDOWN,
        errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT,
    )
)  # fmt: skip
"""Errors of a pending connection, which is gone then (accept(2))."""


class Acceptor:
    """Accepts the connections of one listening, non-blocking socket.

    ``take`` is called with each connection, which is not blocking and which it owns, and its address. It raises
    nothing. Where no descriptor is left, the connections that wait are accepted and closed at once, by a descriptor
    that is kept for this: otherwise their peers would wait in the backlog until they give up. ``refused`` is called
    with the address and the error then. After a whole batch of connections it waits for ``pause`` seconds.
    """

    __slots__ = ("_listening", "_pause", "_refused", "_spare", "_take")

    def __init__(
        self,
        listening: socket.socket,
        take: Callable[[socket.socket, Any], None],
        refused: Callable[[Any, OSError], None],
        pause: float = 0.0,
    ) -> None:
        self._listening = listening
        self._take = take
        self._refused = refused
        self._pause = pause
        self._spare = -1

    async def run(self) -> None:
        """Accept until cancelled. Raises ``OSError`` where the listening socket cannot be used."""
        self._keep_spare()
        try:
            while True:
                await trio.lowlevel.wait_readable(self._listening)
                pause = self._accept_batch()
                if pause:
                    await trio.sleep(pause)
        finally:
            self._free_spare()

    def _accept_batch(self) -> float:
        """Accept what waits, up to ``limits.ACCEPT_BATCH``; the seconds to wait before the next batch."""
        short = False
        pause = self._pause
        for _ in range(limits.ACCEPT_BATCH):
            try:
                sock, address = self._listening.accept()
            except BlockingIOError:
                pause = 0.0
                break
            except OSError as error:
                if error.errno in _OF_THE_CONNECTION:
                    continue
                if error.errno in _NO_MEMORY:
                    return limits.ACCEPT_PAUSE_SECONDS  # the connection stays in the backlog
                if error.errno not in _NO_DESCRIPTORS:
                    raise
                short = True
                if not self._refuse_one(error):
                    break
                continue
            sock.setblocking(False)
            self._take(sock, address)
        if self._spare < 0:
            self._keep_spare()
        return limits.ACCEPT_PAUSE_SECONDS if short else pause

    def _refuse_one(self, shortage: OSError) -> bool:
        """Accept one connection by the spare descriptor and close it; whether that was possible."""
        if self._spare < 0:
            self._keep_spare()
        if self._spare < 0:
            return False
        self._free_spare()
        try:
            sock, address = self._listening.accept()
        except OSError:  # no connection waits any more, or another task has taken the descriptor
            return False
        else:
            sock.close()
        finally:
            self._keep_spare()
        self._refused(address, shortage)
        return True

    def _keep_spare(self) -> None:
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = -1

    def _free_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
