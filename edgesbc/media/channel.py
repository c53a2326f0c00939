"""One media socket facing one peer: checked while it learns, the kernel's business once it is locked."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.counts import Counts
from edgesbc.media.latch import Latch, MediaTarget

__all__ = ["Channel", "drop_reason", "is_media"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_AF_UNSPEC_ADDRESS = ctypes.create_string_buffer(16)  # struct sockaddr with sa_family 0


def _disconnect(sock: socket.socket) -> None:
    """Dissolve a UDP socket's association and keep its port; Python's own connect() cannot say AF_UNSPEC."""
    if _LIBC.connect(sock.fileno(), _AF_UNSPEC_ADDRESS, 16) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Channel:
    """One socket: the RTP or the RTCP port that faces one peer."""

    __slots__ = (
        "_drops", "errors", "far", "fast", "forward", "is_rtcp", "latch", "octets", "packets", "receive", "sock",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, is_rtcp: bool, drops: Counts) -> None:
        self.sock = sock
        self.is_rtcp = is_rtcp
        self.latch = Latch()
        self.receive = sock.recv
        self.fast = False
        """Whether the kernel alone decides who is heard: locked, connected, and the queue of before is empty."""
        self.far: Channel | None = None
        self.forward: Callable[[bytes], int] = self._nowhere
        """Sends what came in here on to the far peer."""
        self.packets = 0
        self.octets = 0
        self.errors = 0
        self._drops = drops

    def join(self, far: Channel) -> None:
        self.far = far
        self.forward = far.route()

    def route(self) -> Callable[[bytes], int]:
        """How a packet gets to this channel's peer as things stand."""
        if self.latch.peer is not None:
            return self.sock.send
        return self._send_to_signalled if self.latch.aim.target is not None else self._nowhere

    def set_aim(self, aim: MediaTarget) -> None:
        if self.latch.set_aim(aim):
            self.fast = False
            _disconnect(self.sock)
        self._tell_far()

    def _tell_far(self) -> None:
        if self.far is not None:
            self.far.forward = self.route()

    def _send_to_signalled(self, data: bytes) -> int:
        target = self.latch.aim.target
        return self.sock.sendto(data, target) if target is not None else self._nowhere(data)

    def _nowhere(self, data: bytes) -> int:
        self._drops.add("no-destination")
        return 0

    def drain_checked(self, budget: int) -> int:
        """Take packets one by one, each with its source judged; returns how many.

        Also after the lock until the queue was once empty, because the kernel does not judge again what
        arrived before connect().
        """
        for taken in range(budget):
            try:
                data, address = self.sock.recvfrom(limits.MEDIA_PACKET_BYTES + 1)
            except BlockingIOError:
                self.fast = self.latch.peer is not None and not self.is_rtcp
                return taken
            except OSError:
                self.fail("refused")
                continue
            if not (_is_rtcp(data) if self.is_rtcp else is_media(data)):
                self.fail("invalid")
                continue
            locked = self.latch.peer is not None
            if not self.latch.admit(Source(address[0], address[1])):
                self._drops.add("source")  # not this peer's error
                continue
            if not locked:
                self._lock(address)
            self.relay(data)
        return budget

    def _lock(self, address: tuple[str, int]) -> None:
        try:
            self.sock.connect(address)
        except OSError:
            self.latch.peer = None
            self.fail("refused")
        self._tell_far()

    def relay(self, data: bytes) -> None:
        """Count a packet of the peer and pass it on."""
        self.packets += 1
        self.octets += len(data)
        try:
            self.forward(data)
        except OSError as error:
            self.fail(drop_reason(error))

    def fail(self, reason: str) -> None:
        self.errors += 1
        self._drops.add(reason)


def drop_reason(error: OSError) -> str:
    """Why the kernel did not take a packet: the peer's port is closed, a queue is full, or there is no way."""
    if error.errno == errno.ECONNREFUSED:
        return "refused"
    return "full" if error.errno in (errno.EAGAIN, errno.ENOBUFS) else "unreachable"


def is_media(data: bytes) -> bool:
    """Whether it looks like RTP, or like RTCP on the same port (RFC 3550 section 5.1, RFC 5761 section 4)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2:
        return False
    return size >= 12 or _is_rtcp(data)


def _is_rtcp(data: bytes) -> bool:
    """Whether the first packet of a compound is whole (RFC 3550 section 6.1 and appendix A.2)."""
    size = len(data)
    if size < 8 or size > limits.MEDIA_PACKET_BYTES or data[0] >> 6 != 2 or not 192 <= data[1] <= 223:
        return False
    return (int.from_bytes(data[2:4]) + 1) * 4 <= size
