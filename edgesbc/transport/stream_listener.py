"""A stream listener: accepts connections within limits and deadlines, with TLS and WebSocket handshakes."""

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
    UnicodeError,  # raised by the WebSocket library for an opening handshake that is not ASCII
)  # fmt: skip


class AcceptingPlane(Protocol):
    """The interface of the signalling plane that a stream listener uses."""

    edge: Edge
    connection_limits: ConnectionLimits
    connections: dict[int, Connection]

    def is_trunk_address(self, listener: Listener, peer: Source) -> bool:
        """Whether the address of a connection belongs to a trunk or to the core."""

    def trusted_sources(self, listener: Listener, now: float) -> tuple[Sequence[Listed], float | None]:
        """The sources that the kernel steers to the trusted accept queue, and when the list changes next."""

    def connection_refused(self, listener: Listener, peer: Source, why: str) -> None:
        """Count and record a connection that was refused."""

    def contain_faults(self, listener: Listener) -> contextlib.AbstractContextManager[None]:
        """A context around a connection's task: an internal error in it ends that connection only."""

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """Take one framed message."""

    def stream_broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """A stream cannot be framed any more from ``data`` on."""

    def connection_ended(self, flow: Flow) -> None:
        """A connection has ended."""


class StreamListener:
    """A TCP, TLS, WS or WSS listener. ``context`` is the TLS context of new connections."""

    def __init__(self, plane: AcceptingPlane, opened: OpenedListener, folder: Path | None) -> None:
        self._plane = plane
        self._opened = opened
        self._folder = folder
        self.steering = Steering(opened.sock) if opened.untrusted is not None else None
        self._accepting = trio.CancelScope()
        self.context = self.load_context()

    @property
    def listener(self) -> Listener:
        return self._opened.listener

    def load_context(self) -> ssl.SSLContext | None:
        """A context with the certificate files as they are now; None for a listener without TLS."""
        if not self.listener.transport.secure or self._folder is None:
            return None
        return server_context(self._opened.settings, self._folder)

    async def run(
        self,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until :meth:`stop_accepting`; the tasks of connections run in ``nursery``."""
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in self._opened.sockets]
        async with contextlib.AsyncExitStack() as stack:
            for listener in listeners:
                await stack.enter_async_context(listener)
            if self.steering is not None:
                self.steering.schedule(trio.current_time())
                self.apply(trio.current_time())
            task_status.started()
            with self._accepting:
                # One connection of each socket in turn: untrusted peers have an accept queue of their own.
                await trio.serve_listeners(self._accept, listeners, handler_nursery=nursery)

    def stop_accepting(self) -> None:
        """Accept no more connections."""
        self._accepting.cancel()

    # --- kernel filters ------------------------------------------------------------------------------------

    @property
    def kernel_filters(self) -> dict[str, tuple[str, int]]:
        """As of a UDP listener, without ``penalties``: the address of a connection is not forged."""
        if self.listener.zone is Zone.CORE:
            return {}
        return {"steering": (USER, 0) if self.steering is None else (self.steering.mode, self.steering.left_out)}

    @property
    def due(self) -> float | None:
        """When to call :meth:`apply` (seconds, trio's clock); None: the program has not changed."""
        return None if self.steering is None else self.steering.due

    def apply(self, now: float) -> None:
        """Load the program that is due into the kernel."""
        if self.steering is not None and self.steering.due is not None and self.steering.due <= now:
            self.steering.apply(*self._plane.trusted_sources(self.listener, now), now)

    # --- one connection ------------------------------------------------------------------------------------

    async def _accept(self, stream: trio.SocketStream) -> None:
        listener, plane = self.listener, self._plane
        try:
            peer = Source(*stream.socket.getpeername()[:2])
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        trusted = plane.is_trunk_address(listener, peer)
        refusal = self._refusal(peer, trusted)
        if refusal:
            plane.connection_refused(listener, peer, refusal)
            await trio.aclose_forcefully(stream)
            return
        plane.connection_limits.add(peer.host, trusted)
        try:
            with plane.contain_faults(listener):
                await self._serve(stream, peer)
        finally:
            plane.connection_limits.remove(peer.host, trusted)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _refusal(self, peer: Source, trusted: bool) -> str:
        """Why the connection is refused, as a label for metrics; "" if it is not."""
        edge, now = self._plane.edge, trio.current_time()
        if not edge.accept(self.listener, peer, now):
            return Reason.BANNED.code
        return "" if self._plane.connection_limits.allows(peer.host, trusted) else Reason.CONNECTIONS.code

    async def _serve(self, stream: trio.SocketStream, peer: Source) -> None:
        try:
            await self._handshake_and_run(stream, peer)
        except* _BROKEN:
            pass  # the peer has closed the connection; a WebSocket's reader task raises that too

    async def _handshake_and_run(self, stream: trio.SocketStream, peer: Source) -> None:
        async with trio.open_nursery() as nursery:
            names: tuple[str, ...] = ()
            messages: MessageStream | None = None
            refusal = Reason.HANDSHAKE.code
            # One time limit for all handshakes, however slowly the peer sends.
            with trio.move_on_after(limits.HANDSHAKE_SECONDS):
                try:
                    secure = await self._tls_handshake(stream)
                    if secure is not None:
                        names = peer_names(secure.getpeercert())
                    opened = await self._open_messages(secure or stream, nursery)
                    if isinstance(opened, str):
                        refusal = opened
                    else:
                        messages = opened
                except _BROKEN:
                    pass
            if messages is None:
                self._plane.connection_refused(self.listener, peer, refusal)
            else:
                await self._run_connection(messages, peer, names, nursery)
            nursery.cancel_scope.cancel()

    async def _tls_handshake(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream] | None:
        if self.context is None:
            return None
        secure = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        await secure.do_handshake()
        return secure

    async def _open_messages(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> MessageStream | str:
        """The stream of SIP messages, or why the WebSocket handshake is refused."""
        if self.listener.transport not in (Transport.WS, Transport.WSS):
            return FramedStream(stream)
        return await accept_websocket(nursery, stream, self._opened.settings.origins)

    async def _run_connection(
        self, messages: MessageStream, peer: Source, names: tuple[str, ...], nursery: trio.Nursery
    ) -> None:
        plane = self._plane
        flow = plane.edge.new_flow(self.listener, peer, names)
        connection = plane.connections[flow.serial] = Connection(flow, plane.receive, plane.stream_broken)
        plane.edge.flow_opened(flow)
        try:
            await connection.run(messages, nursery)
        finally:
            plane.connection_ended(flow)
