"""A UDP listener: datagrams in batches to the core, datagrams out, and what the kernel is to do with whose."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Sequence

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.transport.filter_programs import Listed
from edgesbc.transport.kernel_filters import USER, SourceDropFilter, Steering

__all__ = ["UdpListener"]

Receive = Callable[[Flow, bytes, float], None]
Unreachable = Callable[[Listener, Source, float], None]
Trusted = Callable[[Listener, float], tuple[Sequence[Listed], float | None]]


class UdpListener:
    """One socket, or of a public listener two at the same address: ``strangers`` hears those whom nothing proves.

    ``receive`` and ``unreachable`` take what it hears, in the listener's own task; ``trusted`` is asked who
    has the first socket, and until when that holds.
    """

    __slots__ = (
        "_receive", "_sock", "_strangers", "_trusted", "_unreachable", "listener", "penalties", "steering", "unsent",
    )  # fmt: skip

    def __init__(
        self,
        listener: Listener,
        sock: socket.socket,
        strangers: socket.socket | None,
        receive: Receive,
        unreachable: Unreachable,
        trusted: Trusted,
    ) -> None:
        self.listener = listener
        self._sock = sock
        self._strangers = strangers
        self._receive = receive
        self._unreachable = unreachable
        self._trusted = trusted
        self.penalties = SourceDropFilter(strangers or sock) if listener.zone is Zone.PUBLIC else None
        self.steering = Steering(sock) if strangers is not None else None
        self.unsent = 0  # datagrams that the kernel did not take

    def send(self, peer: Source, data: bytes) -> None:
        """Send one datagram; what the kernel does not take now is lost, as datagrams may be.

        The kernel may refuse it for an earlier one, to somebody else, that came back (ICMP): it says so once for
        each, whoever is written to next.
        """
        for _ in range(limits.UDP_SEND_TRIES):
            try:
                self._sock.sendto(data, peer)
            except BlockingIOError:
                break
            except OSError:
                continue
            else:
                return
        self.unsent += 1

    # --- what the kernel does ------------------------------------------------------------------------------

    @property
    def lanes(self) -> dict[str, tuple[str, int]]:
        """What the kernel can do for a public listener: its mode, and how many sources did not fit."""
        lanes: dict[str, tuple[str, int]] = {}
        if self.penalties is not None:
            lanes["penalties"] = (self.penalties.mode, self.penalties.left_out)
            lanes["steering"] = (USER, 0) if self.steering is None else (self.steering.mode, self.steering.left_out)
        return lanes

    @property
    def due(self) -> float | None:
        """When to call :meth:`apply` (seconds, trio's clock); None: nothing is to be done."""
        dues = [each.due for each in (self.penalties, self.steering) if each is not None and each.due is not None]
        return min(dues, default=None)

    def apply(self, now: float) -> None:
        """Give the kernel those programs that are due."""
        penalties, steering = self.penalties, self.steering
        if penalties is not None and penalties.due is not None and penalties.due <= now:
            penalties.apply(now)
        if steering is not None and steering.due is not None and steering.due <= now:
            steering.apply(*self._trusted(self.listener, now), now)

    # --- what comes in -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hear datagrams until cancelled; up to a batch of them between two checkpoints."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._sock)
            readable: int | socket.socket = self._sock
            if self._strangers is not None:
                stack.enter_context(self._strangers)
                either = stack.enter_context(select.epoll(2))
                for sock in (self._sock, self._strangers):
                    either.register(sock, select.EPOLLIN)
                readable = either.fileno()
            if self.steering is not None:
                self.steering.ask(trio.current_time())
            while True:
                now = trio.current_time()
                self.apply(now)
                await trio.lowlevel.wait_readable(readable)
                self._turn(trio.current_time())

    def _turn(self, now: float) -> None:
        """Take a batch: of trusted sources first, and of them again after each budget of strangers."""
        if self._strangers is None:
            self._drain(self._sock, limits.UDP_BATCH, now)
            return
        left = limits.UDP_BATCH
        while left > 0:
            left -= self._drain(self._sock, left, now)
            strange = self._drain(self._strangers, limits.UDP_STRANGERS_BATCH, now)
            if strange < limits.UDP_STRANGERS_BATCH:
                return
            left -= strange

    def _drain(self, sock: socket.socket, most: int, now: float) -> int:
        """Take up to ``most`` datagrams; how many there were."""
        listener, receive, recvfrom, size = self.listener, self._receive, sock.recvfrom, limits.MESSAGE_BYTES
        for taken in range(most):
            try:
                data, address = recvfrom(size)
            except BlockingIOError:
                return taken
            except OSError:
                # An earlier datagram came back (ICMP); which, is in the error queue.
                self._hear_errors(now)
                continue
            receive(Flow(listener, Source(address[0], address[1])), data, now)
        return most

    def _hear_errors(self, now: float) -> None:
        """Take the ICMP errors that the kernel has matched to what this socket sent."""
        peers: set[Source] = set()
        for _ in range(limits.UDP_BATCH):
            try:
                _, _, _, address = self._sock.recvmsg(1, 0, socket.MSG_ERRQUEUE)
            except OSError:
                break
            if address:
                peers.add(Source(address[0], address[1]))
        for peer in peers:
            self._unreachable(self.listener, peer, now)
