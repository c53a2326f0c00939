"""A stream listener's door: accepting, caps, deadlines, TLS and WebSocket handshakes, then a connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio_websocket

from edgesbc.base import limits
from edgesbc.base.address import Listener, Source, Transport
from edgesbc.base.reasons import Reason
from edgesbc.signalling.connection import Carrier, Connection, StreamCarrier
from edgesbc.signalling.sockets import Opened
from edgesbc.signalling.tls import peer_names, server_context
from edgesbc.signalling.websocket import accept_websocket

if TYPE_CHECKING:
    from edgesbc.signalling.plane import SignallingPlane

__all__ = ["Door"]

_BROKEN = (
    trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError,
    trio_websocket.HandshakeError, trio_websocket.ConnectionClosed,
    UnicodeError,  # of the WebSocket library, for an opening handshake that is not ASCII
)  # fmt: skip


class Door:
    """One TCP, TLS, WS or WSS listener. ``context`` is that of new TLS handshakes."""

    def __init__(self, plane: SignallingPlane, opened: Opened, folder: Path | None) -> None:
        self._plane = plane
        self._opened = opened
        self._folder = folder
        self._by_address: dict[str, int] = {}
        self._inside = 0
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
        sockets = trio.SocketListener(trio.socket.from_stdlib_socket(self._opened.sock))
        async with sockets:
            task_status.started()
            with self._accepting:
                await trio.serve_listeners(self._enter, [sockets], handler_nursery=nursery)

    def shut(self) -> None:
        """Accept no more."""
        self._accepting.cancel()

    async def _enter(self, stream: trio.SocketStream) -> None:
        listener, plane = self.listener, self._plane
        try:
            peer = Source(*stream.socket.getpeername()[:2])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        refused = self._refusal(peer)
        if refused:
            plane.turned_away(listener, peer, refused)
            await trio.aclose_forcefully(stream)
            return
        self._inside += 1
        self._by_address[peer.host] = self._by_address.get(peer.host, 0) + 1
        try:
            with plane.contained(listener):
                await self._serve(stream, peer)
        finally:
            self._inside -= 1
            self._by_address[peer.host] -= 1
            if not self._by_address[peer.host]:
                del self._by_address[peer.host]
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _refusal(self, peer: Source) -> str:
        """Why the peer may not come in, as a label; "" when it may."""
        if not self._plane.edge.accept(self.listener, peer, trio.current_time()):
            return Reason.BANNED.code
        per_address = self._by_address.get(peer.host, 0)
        if self._inside >= limits.CONNECTIONS or per_address >= limits.CONNECTIONS_PER_ADDRESS:
            return Reason.CONNECTIONS.code
        return ""

    async def _serve(self, stream: trio.SocketStream, peer: Source) -> None:
        try:
            await self._admit(stream, peer)
        except* _BROKEN:
            pass  # the peer has gone; the reader of a WebSocket tells it in a task of its own

    async def _admit(self, stream: trio.SocketStream, peer: Source) -> None:
        async with trio.open_nursery() as nursery:
            names: tuple[str, ...] = ()
            carrier: Carrier | None = None
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

    async def _carrier(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> Carrier | str:
        """What carries messages from here on, or why the opening handshake is refused."""
        if self.listener.transport not in (Transport.WS, Transport.WSS):
            return StreamCarrier(stream)
        return await accept_websocket(nursery, stream, self._opened.settings.origins)

    async def _carry(self, carrier: Carrier, peer: Source, names: tuple[str, ...], nursery: trio.Nursery) -> None:
        plane = self._plane
        flow = plane.edge.new_flow(self.listener, peer, names)
        connection = plane.connections[flow.serial] = Connection(flow, plane.receive, plane.broken)
        plane.edge.flow_opened(flow)
        try:
            await connection.run(carrier, nursery)
        finally:
            plane.forget(flow)
