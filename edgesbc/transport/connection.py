"""One connection: its task reads from a socket into the signalling core, and writes what the core sends."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.errors import WireError
from edgesbc.streams.layer import StreamCounts, StreamEnd
from edgesbc.streams.session import StreamSession
from edgesbc.transport.read_budget import ReadBudget

__all__ = ["Connection", "StreamCore"]

_BUFFER = memoryview(bytearray(limits.STREAM_READ_BYTES))
"""What a read of any connection fills; its content is passed on before another connection reads."""


class StreamCore(Protocol):
    """What takes the messages of connections: the signalling plane."""

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """Take one framed message."""

    def stream_broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """A stream cannot be framed any more from ``data`` on."""

    def stream_worked(self, flow: Flow, work: Sequence[int], now: float) -> None:
        """A read has caused work that completed no message: numbers in the order of ``WORK_KINDS``."""

    def has_account(self, flow: Flow) -> bool:
        """Whether the flow is of a trunk, of the private side, or has registered."""

    def may_be_silent(self, flow: Flow) -> bool:
        """The same, or a call lives on the flow."""

    def connection_opened(self, flow: Flow) -> None:
        """The opening handshakes of a connection to a destination are complete."""

    def connection_ended(self, flow: Flow) -> None:
        """Nothing more is sent or received by the flow."""


class Connection:
    """A flow over a connected, non-blocking socket, which :meth:`run` serves.

    Its task waits for the socket and for nothing else. What is received goes to ``core`` at once; what is sent is
    written at once, and queued only where the kernel takes no more. Then the task waits until the peer reads, and
    reads nothing meanwhile: a peer that does not read its answers is not asked for more requests.

    ``flow`` is None until the opening handshakes of an accepted connection are complete; then ``opened`` is called with
    the names of the peer's certificate, and returns it. What is sent to a destination before its connection is open is
    kept until then. ``failed`` is called with the reason if an opening handshake fails.

    With a ``budget``, it is the connection of a peer that may be anybody: it is read when the budget allows it, or once
    the peer has registered. The messages of one read are passed on for ``limits.CONNECTION_TURN_SECONDS`` at a
    time, and all other tasks run in between: a read may have thousands. The rest of them has to wait for the budget in
    any case.
    """

    __slots__ = (
        "_aborted", "_backlog", "_budget", "_core", "_early", "_failed", "_open", "_opened", "_passed_on",
        "_peer_ended", "_postponable", "_queued", "_reading", "_session", "_sizes", "_sock", "_unsent", "_wait",
        "closing", "flow",
    )  # fmt: skip

    def __init__(
        self,
        core: StreamCore,
        flow: Flow | None = None,
        opened: Callable[[tuple[str, ...]], Flow] | None = None,
        budget: ReadBudget | None = None,
        failed: Callable[[StreamEnd], None] | None = None,
    ) -> None:
        self.flow = flow
        self.closing = False
        """Whether it ends: nothing more is taken from the core or the peer."""
        self._core = core
        self._opened = opened
        self._failed = failed
        self._budget = budget
        self._sock: socket.socket | None = None
        self._session: StreamSession | None = None
        self._open = False
        self._early: list[bytes] = []  # messages that were sent before the session was open
        self._unsent: list[bytes] = []
        self._queued = 0  # bytes in both
        # The messages of the last read that are not passed on yet. They are kept as one text, since thousands of small
        # objects would take several times the memory while a connection waits for its turn.
        self._backlog = b""
        self._passed_on = 0  # bytes of it
        self._sizes: list[int] = []  # of those that are not passed on, the last one first
        self._reading = False  # whether the task is passing on what it has read: answers are gathered
        self._peer_ended = False
        self._aborted = False
        self._wait: trio.CancelScope | None = None
        self._postponable = limits.POSTPONED_SECONDS  # by which deadlines may still be later for want of a turn

    @property
    def counts(self) -> StreamCounts:
        """What the peer has sent so far."""
        return StreamCounts() if self._session is None else self._session.counts

    # --- called by the core --------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """Write a message. With more than ``limits.OUTBOX_BYTES`` that the peer has not taken, abort."""
        if self.closing:
            return
        if self._open and self._session is not None:
            self._write(self._session.send(message))
        elif self._has_room(len(message)):
            self._early.append(message)

    def close(self) -> None:
        """End the connection after what was sent before has been written."""
        if self.closing:
            return
        if self._session is None:
            self.abort()  # it is not connected yet
            return
        self.closing = True
        self._session.close()
        self._write(self._session.take_output())
        self._wake()

    def abort(self) -> None:
        """End the connection at once."""
        self.closing = self._aborted = True
        self._wake()

    def _wake(self) -> None:
        """Let the task look at what has changed, if it waits."""
        if self._wait is not None and not self._reading:
            self._wait.cancel()

    # --- writing -------------------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if not data or not self._has_room(len(data)):
            return
        self._unsent.append(data)
        if not self._reading and len(self._unsent) == 1:
            self._write_unsent()
            if self._unsent:
                self._wake()

    def _has_room(self, size: int) -> bool:
        self._queued += size
        if self._queued <= limits.OUTBOX_BYTES:
            return True
        self.abort()
        return False

    def _write_unsent(self) -> int:
        """Write what the kernel takes; returns the number of bytes."""
        unsent = self._unsent
        if not unsent or self._sock is None:
            return 0
        data = unsent[0] if len(unsent) == 1 else b"".join(unsent)
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the peer has reset the connection
            if self._session is not None:
                self._session.receive_end()
            self.abort()
            return 0
        self._queued -= sent
        unsent[:] = [data[sent:]] if sent < len(data) else ()
        return sent

    # --- the task ------------------------------------------------------------------------------------------

    def until_connected(self, deadline: float) -> trio.CancelScope:
        """The scope in which the socket is connected, before :meth:`run`: :meth:`close` and ``deadline`` end it."""
        self._wait = trio.CancelScope(deadline=deadline)
        if self._aborted:
            self._wait.cancel()
        return self._wait

    async def run(self, sock: socket.socket, session: StreamSession) -> None:
        """Serve the connection until either side ends it. The caller closes ``sock``."""
        if self._aborted:
            return  # closed while it was being connected
        self._sock, self._session = sock, session
        try:
            self._write(session.take_output())  # a TLS client speaks first
            self._look_whether_open(session)
            if session.end is not None:
                self.close()  # a TLS client that cannot begin
            while not self.closing:
                if self._unsent:
                    begun = trio.current_time()
                    await self._wait_until_written(sock)
                    session.postpone(trio.current_time() - begun)
                elif self._sizes:
                    await self._serve_backlog(session)
                else:
                    await self._serve(sock, session)
            if self._failed is not None and not session.is_open and session.end is not None:
                self._failed(session.end)
            if self.flow is not None:
                # Not after the last answers are written: what is sent meanwhile would be lost without a word.
                self._core.connection_ended(self.flow)
            while not self._aborted:
                if self._unsent:
                    await self._wait_until_written(sock)
                else:
                    await self._wait_for_end(sock)
        finally:
            if not self.closing:  # the edge stops: say so, where it can be said without waiting
                self.close()
            self._opened = None  # it refers to this connection: what that holds is freed now, and not by the collector

    async def _serve(self, sock: socket.socket, session: StreamSession) -> None:
        """Read until the connection ends, its peer does not take an answer, or a deadline is over."""
        with trio.CancelScope(deadline=session.deadline) as scope:
            self._wait = scope
            while not self._unsent and not self._sizes and not self.closing:
                await trio.lowlevel.wait_readable(sock)
                if self._budget is not None and self._budget.spent and not self._has_precedence():
                    await self._wait_for_turn(self._budget, session, scope)
                self._read(sock, session)
                if session.deadline < scope.deadline:  # a later one is looked at when the earlier is over
                    scope.deadline = session.deadline
        if scope.cancelled_caught and not self._sizes and not self.closing:
            session.expire(trio.current_time(), self.flow is not None and self._core.may_be_silent(self.flow))
            self._write(session.take_output())
            if session.end is not None:
                if session.is_open:
                    self.close()
                else:
                    self.abort()

    async def _wait_for_turn(self, budget: ReadBudget, session: StreamSession, scope: trio.CancelScope) -> None:
        """Wait until the budget allows a read. Over the whole life of the connection, its deadlines are later by at
        most ``limits.POSTPONED_SECONDS`` for that."""
        deadline = scope.deadline
        try:
            await budget.wait(scope, self._postponable)
        finally:
            self._postpone(session, scope.deadline - deadline)

    def _postpone(self, session: StreamSession, waited: float) -> None:
        waited = min(waited, self._postponable)
        self._postponable -= waited
        session.postpone(waited, opening=True)

    async def _serve_backlog(self, session: StreamSession) -> None:
        """Pass on a few more messages of the last read, after all other tasks have had their turn.

        A peer with an account waits for the budget as well: one that sends so many messages at once is not ahead of
        others with them.
        """
        begun = trio.current_time()
        with trio.CancelScope() as scope:
            self._wait = scope
            await trio.lowlevel.checkpoint()
            if self._budget is not None and self._budget.spent:
                await self._budget.wait(scope, 0.0)
        now = trio.current_time()
        self._postpone(session, now - begun)
        if not scope.cancelled_caught and not self.closing:
            self._reading = True
            self._pass_on(session, now)

    def _has_precedence(self) -> bool:
        return self.flow is not None and self._core.has_account(self.flow)

    def _read(self, sock: socket.socket, session: StreamSession) -> None:
        """Receive once, and pass on what that completes."""
        if self.closing:
            return  # closed by another task, in the turn in which this one was woken
        try:
            size = sock.recv_into(_BUFFER)
        except BlockingIOError:
            return
        except OSError:  # the peer has reset the connection
            session.receive_end()
            self.abort()
            return
        self._reading = True  # until the answers are gathered, to be written at once
        now = trio.current_time()
        if size:
            messages = session.receive(bytes(_BUFFER[:size]), now)
            if not self._open:
                self._write(session.take_output())  # the end of a handshake comes before answers
                self._look_whether_open(session)
            if messages and self.flow is not None:
                self._backlog = b"".join(messages)
                self._passed_on = 0
                self._sizes = [len(message) for message in reversed(messages)]
        else:
            self._peer_ended = True
            session.receive_end()
        self._pass_on(session, now)

    def _pass_on(self, session: StreamSession, now: float) -> None:
        """Pass on the next messages of the last read and, after all of them, what else the read has caused. ``now`` is
        when this began."""
        flow, sizes, at, until = self.flow, self._sizes, self._passed_on, now + limits.CONNECTION_TURN_SECONDS
        while sizes and not self.closing and flow is not None:
            end = at + sizes.pop()
            self._core.receive(flow, self._backlog[at:end], now)
            at = end
            if trio.current_time() >= until:
                break
        self._passed_on = at
        if self.closing:
            sizes.clear()
        if not sizes:
            self._backlog = b""
            self._finish_read(session, now)
        self._reading = False
        self._write_unsent()
        if self._budget is not None:
            self._budget.charge(trio.current_time() - now)

    def _finish_read(self, session: StreamSession, now: float) -> None:
        """Report work and the end of the stream, and answer what its layers answer themselves."""
        flow, end = self.flow, session.end
        if session.counts.new_work and flow is not None:
            self._core.stream_worked(flow, session.counts.take_work(), now)
        if end is not None and end.error is not None and flow is not None:
            self._core.stream_broken(flow, end.broken, end.error, now)
        if end is not None:
            self.close()
        elif not self.closing:
            self._write(session.take_output())

    def _look_whether_open(self, session: StreamSession) -> None:
        """Once the session is open, ask for the flow and send what has waited."""
        if self._open or not session.is_open:
            return
        self._open = True
        if self._opened is not None:
            self.flow = self._opened(session.layer.peer_names)
        outbound = self._opened is None
        early, self._early = self._early, []
        for message in early:
            self._queued -= len(message)
            self._write(session.send(message))
        if outbound and self.flow is not None:
            self._core.connection_opened(self.flow)

    async def _wait_until_written(self, sock: socket.socket) -> None:
        """Wait until the kernel has taken everything. What is queued now, and then what has been queued until that is
        written, has a deadline each: a busy connection may always have something queued."""
        seconds = limits.LAST_ANSWERS_SECONDS if self.closing else limits.WRITE_SECONDS
        due = self._queued
        with trio.CancelScope(deadline=trio.current_time() + seconds) as self._wait:
            while self._unsent and not self._aborted:
                await trio.lowlevel.wait_writable(sock)
                due -= self._write_unsent()
                if due <= 0:
                    due = self._queued
                    self._wait.deadline = trio.current_time() + seconds
        if self._unsent and trio.current_time() >= self._wait.deadline:
            self.abort()  # the peer does not read

    async def _wait_for_end(self, sock: socket.socket) -> None:
        """End our direction, and wait for the end of the peer's, discarding a little of it.

        Closing at once would make the kernel reset the connection where something unread has come, and the peer may
        lose the last answers by that (RFC 1122 section 4.2.2.13).
        """
        if self._peer_ended:  # nothing unread is left, and the caller closes the socket
            self._aborted = True
            return
        left = limits.LINGER_BYTES
        try:
            sock.shutdown(socket.SHUT_WR)
            with trio.move_on_after(limits.LINGER_SECONDS) as self._wait:
                while left > 0:
                    await trio.lowlevel.wait_readable(sock)
                    size = sock.recv_into(_BUFFER)
                    left = left - size if size else 0
        except OSError:
            pass
        self._aborted = True
