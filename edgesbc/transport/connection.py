"""One connection: received messages go to the signalling core, sent ones through a bounded outbox."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.errors import WireError
from edgesbc.sip.framing import PING, PONG, StreamFramer

__all__ = ["Connection", "FramedStream", "MessageStream"]


class MessageStream(Protocol):
    """A stream of SIP messages: a byte stream with framing, or a WebSocket."""

    async def receive(self) -> list[bytes]:
        """The next messages, including :data:`PING`. Raises ``EOFError`` at the end, ``WireError`` for bytes that
        cannot be framed."""

    async def send(self, messages: list[bytes]) -> None: ...

    async def aclose(self) -> None: ...

    @property
    def pending(self) -> bool:
        """Whether a message has begun and not ended."""

    @property
    def broken(self) -> bytes:
        """The bytes that could not be framed, after a ``WireError``."""


class FramedStream:
    """SIP over TCP or TLS (RFC 3261 section 18.3)."""

    __slots__ = ("_framer", "_stream")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._framer = StreamFramer()

    @property
    def pending(self) -> bool:
        return self._framer.pending

    @property
    def broken(self) -> bytes:
        return self._framer.broken

    async def receive(self) -> list[bytes]:
        data = await self._stream.receive_some(limits.STREAM_READ_BYTES)
        if not data:
            raise EOFError
        return self._framer.receive(bytes(data))

    async def send(self, messages: list[bytes]) -> None:
        await self._stream.send_all(b"".join(messages))

    async def aclose(self) -> None:
        await self._stream.aclose()


class Connection:
    """A flow over a connection. The task that accepted or opened it reads; a second task writes.

    ``receive`` is called with each message, ``broken`` with bytes that cannot be framed.
    """

    __slots__ = (
        "_aborted", "_broken", "_closing", "_outbox", "_receive", "_scope", "_size", "_wake_writer", "flow",
    )  # fmt: skip

    def __init__(
        self,
        flow: Flow,
        receive: Callable[[Flow, bytes, float], None],
        broken: Callable[[Flow, bytes, WireError, float], None],
    ) -> None:
        self.flow = flow
        self._receive = receive
        self._broken = broken
        self._outbox: deque[bytes] = deque()
        self._size = 0
        self._wake_writer = trio.Event()
        self._closing = False
        self._aborted = False
        self._scope: trio.CancelScope | None = None

    def send(self, data: bytes) -> None:
        """Queue a message. With more than ``limits.OUTBOX_BYTES`` unsent, the connection is aborted."""
        if self._closing:
            return
        if self._size + len(data) > limits.OUTBOX_BYTES:
            self.abort()
            return
        self._outbox.append(data)
        self._size += len(data)
        self._wake_writer.set()

    def close(self) -> None:
        """End the connection after the outbox has been sent."""
        self._closing = True
        self._wake_writer.set()

    def abort(self) -> None:
        """End the connection at once."""
        self._closing = self._aborted = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self, stream: MessageStream, nursery: trio.Nursery) -> None:
        """Run until either side ends the connection; the writer's task is in ``nursery``, which is then cancelled."""
        self._scope = nursery.cancel_scope
        if self._aborted:
            self._scope.cancel()
        nursery.start_soon(self._write, stream)
        try:
            await self._read(stream)
            self.close()
            with trio.move_on_after(limits.LAST_ANSWERS_SECONDS):
                await trio.sleep_forever()  # the writer sends the last responses and cancels the nursery
            self.abort()
        finally:
            self._closing = True
            with trio.move_on_after(1.0, shield=True):
                await stream.aclose()

    async def _read(self, stream: MessageStream) -> None:
        scope = trio.CancelScope()
        begun: float | None = None
        silent_until = trio.current_time() + limits.FIRST_MESSAGE_SECONDS
        with scope:
            while not self._closing:
                scope.deadline = silent_until if begun is None else begun + limits.MESSAGE_SECONDS
                try:
                    messages = await stream.receive()
                except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                except WireError as error:
                    self._broken(self.flow, stream.broken, error, trio.current_time())
                    return
                now = trio.current_time()
                if PING in messages:
                    self.send(PONG)  # one for all pings of a read, so that they are not amplified
                for message in messages:
                    if self._closing:
                        break
                    self._receive(self.flow, message, now)  # pings too: they are screened like messages
                if messages:
                    silent_until = now + limits.IDLE_SECONDS
                    begun = None
                if not stream.pending:
                    begun = None
                elif begun is None:
                    begun = now

    async def _write(self, stream: MessageStream) -> None:
        try:
            while True:
                while self._outbox:
                    batch = list(self._outbox)
                    self._outbox.clear()
                    await stream.send(batch)
                    self._size = sum(map(len, self._outbox))
                if self._closing:
                    break
                self._wake_writer = trio.Event()
                await self._wake_writer.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.abort()
