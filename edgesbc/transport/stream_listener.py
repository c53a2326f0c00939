"""A stream listener: accepts connections within limits and deadlines, with TLS and WebSocket handshakes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.base.counts import Counts
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.reasons import Reason
from edgesbc.policy.model import ListenSettings
from edgesbc.signalling.edge import Edge
from edgesbc.streams.layer import StreamEnd
from edgesbc.streams.proxy_protocol import ProxyHeaderError, ProxyHeaderReader
from edgesbc.streams.session import StreamSession, server_session
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment
from edgesbc.transport.connection import Connection, StreamCore
from edgesbc.transport.connection_limits import ConnectionLimits
from edgesbc.transport.kernel_filters import USER, Steering
from edgesbc.transport.read_budget import ReadBudget
from edgesbc.transport.sockets import OpenedListener
from edgesbc.transport.tls import server_context

__all__ = ["StreamListener"]

_BROKEN = frozenset(("tls", "timeout", "websocket"))
"""Ends of open connections that are counted: the peer broke a protocol or a deadline. Broken SIP is counted as such."""


class AcceptingPlane(StreamCore, Protocol):
    """The interface of the signalling plane that a stream listener uses."""

    edge: Edge
    connection_limits: ConnectionLimits
    connections: dict[int, Connection]
    containment: Containment
    read_budget: ReadBudget
    stream_work: Counts

    def connection_refused(self, listener: Listener, peer: Source, why: str) -> None:
        """Count and record a connection that was refused."""

    def contain_faults(self, listener: Listener) -> contextlib.AbstractContextManager[None]:
        """A context around a connection's task: an internal error in it ends that connection only."""

    def handshake_failed(self, listener: Listener, peer: Source, session: StreamSession) -> None:
        """Count and record a connection whose opening handshakes failed, and meter the work."""

    def connection_broken(self, listener: Listener, peer: Source, end: StreamEnd) -> None:
        """Count and record an open connection that ended because its peer broke a protocol or a deadline."""


