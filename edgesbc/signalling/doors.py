"""A stream listener's door: accepting, caps, deadlines, TLS and WebSocket handshakes, then a connection."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trio_websocket

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.signalling.connection import Carrier, Connection, StreamCarrier
from edgesbc.signalling.sockets import Opened
from edgesbc.signalling.tls import peer_names, server_context
from edgesbc.signalling.websocket import accept_websocket

if TYPE_CHECKING:
    from edgesbc.signalling.plane import SignallingPlane

__all__ = ["Door", "Places"]

_BROKEN = (
    trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError,
    trio_websocket.HandshakeError, trio_websocket.ConnectionClosed,
    UnicodeError,  # of the WebSocket library, for an opening handshake that is not ASCII
)  # fmt: skip


class Places:
    """The connections of all doors together, and those of each address. A door takes a place and gives it back."""

    __slots__ = ("_by_address", "taken")

    def __init__(self) -> None:
        self._by_address: dict[str, int] = {}
        self.taken = 0

    def free(self, host: str, trusted: bool) -> bool:
        """Whether one more of ``host``, the address of a trunk or of the private side or not, may come in."""
        most = limits.CONNECTIONS if trusted else limits.CONNECTIONS_OF_STRANGERS
        return self.taken < most and self._by_address.get(host, 0) < limits.CONNECTIONS_PER_ADDRESS

    def take(self, host: str) -> None:
        self.taken += 1
        self._by_address[host] = self._by_address.get(host, 0) + 1

    def give_back(self, host: str) -> None:
        self.taken -= 1
        self._by_address[host] -= 1
        if not self._by_address[host]:
            del self._by_address[host]


class Door:
    """One TCP, TLS, WS or WSS listener. ``context`` is that of new TLS handshakes."""

    def __init__(self, plane: SignallingPlane, opened: Opened, folder: Path | None) -> None:
        self._plane = plane
        self._opened = opened
        self._folder = folder
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
            plane.counts.add(listener.name, refused)
            await trio.aclose_forcefully(stream)
            return
        plane.places.take(peer.host)
        try:
            with plane.contained(listener):
                await self._serve(stream, peer)
        finally:
            plane.places.give_back(peer.host)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _refusal(self, peer: Source) -> str:
        """Why the peer may not come in, as a label; "" when it may."""
        edge, now = self._plane.edge, trio.current_time()
        if not edge.accept(self.listener, peer, now):
            return Reason.BANNED.code
        trusted = edge.pipeline.standings.of(Flow(self.listener, peer), now) is Standing.TRUNK
        return "" if self._plane.places.free(peer.host, trusted) else Reason.CONNECTIONS.code

    async def _serve(self, stream: trio.SocketStream, peer: Source) -> None:
        try:
            await self._admit(stream, peer)
        except* _BROKEN:
            pass  # the peer has gone; the reader of a WebSocket tells it in a task of its own

    async def _admit(self, stream: trio.SocketStream, peer: Source) -> None:
        async with trio.open_nursery() as nursery:
            names: tuple[str, ...] = ()
            carrier: Carrier | None = None
            # Absolute: whatever trickles in, the handshakes end by then.
            with trio.move_on_after(limits.HANDSHAKE_SECONDS):
                try:
                    secure = await self._shake_hands(stream)
                    if secure is not None:
                        names = peer_names(secure.getpeercert())
                    carrier = await self._carrier(secure or stream, nursery)
                except _BROKEN:
                    pass
            if carrier is None:
                self._plane.counts.add(self.listener.name, Reason.HANDSHAKE.code)
            else:
                await self._carry(carrier, peer, names, nursery)
            nursery.cancel_scope.cancel()

    async def _shake_hands(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream] | None:
        if self.context is None:
            return None
        secure = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        await secure.do_handshake()
        return secure

    async def _carrier(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> Carrier | None:
        if self.listener.transport not in (Transport.WS, Transport.WSS):
            return StreamCarrier(stream)
        carrier = await accept_websocket(nursery, stream, self._opened.settings.origins)
        if isinstance(carrier, str):
            self._plane.counts.add(self.listener.name, carrier)
            return None
        return carrier

    async def _carry(self, carrier: Carrier, peer: Source, names: tuple[str, ...], nursery: trio.Nursery) -> None:
        plane = self._plane
        flow = plane.edge.new_flow(self.listener, peer, names)
        connection = plane.connections[flow.serial] = Connection(flow, plane.receive, plane.broken)
        plane.edge.flow_opened(flow)
        try:
            await connection.run(carrier, nursery)
        finally:
            plane.forget(flow)
