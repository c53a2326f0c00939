"""The relay's end of its link to media control: a Unix socket of datagrams (SOCK_SEQPACKET).

To a process, sockets go with the datagrams by SCM_RIGHTS; to a thread they are handed over as objects, so that each is
one descriptor.
"""

from __future__ import annotations

import array
import socket
from collections import deque

from edgesbc.base import limits

__all__ = ["LinkClosed", "ProcessLink", "RelayLink", "ThreadLink"]

_DESCRIPTOR = array.array("i").itemsize
_ANCILLARY = socket.CMSG_SPACE(limits.RELAY_BATCH_SOCKETS * _DESCRIPTOR)
_LARGEST = 2 * limits.RELAY_BATCH_BYTES
"""Bytes of a datagram: one command more than fits."""


class LinkClosed(Exception):
    """Media control has ended, or has ended the link."""


class RelayLink:
    """Datagrams to and from media control over ``end``, which does not block."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sockets: deque[socket.socket] = deque()

    @property
    def shares_files(self) -> bool:
        """Whether media control has descriptors of its own for the sockets that it sends."""
        return True

    def fileno(self) -> int:
        return self._end.fileno()

    def receive(self) -> bytes:
        """The commands of the next datagram; b"" where there is none. Raises :class:`LinkClosed`."""
        raise NotImplementedError

    def take_socket(self, ipv6: bool) -> socket.socket | None:
        """The next socket that came; None where the kernel had no descriptor for it."""
        return self._sockets.popleft() if self._sockets else None

    def send(self, data: bytes) -> bool:
        """Send events; whether the link had room."""
        try:
            self._end.send(data)
        except BlockingIOError:
            return False
        except OSError:
            return True  # nobody is there to be told; the end of the link is received next
        return True

    def close(self) -> None:
        """Close it, and the sockets that came and were not taken."""
        while self._sockets:
            self._sockets.popleft().close()
        self._end.close()


class ThreadLink(RelayLink):
    """A link within a process. ``handed_over`` has the sockets, which its other end adds before it sends."""

    def __init__(self, end: socket.socket, handed_over: deque[socket.socket]) -> None:
        super().__init__(end)
        self._sockets = handed_over

    @property
    def shares_files(self) -> bool:
        return False

    def receive(self) -> bytes:
        try:
            data = self._end.recv(_LARGEST)
        except BlockingIOError:
            return b""
        except OSError:
            raise LinkClosed from None
        if not data:
            raise LinkClosed
        return data


class ProcessLink(RelayLink):
    """A link between processes."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end)
        self._descriptors: deque[int] = deque()

    def receive(self) -> bytes:
        self._close_untaken()  # of a datagram whose descriptors or commands were not all read
        try:
            data, ancillary, _, _ = self._end.recvmsg(_LARGEST, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return b""
        except OSError:
            raise LinkClosed from None
        if not data:
            raise LinkClosed
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % _DESCRIPTOR])
                self._descriptors += numbers
        return data

    def take_socket(self, ipv6: bool) -> socket.socket | None:
        if not self._descriptors:
            return None
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK  # named here, so that Python does not ask the kernel
        return socket.socket(family, kind, socket.IPPROTO_UDP, fileno=self._descriptors.popleft())

    def close(self) -> None:
        self._close_untaken()
        super().close()

    def _close_untaken(self) -> None:
        while self._descriptors:
            socket.close(self._descriptors.popleft())