class StreamListener:
    """A TCP, TLS, WS or WSS listener. ``context`` is the TLS context of new connections."""

    def __init__(self, plane: AcceptingPlane, opened: OpenedListener, folder: Path | None) -> None:
        self._plane = plane
        self._opened = opened
        self._folder = folder
        self.steering = Steering(opened.sock) if opened.untrusted is not None else None
        self._accepting = trio.CancelScope()
        self._balancers = PrefixSet(opened.settings.proxy_protocol)
        self.context = self.load_context()

    @property
    def listener(self) -> Listener:
        return self._opened.listener

    @property
    def settings(self) -> ListenSettings:
        return self._opened.settings

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
        with contextlib.ExitStack() as stack:
            for sock in self._opened.sockets:
                stack.enter_context(sock)
            if self.steering is not None:
                self.steering.schedule(trio.current_time())
                self.apply(trio.current_time())
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    # One task for each socket: untrusted peers have an accept queue of their own.
                    take = partial(self._accept, nursery)
                    for sock in self._opened.sockets:
                        accept = Acceptor(sock, take, self._refuse_without_descriptor).run
                        accepting.start_soon(
                            self._plane.containment.keep_running, f"accept {self.listener.name}", accept
                        )
                    task_status.started()

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
            self.steering.apply(*self._plane.edge.trusted_sources(self.listener, now), now)

    # --- accepting -----------------------------------------------------------------------------------------

    def _accept(self, nursery: trio.Nursery, sock: socket.socket, address: Any) -> None:
        """Give a connection a task, unless it is refused."""
        with self._plane.contain_faults(self.listener):
            peer = Source(address[0], address[1])
            if peer.host in self._balancers:
                if self._has_room(peer, "", False):
                    nursery.start_soon(self._serve_for_balancer, sock, peer)
                    return
            elif (trusted := self._admit(peer)) is not None:
                nursery.start_soon(self._serve, sock, peer, trusted)
                return
        sock.close()

    def _refuse_without_descriptor(self, address: Any, error: OSError) -> None:
        with self._plane.contain_faults(self.listener):
            self._plane.connection_refused(self.listener, Source(address[0], address[1]), "descriptors")

    def _admit(self, peer: Source) -> bool | None:
        """Judge and count a connection: whether its peer is trusted, or None where it is refused."""
        edge, now = self._plane.edge, trio.current_time()
        trusted = edge.is_trunk(Flow(self.listener, peer, serial=-1), now)
        if not edge.accept(self.listener, peer, now):
            reason = Reason.CORE_SOURCE if self.listener.zone is Zone.CORE else Reason.BANNED
            self._plane.connection_refused(self.listener, peer, reason.code)
            return None
        return trusted if self._has_room(peer, peer.host, trusted) else None

    def _has_room(self, peer: Source, host: str, trusted: bool) -> bool:
        """Count a connection from ``host``, unless that would exceed the limits."""
        if self._plane.connection_limits.allows(host, trusted):
            self._plane.connection_limits.add(host, trusted)
            return True
        self._plane.connection_refused(self.listener, peer, Reason.CONNECTIONS.code)
        return False

    # --- balancers -----------------------------------------------------------------------------------------

    async def _serve_for_balancer(self, sock: socket.socket, balancer: Source) -> None:
        """Serve a connection whose peer a balancer names; then it is as if the peer had connected itself."""
        with sock, self._plane.contain_faults(self.listener):
            try:
                peer = await self._named_peer(sock, balancer)
            finally:
                self._plane.connection_limits.remove("", False)
            if peer is None:
                self._plane.connection_refused(self.listener, balancer, "proxy-protocol")
                return
            trusted = self._admit(peer)
            if trusted is not None:
                await self._serve(sock, peer, trusted)

    async def _named_peer(self, sock: socket.socket, balancer: Source) -> Source | None:
        """The peer that the PROXY header names, or the balancer where it speaks for itself; None without a header.

        Who the peer is, and that it is no trunk, is not known before: its reads have to wait for their turn.
        """
        reader, budget = ProxyHeaderReader(), self._plane.read_budget
        with trio.move_on_after(limits.HANDSHAKE_SECONDS) as scope:
            latest = scope.deadline + limits.POSTPONED_SECONDS
            try:
                while reader.needed:
                    await trio.lowlevel.wait_readable(sock)
                    if budget.spent:
                        await budget.wait(scope, latest - scope.deadline)
                    budget.charge(0.0)
                    data = sock.recv(reader.needed)
                    if not data:
                        return None
                    reader.receive(data)
            except (OSError, ProxyHeaderError):
                return None
            return reader.source or balancer
        return None

    # --- one connection ------------------------------------------------------------------------------------

    async def _serve(self, sock: socket.socket, peer: Source, trusted: bool) -> None:
        plane, listener = self._plane, self.listener

        def opened(names: tuple[str, ...]) -> Flow:
            flow = plane.edge.new_flow(listener, peer, names)
            plane.connections[flow.serial] = connection
            plane.edge.flow_opened(flow)
            return flow

        connection = Connection(plane, opened=opened, budget=None if trusted else plane.read_budget)
        with plane.contain_faults(listener):
            try:
                with sock:
                    settings = self._opened.settings
                    session = server_session(
                        listener.transport, trio.current_time(), self.context, settings.origins, settings.ping_seconds,
                        settings.idle_unregistered_seconds,
                    )  # fmt: skip
                    if not session.is_open:
                        plane.stream_work.add(listener.name, "handshakes")
                    await connection.run(sock, session)
                    if connection.flow is None:
                        plane.handshake_failed(listener, peer, session)
                    elif session.end is not None and session.end.reason in _BROKEN:
                        plane.connection_broken(listener, peer, session.end)
            finally:
                plane.connection_limits.remove(peer.host, trusted)
                if connection.flow is not None:
                    plane.connection_ended(connection.flow)
