"""A member of a destination set that receives datagrams and answers no call; tests read afterwards what it received."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from support.replaying import answer

from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

__all__ = ["SilentMember"]

_RECEIVE_BUFFER = 1 << 22
"""Octets that the kernel keeps until the test reads them."""


class SilentMember:
    """A bound UDP socket that is read only when a test asks; ``probes`` are the OPTIONS that it answered."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._requests: list[Request] = []
        self.probes = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int = 0) -> AsyncIterator[SilentMember]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.setblocking(False)
            sock.bind((host, port))
            yield cls(sock)

    @property
    def uri(self) -> str:
        host, port = self._sock.getsockname()
        return f"sip:{host}:{port}"

    async def answer_probes(self) -> None:
        """Answer every OPTIONS with 200 until cancelled; other requests are kept without a response."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            self._read(answering=True)

    def calls(self) -> Counter[str]:
        """How many INVITEs came so far, by Call-ID, retransmissions included."""
        self._read(answering=False)
        return Counter(request.call_id for request in self._requests if request.method == "INVITE")

    def _read(self, answering: bool) -> None:
        while True:
            try:
                data, peer = self._sock.recvfrom(65535)
            except BlockingIOError:
                return
            message = parse_message(data)
            assert isinstance(message, Request)
            self._requests.append(message)
            if answering and message.method == "OPTIONS":
                self.probes += 1
                self._sock.sendto(answer(data, 200), peer)
