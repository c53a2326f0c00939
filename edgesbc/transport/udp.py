"""A UDP listener: passes received datagrams to the core in batches, sends datagrams, and maintains its kernel
filters."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Callable, Sequence

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.sip.delivery import SendFailure
from edgesbc.tasks.containment import Containment
from edgesbc.transport.error_queue import read_error
from edgesbc.transport.filter_programs import Listed
from edgesbc.transport.kernel_filters import USER, SourceDropFilter, Steering
from edgesbc.transport.sockets import datagram_failure
from edgesbc.transport.trusted_queues import TrustedQueues

__all__ = ["UdpListener"]

_NO_MEMORY = frozenset((errno.ENOMEM, errno.ENOBUFS))

Receive = Callable[[Flow, bytes, float], None]
Unreachable = Callable[[Source, bytes, float], None]
Trusted = Callable[[Listener, float], tuple[Sequence[Listed], float | None]]


class UdpListener:
    """One socket or, for a public listener, two at the same address: ``untrusted`` receives from untrusted sources.

    ``receive`` is called with each datagram, and ``unreachable`` with the destination and the quote of each ICMP error
    that the destination itself has sent, or, if ``believes_routers``, anybody; both in the listener's task.
    ``trusted`` returns the sources of the first socket, and when they change next. ``queues`` are those of all
    listeners: while one fills up, few datagrams are read of untrusted sources.
    """

    __slots__ = (
        "_believes_routers", "_containment", "_queues", "_receive", "_sock", "_trusted", "_unreachable", "_untrusted",
        "listener", "penalties", "steering", "unsent",
    )  # fmt: skip

    def __init__(
        self,
        listener: Listener,
        sock: socket.socket,
        untrusted: socket.socket | None,
        receive: Receive,
        unreachable: Unreachable,
        trusted: Trusted,
        containment: Containment,
        believes_routers: bool = False,
        queues: TrustedQueues | None = None,
    ) -> None:
        self._containment = containment
        self.listener = listener
        self._sock = sock
        self._untrusted = untrusted
        self._receive = receive
        self._unreachable = unreachable
        self._trusted = trusted
        self._believes_routers = believes_routers
        self._queues = TrustedQueues() if queues is None else queues
        self.penalties = SourceDropFilter(untrusted or sock) if listener.zone is Zone.PUBLIC else None
        self.steering = Steering(sock) if untrusted is not None else None
        self.unsent = 0  # datagrams that the kernel did not accept

    def send(self, peer: Source, data: bytes) -> SendFailure | None:
        """Send one datagram. One that the kernel does not accept now is lost, as any datagram may be; returns why.

        The kernel may report the ICMP error of an earlier datagram to another peer here, once for each error.
        """
        failure: SendFailure | None = None
        for _ in range(limits.UDP_SEND_TRIES):
            try:
                self._sock.sendto(data, peer)
            except OSError as error:
                failure = datagram_failure(error)
                if failure is SendFailure.NO_RESOURCES:
                    break
            else:
                return None
        self.unsent += 1
        return failure

    # --- kernel filters ------------------------------------------------------------------------------------

    @property
    def kernel_filters(self) -> dict[str, tuple[str, int]]:
        """The mode of each kernel filter of a public listener, and the number of sources that did not fit."""
        filters: dict[str, tuple[str, int]] = {}
        if self.penalties is not None:
            filters["penalties"] = (self.penalties.mode, self.penalties.left_out)
            filters["steering"] = (USER, 0) if self.steering is None else (self.steering.mode, self.steering.left_out)
        return filters

    @property
    def due(self) -> float | None:
        """When to call :meth:`apply` (seconds, trio's clock); None: no program has changed."""
        filters = (self.penalties, self.steering)
        return min((each.due for each in filters if each is not None and each.due is not None), default=None)

    def apply(self, now: float) -> None:
        """Load the programs that are due into the kernel."""
        penalties, steering = self.penalties, self.steering
        if penalties is not None and penalties.due is not None and penalties.due <= now:
            with self._containment.contain("kernel filters"):
                penalties.apply(now)
        if steering is not None and steering.due is not None and steering.due <= now:
            with self._containment.contain("kernel filters"):
                steering.apply(*self._trusted(self.listener, now), now)

    # --- receiving -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Receive datagrams until cancelled; then the sockets are closed."""
        with self._sock, self._untrusted or contextlib.nullcontext():
            await self._containment.keep_running(f"udp {self.listener.name}", self._receive_all)

    async def _receive_all(self) -> None:
        """Receive datagrams, at most a batch between two checkpoints."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._queues.note, self.listener.id, 0)  # while it is not read, nobody waits for it
            readable: int | socket.socket = self._sock
            if self._untrusted is not None:
                either = stack.enter_context(select.epoll(2))
                for sock in (self._sock, self._untrusted):
                    either.register(sock, select.EPOLLIN)
                readable = either.fileno()
            if self.steering is not None:
                self.steering.schedule(trio.current_time())
            while True:
                self.apply(trio.current_time())
                await trio.lowlevel.wait_readable(readable)
                self._turn(trio.current_time())

    def _turn(self, now: float) -> None:
        """Receive a batch: from trusted sources first, and again after each ``limits.UDP_UNTRUSTED_BATCH`` others.

        These have ``limits.UDP_UNTRUSTED_SECONDS``, since the other listeners wait for them.
        """
        if self._untrusted is None:
            received = self._drain(self._sock, limits.UDP_BATCH, now)
            if self.listener.zone is Zone.CORE:
                self._queues.note(self.listener.id, received)
            if not received:
                # An error whose first report went to a send call: until it is read, the socket counts as readable.
                self._read_errors(self._sock, now)
            return
        queues, left, until = self._queues, limits.UDP_BATCH, now + limits.UDP_UNTRUSTED_SECONDS
        while left > 0:
            received = self._drain(self._sock, left, now)
            queues.note(self.listener.id, received)
            if queues.behind:
                self._drain(self._untrusted, limits.UDP_UNTRUSTED_LEAST, now)
                return
            left -= received
            received = self._drain(self._untrusted, limits.UDP_UNTRUSTED_BATCH, now)
            if received < limits.UDP_UNTRUSTED_BATCH or trio.current_time() >= until:
                return
            left -= received

    def _drain(self, sock: socket.socket, limit: int, now: float) -> int:
        """Receive up to ``limit`` datagrams; returns their number."""
        listener, receive, recvfrom, size = self.listener, self._receive, sock.recvfrom, limits.MESSAGE_BYTES
        for taken in range(limit):
            try:
                data, address = recvfrom(size)
            except BlockingIOError:
                return taken
            except OSError as error:
                if error.errno in _NO_MEMORY:
                    raise  # it would be the same at once: the task goes on after a pause
                self._read_errors(sock, now)  # the report of an ICMP error, which is in the queue
                continue
            receive(Flow(listener, Source(address[0], address[1])), data, now)
        return limit

    def _read_errors(self, sock: socket.socket, now: float) -> None:
        """Pass on a batch of the ICMP errors that the kernel has queued."""
        for _ in range(limits.UDP_BATCH):
            try:
                error = read_error(sock)
            except OSError:
                break
            if error is not None and (self._believes_routers or error.offender == error.destination.host):
                self._unreachable(error.destination, error.quote, now)
