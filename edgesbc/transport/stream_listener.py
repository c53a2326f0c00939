"""A stream listener's door: accepting, caps, deadlines, TLS and WebSocket handshakes, then a connection."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import trio
import trio_websocket

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.signalling.edge import Edge
from edgesbc.transport.connection import Connection, FramedStream, MessageStream
from edgesbc.transport.connection_limits import ConnectionLimits
from edgesbc.transport.filter_programs import Listed
from edgesbc.transport.kernel_filters import USER, Steering
from edgesbc.transport.sockets import OpenedListener
from edgesbc.transport.tls import peer_names, server_context
from edgesbc.transport.websocket import accept_websocket

__all__ = ["StreamListener"]

_BROKEN = (
    trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError,
    trio_websocket.HandshakeError, trio_websocket.ConnectionClosed,
    UnicodeError,  # of the WebSocket library, for an opening handshake that is not ASCII
)  # fmt: skip


class AcceptingPlane(Protocol):
    """What a stream listener needs of the signalling plane that it accepts connections for."""

    edge: Edge
    places: ConnectionLimits
    connections: dict[int, Connection]

    def trusts(self, listener: Listener, peer: Source) -> bool:
        """Whether the address of a connection belongs to a trunk or to the core."""

    def trusted(self, listener: Listener, now: float) -> tuple[Sequence[Listed], float | None]:
        """The sources that the kernel steers past the strangers, and when the list is next to be renewed."""

    def turned_away(self, listener: Listener, peer: Source, why: str) -> None:
        """Count and record a connection that was refused."""

    def contained(self, listener: Listener) -> contextlib.AbstractContextManager[None]:
        """Around the task of a connection: a fault ends that connection and no other."""

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """Take one framed message."""

    def broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """Take the bytes at which a stream can no longer be framed."""

    def forget(self, flow: Flow) -> None:
        """A connection has ended."""


class StreamListener:
    """One TCP, TLS, WS or WSS listener. ``context`` is that of new TLS handshakes."""

    def __init__(self, plane: AcceptingPlane, opened: OpenedListener, folder: Path | None) -> None:
        self._plane = plane
        self._opened = opened
        self._folder = folder
        self.steering = Steering(opened.sock) if opened.strangers is not None else None
        self._accepting = trio.CancelScope()
        self.context = self.load()

    @property
    def listener(self) -> Listener:
        return self._opened.listener

    def load(self) -> ssl.SSLContext | None:
        """The context with the certificate as it is on disk now; None for a listener without TLS."""
        if not self.listener.transport.secure or self._folder is None:
            return None
        return server_context(self._opened.settings, self._folder)

    async def run(
        self,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until :meth:`shut`; connections live on in ``nursery``."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._opened.sockets]
        async with contextlib.AsyncExitStack() as stack:
            for each in listeners:
                await stack.enter_async_context(each)
            if self.steering is not None:
                self.steering.ask(trio.current_time())
                self.apply(trio.current_time())
            task_status.started()
            with self._accepting:
                # One connection of each socket in turn: strangers wait in a backlog of their own.
                await trio.serve_listeners(self._enter, listeners, handler_nursery=nursery)

    def shut(self) -> None:
        """Accept no more."""
        self._accepting.cancel()

    # --- what the kernel does ------------------------------------------------------------------------------

    @property
    def lanes(self) -> dict[str, tuple[str, int]]:
        """As of a UDP listener, without penalties: whoever is accepted has proven its address."""
        if self.listener.zone is Zone.CORE:
            return {}
        return {"steering": (USER, 0) if self.steering is None else (self.steering.mode, self.steering.left_out)}

    @property
    def due(self) -> float | None:
        """When to call :meth:`apply` (seconds, trio's clock); None: nothing is to be done."""
        return None if self.steering is None else self.steering.due

    def apply(self, now: float) -> None:
        """Give the kernel the program that is due."""
        if self.steering is not None and self.steering.due is not None and self.steering.due <= now:
            self.steering.apply(*self._plane.trusted(self.listener, now), now)

    # --- one connection ------------------------------------------------------------------------------------

    async def _enter(self, stream: trio.SocketStream) -> None:
        listener, plane = self.listener, self._plane
        try:
            peer = Source(*stream.socket.getpeername()[:2])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        trusted = plane.trusts(listener, peer)
        refused = self._refusal(peer, trusted)
        if refused:
            plane.turned_away(listener, peer, refused)
            await trio.aclose_forcefully(stream)
            return
        plane.places.take(peer.host, trusted)
        try:
            with plane.contained(listener):
                await self._serve(stream, peer)
        finally:
            plane.places.leave(peer.host, trusted)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _refusal(self, peer: Source, trusted: bool) -> str:
        """Why the peer may not come in, as a label; "" when it may."""
        edge, now = self._plane.edge, trio.current_time()
        if not edge.accept(self.listener, peer, now):
            return Reason.BANNED.code
        return "" if self._plane.places.free(peer.host, trusted) else Reason.CONNECTIONS.code

    async def _serve(self, stream: trio.SocketStream, peer: Source) -> None:
        try:
            await self._admit(stream, peer)
        except* _BROKEN:
            pass  # the peer has gone; the reader of a WebSocket tells it in a task of its own

    async def _admit(self, stream: trio.SocketStream, peer: Source) -> None:
        async with trio.open_nursery() as nursery:
            names: tuple[str, ...] = ()
            carrier: MessageStream | None = None
            refused = Reason.HANDSHAKE.code
            # Absolute: whatever trickles in, the handshakes end by then.
            with trio.move_on_after(limits.HANDSHAKE_SECONDS):
                try:
                    secure = await self._shake_hands(stream)
                    if secure is not None:
                        names = peer_names(secure.getpeercert())
                    came = await self._carrier(secure or stream, nursery)
                    if isinstance(came, str):
                        refused = came
                    else:
                        carrier = came
                except _BROKEN:
                    pass
            if carrier is None:
                self._plane.turned_away(self.listener, peer, refused)
            else:
                await self._carry(carrier, peer, names, nursery)
            nursery.cancel_scope.cancel()

    async def _shake_hands(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream] | None:
        if self.context is None:
            return None
        secure = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        await secure.do_handshake()
        return secure

    async def _carrier(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> MessageStream | str:
        """What carries messages from here on, or why the opening handshake is refused."""
        if self.listener.transport not in (Transport.WS, Transport.WSS):
            return FramedStream(stream)
        return await accept_websocket(nursery, stream, self._opened.settings.origins)

    async def _carry(self, carrier: MessageStream, peer: Source, names: tuple[str, ...], nursery: trio.Nursery) -> None:
        plane = self._plane
        flow = plane.edge.new_flow(self.listener, peer, names)
        connection = plane.connections[flow.serial] = Connection(flow, plane.receive, plane.broken)
        plane.edge.flow_opened(flow)
        try:
            await connection.run(carrier, nursery)
        finally:
            plane.forget(flow)
