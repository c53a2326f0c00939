"""The signalling plane: listeners and connections around the signalling core, one timer task, effects carried out."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply, MediaTimeout
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Media, Open, Penalise, Record, Send
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri
from edgesbc.transport.connection import Connection, FramedStream
from edgesbc.transport.connection_limits import ConnectionLimits
from edgesbc.transport.filter_programs import Listed
from edgesbc.transport.sockets import OpenedListener
from edgesbc.transport.stream_listener import StreamListener
from edgesbc.transport.tls import client_context
from edgesbc.transport.udp import UdpListener

__all__ = ["SignallingPlane"]

CarryOutMedia = Callable[[MediaCommand], MediaReply | MediaError | None]

_TURNED_AWAY = {each.code: each for each in (Reason.BANNED, Reason.CONNECTIONS, Reason.HANDSHAKE, Reason.ORIGIN)}


class SignallingPlane:
    """Runs an edge. ``media`` has the media plane carry out a command; ``record`` takes decisions; ``failed`` is told,
    as (kind, exception), of a fault of ours in the signalling core.

    ``certificates`` are the folders of the listeners that speak TLS, by listener name. Nurseries: one of
    the plane, and in it each connection's own.
    """

    def __init__(
        self,
        edge: Edge,
        opened: Sequence[OpenedListener],
        certificates: Mapping[str, Path],
        media: CarryOutMedia,
        record: Callable[[Decision], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._failed = failed
        self.edge = edge
        self._media = media
        self._record = record
        self._opened = tuple(opened)
        self._certificates = certificates
        self._udp: dict[int, UdpListener] = {}
        self._doors: list[StreamListener] = []
        self.places = ConnectionLimits()
        self.connections: dict[int, Connection] = {}
        self.counts = Counts()  # (listener, what) of transport events
        self._steered = edge.standings_version  # the version of standings that lanes know or have due
        self._sleeping_until = -math.inf
        self._awake_from = -math.inf
        self._sleep = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._clients: dict[int, ssl.SSLContext] = {}
        for each in self._opened:
            self._prepare(each)

    def _prepare(self, opened: OpenedListener) -> None:
        listener = opened.listener
        if listener.transport is Transport.UDP:
            self._udp[listener.id] = UdpListener(
                listener, opened.sock, opened.strangers, self.receive, self._unreachable, self.trusted
            )
            return
        folder = self._certificates.get(listener.name)
        if listener.transport is Transport.TLS:
            self._clients[listener.id] = client_context(opened.settings, folder)
        self._doors.append(StreamListener(self, opened, folder))

    @property
    def lanes(self) -> dict[tuple[str, str], tuple[str, int]]:
        """Who does what for each public listener, by its name and ``penalties`` or ``steering``: ``kernel`` or
        ``user``, and how many sources the kernel's program had no room for."""
        return {(each.listener.name, lane): state for each in self._listening for lane, state in each.lanes.items()}

    @property
    def _listening(self) -> list[UdpListener | StreamListener]:
        return [*self._udp.values(), *self._doors]

    def reload_certificates(self) -> None:
        """Use the certificate files as they are now for new handshakes. Raises ``OSError``; the old ones then stay."""
        contexts = [(door, door.load()) for door in self._doors]
        for door, context in contexts:
            door.context = context

    # --- running -----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started once every listener listens."""
        self.edge.set_wall_clock(time.time() - trio.current_time())  # before the first message is routed by it
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for udp in self._udp.values():
                nursery.start_soon(udp.run)
            for door in self._doors:
                await nursery.start(door.run, nursery)
            nursery.start_soon(self._keep_time)
            task_status.started()

    def stop_accepting(self) -> None:
        """Take no new connections; those that are open go on."""
        for door in self._doors:
            door.shut()

    async def _keep_time(self) -> None:
        """The one timer task: wakes the signalling core when its next deadline has come, many deadlines at a time."""
        while True:
            self._sleeping_until = max(min(self._deadline(), self._look_again()), self._awake_from)
            with trio.CancelScope(deadline=self._sleeping_until) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            self.edge.note_lateness(now - self._sleeping_until)
            self.edge.set_wall_clock(time.time() - now)
            self._awake_from = now + limits.TIMER_GRAIN_SECONDS
            for each in self._listening:
                each.apply(now)
            self.carry_out(self._guarded("expire", partial(self.edge.expire, now)))

    def _look_again(self) -> float:
        """When to wake without any deadline: soon, while the edge was late, to see whether it still is."""
        late = self.edge.lag > limits.TIMER_GRAIN_SECONDS
        return trio.current_time() + limits.LAG_SECONDS if late else math.inf

    def _deadline(self) -> float:
        deadline = self.edge.deadline()
        dues = [math.inf if due is None else due for due in (each.due for each in self._listening)]
        return min([math.inf if deadline is None else deadline, *dues])

    # --- what comes in -----------------------------------------------------------------------------------

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """One message to the core. A fault of ours costs that message, not the edge (DESIGN: fail closed)."""
        try:
            effects = self.edge.receive(flow, data, now)
        except Exception as error:  # noqa: BLE001 - the boundary between strangers' bytes and the process
            self._fault(flow.listener, "receive", error)
            effects = self._guarded("faulted", lambda: self.edge.recover(data, now))
        self.carry_out(effects)

    def _guarded(self, kind: str, think: Callable[[], list[Effect]]) -> list[Effect]:
        """What the core says where no message of a peer is at hand, with the same boundary as :meth:`receive`."""
        try:
            return think()
        except Exception as error:  # noqa: BLE001 - one call's fault must not end all others
            self._failed(kind, error)
            return self.edge.take_effects()

    @contextmanager
    def contained(self, listener: Listener) -> Iterator[None]:
        """Around a connection's task: what goes wrong there ends that connection and no other."""
        try:
            yield
        except* Exception as faults:  # noqa: BLE001 - the boundary between one connection and all others
            self._fault(listener, "connection", faults)

    def _fault(self, listener: Listener, kind: str, error: Exception) -> None:
        self.counts.add(listener.name, Reason.INTERNAL.code)
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]  # the kind of fault, not of the nursery that it came through
        self._failed(kind, error)

    def turned_away(self, listener: Listener, peer: Source, why: str) -> None:
        """A connection that is not taken, by its label in the metrics; the ledger has one entry for each address."""
        self.counts.add(listener.name, why)
        reason = _TURNED_AWAY.get(why, Reason.HANDSHAKE)
        detail = "" if why == reason.code else why
        self._record(Decision(trio.current_time(), reason, str(peer), listener.name, detail=detail))

    def broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        self.carry_out(self._guarded("broken", lambda: self.edge.stream_broken(flow, data, error, now)))

    def _unreachable(self, listener: Listener, peer: Source, now: float) -> None:
        self.carry_out(self._guarded("unreachable", lambda: self.edge.peer_unreachable(listener, peer, now)))

    def located(self, place: ServerUri, targets: Sequence[ResolvedAddress]) -> None:
        """The resolver has other addresses for a destination's name than before."""
        self.carry_out(self._guarded("names", lambda: self.edge.resolved(place, targets, trio.current_time())))

    def media_event(self, event: MediaTimeout) -> None:
        self.carry_out(self._guarded("media event", lambda: self.edge.media_event(event, trio.current_time())))

    # --- what goes out -----------------------------------------------------------------------------------

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Do what the signalling core asks for, in order."""
        for effect in effects:
            kind = type(effect)
            if kind is Send:
                self._send(effect.flow, effect.data)  # type: ignore[union-attr]
            elif kind is Record:
                self._record(effect.decision)  # type: ignore[union-attr]
            elif kind is Media:
                self._ask_media(effect)  # type: ignore[arg-type]
            else:
                self._carry_out_rare(effect)
        if self.edge.standings_version != self._steered:
            self._steer_anew()
        self._wake_at(self.edge.deadline())

    def _wake_at(self, deadline: float | None) -> None:
        """Let the timer task wake earlier than it meant to, though not before its grain is over."""
        if deadline is not None and deadline < self._sleeping_until > self._awake_from:
            self._sleeping_until = self._sleep.deadline = max(deadline, self._awake_from)

    def trusted(self, listener: Listener, now: float) -> tuple[Sequence[Listed], float | None]:
        """Whom the kernel is to steer past the strangers; see :meth:`Standings.trusted`."""
        return self.edge.trusted_sources(listener, now)

    def trusts(self, listener: Listener, peer: Source) -> bool:
        """Whether a connection is from a trunk or the private side, as far as its address tells."""
        flow = Flow(listener, peer, serial=-1)
        return self.edge.is_trunk(flow, trio.current_time())

    def _steer_anew(self) -> None:
        """Others are trusted now than before: the kernel is to know it soon."""
        self._steered = self.edge.standings_version
        now = trio.current_time()
        for each in self._listening:
            if each.steering is not None:
                each.steering.ask(now)
                self._wake_at(each.due)

    def _send(self, flow: Flow, data: bytes) -> None:
        if not flow.serial:
            self._udp[flow.listener.id].send(flow.peer, data)
        else:
            connection = self.connections.get(flow.serial)
            if connection is not None:
                connection.send(data)

    def _ask_media(self, effect: Media) -> None:
        """With both planes in one process the reply is there at once."""
        self.carry_out(self._guarded("media", lambda: self._media_replied(effect)))

    def _media_replied(self, effect: Media) -> list[Effect]:
        reply = self._media(effect.command)
        return [] if reply is None else self.edge.media_replied(effect.cookie, reply, trio.current_time())

    def _carry_out_rare(self, effect: Effect) -> None:
        if isinstance(effect, Penalise):
            udp = self._udp.get(effect.listener.id)
            if udp is not None and udp.penalties is not None:
                now = trio.current_time()
                if effect.ttl > 0:
                    udp.penalties.add(effect.source, effect.ttl, now)
                else:
                    udp.penalties.remove(effect.source, now)
                self._wake_at(udp.due)
        elif isinstance(effect, Open) and self._nursery is not None:
            connection = self.connections[effect.flow.serial] = Connection(effect.flow, self.receive, self.broken)
            self._nursery.start_soon(self._connect, connection, effect.name)
        elif isinstance(effect, Close):
            open_connection = self.connections.get(effect.flow.serial)
            if open_connection is not None:
                open_connection.close()

    # --- connections to destinations ---------------------------------------------------------------------

    async def _connect(self, connection: Connection, name: str) -> None:
        flow = connection.flow
        try:
            with self.contained(flow.listener):
                carrier = await self._reach(flow, name)
                if carrier is not None:
                    async with trio.open_nursery() as nursery:
                        await connection.run(carrier, nursery)
        finally:
            self.forget(flow)

    async def _reach(self, flow: Flow, name: str) -> FramedStream | None:
        """Connect, and shake hands where it is TLS, with who proves to be ``name``; None when that fails in the time
        it may take. A name is also what the peer is asked for (SNI); an address never is (RFC 6066 section 3)."""
        host, port = flow.peer
        plain: trio.SocketStream | None = None
        carrier: FramedStream | None = None
        try:
            with trio.move_on_after(limits.CONNECT_SECONDS):
                plain = await trio.open_tcp_stream(host, port)
                stream: trio.abc.Stream = plain
                if flow.listener.transport is Transport.TLS:
                    context = self._clients[flow.listener.id]
                    stream = trio.SSLStream(plain, context, server_hostname=name, https_compatible=True)
                    await stream.do_handshake()
                carrier = FramedStream(stream)
        except (OSError, trio.BrokenResourceError) as error:
            self._not_connected(flow, name, error)
        finally:
            if carrier is None and plain is not None:
                await trio.aclose_forcefully(plain)  # whom it cannot trust, it does not leave waiting
        return carrier

    def _not_connected(self, flow: Flow, name: str, error: Exception) -> None:
        self.counts.add(flow.listener.name, "connect-failed")
        cause = error.__cause__ or error
        detail = f"cannot connect: {cause}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = f"cannot connect: expected a certificate for {name}, found: {cause.verify_message}"
        now = trio.current_time()
        self._record(Decision(now, Reason.FLOW_GONE, str(flow.peer), flow.listener.name, detail=detail))

    def forget(self, flow: Flow) -> None:
        """A connection has ended: the signalling core is told, and what waited for it fails."""
        self.connections.pop(flow.serial, None)
        self.carry_out(self._guarded("flow closed", lambda: self.edge.flow_closed(flow, trio.current_time())))
