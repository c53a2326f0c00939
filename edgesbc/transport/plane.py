"""The signalling plane: runs the signalling core between listeners, connections and one timer task."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import trio

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.media.commands import MediaCommand, MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Media, Open, Penalise, Record, Send
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri
from edgesbc.streams.layer import WORK_KINDS, StreamEnd
from edgesbc.streams.session import StreamSession, client_session
from edgesbc.tasks.containment import Containment
from edgesbc.transport.connection import Connection
from edgesbc.transport.connection_limits import ConnectionLimits
from edgesbc.transport.read_budget import ReadBudget
from edgesbc.transport.sockets import OpenedListener, client_socket, connect, connect_failure
from edgesbc.transport.stream_listener import StreamListener
from edgesbc.transport.tls import client_context
from edgesbc.transport.trusted_queues import TrustedQueues
from edgesbc.transport.udp import UdpListener

__all__ = ["SignallingPlane"]

CarryOutMedia = Callable[[int, MediaCommand], MediaReply | MediaError | None]

_REFUSALS = {reason.code: reason for reason in (Reason.BANNED, Reason.CONNECTIONS, Reason.HANDSHAKE, Reason.ORIGIN)}


class SignallingPlane:
    """Runs an edge. ``media`` passes a command to the media plane with the cookie of its reply, which it returns, or
    which comes later by :meth:`media_replied`; ``record`` takes decisions; ``containment`` counts
    and reports internal errors; ``max_connections`` is the number of connections that are accepted at once.

    ``certificates`` are the folders of TLS and WSS listeners, by listener name. The plane opens one nursery, in which
    each connection is a task.
    """

    def __init__(
        self,
        edge: Edge,
        opened: Sequence[OpenedListener],
        certificates: Mapping[str, Path],
        media: CarryOutMedia,
        record: Callable[[Decision], None],
        containment: Containment,
        max_connections: int,
    ) -> None:
        self.containment = containment
        self.edge = edge
        self._media = media
        self._record = record
        self._opened = tuple(opened)
        self._certificates = certificates
        self._udp: dict[int, UdpListener] = {}
        self._stream_listeners: list[StreamListener] = []
        self.connection_limits = ConnectionLimits(max_connections)
        self.connections: dict[int, Connection] = {}
        self._queues = TrustedQueues()
        self.read_budget = ReadBudget(self._queues)
        self.counts = Counts()  # transport events by (listener, event)
        self.stream_work = Counts()  # what completed no message, by (listener, kind)
        self._steered = edge.standings_version  # the version of standings that the kernel filters have, or will have
        self._sleeping_until = -math.inf
        self._awake_from = -math.inf
        self._sleep = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._clients: dict[int, ssl.SSLContext] = {}
        self._devices = {opened.listener.id: opened.settings.device for opened in self._opened}
        self._not_sent: list[tuple[bytes, SendFailure]] = []  # datagrams that the core is to be told of
        for opened_listener in self._opened:
            self._add_listener(opened_listener)

    def _add_listener(self, opened: OpenedListener) -> None:
        listener = opened.listener
        if listener.transport is Transport.UDP:
            self._udp[listener.id] = UdpListener(
                listener,
                opened.sock,
                opened.untrusted,
                self.receive,
                self._unreachable,
                self.edge.trusted_sources,
                self.containment,
                opened.settings.icmp_from_routers,
                self._queues,
            )
            return
        folder = self._certificates.get(listener.name)
        if listener.transport is Transport.TLS:
            self._clients[listener.id] = client_context(opened.settings, folder)
        self._stream_listeners.append(StreamListener(self, opened, folder))

    @property
    def kernel_filters(self) -> dict[tuple[str, str], tuple[str, int]]:
        """The state of each kernel filter, by listener and ``penalties`` or ``steering``: its mode (``kernel`` or
        ``user``), and the number of sources that did not fit into its program."""
        return {
            (listener.listener.name, name): state
            for listener in self._listeners
            for name, state in listener.kernel_filters.items()
        }

    @property
    def _listeners(self) -> list[UdpListener | StreamListener]:
        return [*self._udp.values(), *self._stream_listeners]

    def reload_certificates(self) -> None:
        """Load the certificate files for new handshakes, of accepted connections and of those to destinations.

        Raises ``OSError`` that names listener and file if one cannot be used, and changes none.
        """
        contexts = [(listener, listener.load_context()) for listener in self._stream_listeners]
        clients = {
            listener.listener.id: client_context(listener.settings, self._certificates.get(listener.listener.name))
            for listener in self._stream_listeners
            if listener.listener.id in self._clients
        }
        for listener, context in contexts:
            listener.context = context
        self._clients.update(clients)

    # --- running -----------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Started when every listener receives."""
        self.edge.set_wall_clock(time.time() - trio.current_time())  # before the first message is routed by it
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for udp in self._udp.values():
                    nursery.start_soon(udp.run)
                for listener in self._stream_listeners:
                    await nursery.start(listener.run, nursery)
                nursery.start_soon(self.containment.keep_running, "timer", self._run_timer)
                nursery.start_soon(self.containment.keep_running, "read budget", self.read_budget.run)
                task_status.started()
        finally:
            self._nursery = None  # it takes no tasks any more, and the media plane may still report events

    def stop_accepting(self) -> None:
        """Accept no new connections; open ones stay."""
        for listener in self._stream_listeners:
            listener.stop_accepting()

    async def _run_timer(self) -> None:
        """The one timer task: calls ``Edge.expire`` when the next deadline has come, for many deadlines at a time."""
        while True:
            self._sleeping_until = max(min(self._deadline(), self._next_lag_check()), self._awake_from)
            with trio.CancelScope(deadline=self._sleeping_until) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            self.edge.note_lateness(now - self._sleeping_until)
            self.edge.set_wall_clock(time.time() - now)
            self._awake_from = now + limits.TIMER_GRAIN_SECONDS
            with self.containment.contain("kernel filters"):
                for listener in self._listeners:
                    listener.apply(now)
            self.carry_out(self._guarded("expire", partial(self.edge.expire, now)))

    def _next_lag_check(self) -> float:
        """When to wake without a deadline: soon after the edge was late, to measure whether it still is."""
        late = self.edge.lag > limits.TIMER_GRAIN_SECONDS
        return trio.current_time() + limits.LAG_SECONDS if late else math.inf

    def _deadline(self) -> float:
        deadline = self.edge.deadline()
        dues = [math.inf if due is None else due for due in (listener.due for listener in self._listeners)]
        return min([math.inf if deadline is None else deadline, *dues])

    # --- receiving ---------------------------------------------------------------------------------------

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        """Pass one message to the core. An internal error costs that message, not the edge: it fails closed."""
        try:
            effects = self.edge.receive(flow, data, now)
        except Exception as error:  # noqa: BLE001 - the boundary between untrusted bytes and the process
            self._fault(flow.listener, "receive", error)
            effects = self._guarded("faulted", lambda: self.edge.recover(flow, data, now))
        self.carry_out(effects)

    def _guarded(self, kind: str, call: Callable[[], list[Effect]]) -> list[Effect]:
        """The effects of a call of the core without a message, with the same error boundary as :meth:`receive`."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - one call's fault must not end all others
            self.containment.fault(kind, error)
            return self.edge.take_effects()

    @contextmanager
    def contain_faults(self, listener: Listener) -> Iterator[None]:
        """A context around a connection's task: an internal error in it ends that connection only."""
        try:
            yield
        except* Exception as faults:  # noqa: BLE001 - the boundary between one connection and all others
            self._fault(listener, "connection", faults)

    def _fault(self, listener: Listener, kind: str, error: Exception) -> None:
        self.counts.add(listener.name, Reason.INTERNAL.code)
        self.containment.fault(kind, error)

    def connection_broken(self, listener: Listener, peer: Source, end: StreamEnd) -> None:
        """Count and record an open connection that ended because its peer broke a protocol or a deadline."""
        self._record_connection(listener, peer, end.reason, Reason.FLOW_GONE, f"{end.reason}: {end.detail}")

    def connection_refused(self, listener: Listener, peer: Source, why: str) -> None:
        """Count and record a refused connection; ``why`` is its label in the metrics."""
        reason = _REFUSALS.get(why, Reason.HANDSHAKE)
        self._record_connection(listener, peer, why, reason, "" if why == reason.code else why)

    def handshake_failed(self, listener: Listener, peer: Source, session: StreamSession) -> None:
        """Count and record a connection whose opening handshakes failed, and meter the work if they had begun."""
        self.connection_refused(listener, peer, Reason.HANDSHAKE.code if session.end is None else session.end.reason)
        if session.counts.bytes_received:
            flow = Flow(listener, peer, serial=-1)
            self._meter(flow, limits.FAILED_HANDSHAKE_UNITS, "handshakes", trio.current_time())

    def _record_connection(self, listener: Listener, peer: Source, event: str, reason: Reason, detail: str) -> None:
        self.counts.add(listener.name, event)
        self._record(Decision(trio.current_time(), reason, str(peer), listener.name, detail=detail))

    def stream_broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        """A stream cannot be framed any more from ``data`` on."""
        self.carry_out(self._guarded("broken", lambda: self.edge.stream_broken(flow, data, error, now)))

    def stream_worked(self, flow: Flow, work: Sequence[int], now: float) -> None:
        """Count and meter what a read has caused that completed no message, by the kinds of ``WORK_KINDS``."""
        for kind, number in zip(WORK_KINDS, work, strict=True):
            if number:
                self.stream_work.add(flow.listener.name, kind, by=number)
        most = WORK_KINDS[work.index(max(work))]
        self._meter(flow, sum(work), most, now)

    def _meter(self, flow: Flow, units: int, kind: str, now: float) -> None:
        self.carry_out(self._guarded("work", lambda: self.edge.stream_worked(flow, units, kind, now)))

    def _unreachable(self, destination: Source, quote: bytes, now: float) -> None:
        self.carry_out(self._guarded("unreachable", lambda: self.edge.unreachable(destination, quote, now)))

    def addresses_resolved(self, place: ServerUri, targets: Sequence[ResolvedAddress]) -> None:
        """The resolver has new addresses for the host name of destinations."""
        self.carry_out(self._guarded("names", lambda: self.edge.resolved(place, targets, trio.current_time())))

    def media_replied(self, cookie: int, reply: MediaReply | MediaError) -> None:
        """The media plane has replied to the command with that cookie."""
        self.carry_out(self._guarded("media", lambda: self.edge.media_replied(cookie, reply, trio.current_time())))

    def media_event(self, event: MediaTimeout | MediaSilence) -> None:
        self.carry_out(self._guarded("media event", lambda: self.edge.media_event(event, trio.current_time())))

    # --- effects -----------------------------------------------------------------------------------------

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Carry out effects of the signalling core, in order, and those of its answer to what could not be sent.

        One that fails costs none of the others.
        """
        self._carry_out_each(effects)
        while self._not_sent:  # a request has a bounded number of hops, of which each comes here once
            data, failure = self._not_sent.pop(0)
            report = partial(self.edge.request_not_sent, data, failure, trio.current_time())
            self._carry_out_each(self._guarded("not sent", report))
        if self.edge.standings_version != self._steered:
            self._schedule_steering()
        self._wake_at(self.edge.deadline())

    def _carry_out_each(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            try:
                if isinstance(effect, Send):
                    self._send(effect.flow, effect.data)
                elif isinstance(effect, Record):
                    self._record(effect.decision)
                elif isinstance(effect, Media):
                    self._ask_media(effect)
                else:
                    self._carry_out_rare(effect)
            except Exception as error:  # noqa: BLE001 - the boundary between one effect and all others
                self.containment.fault("effect", error)

    def _wake_at(self, deadline: float | None) -> None:
        """Let the timer task wake at ``deadline`` if that is earlier, but not within its grain."""
        if deadline is not None and deadline < self._sleeping_until > self._awake_from:
            self._sleeping_until = self._sleep.deadline = max(deadline, self._awake_from)

    def has_account(self, flow: Flow) -> bool:
        """Whether the flow is of a trunk, of the private side, or has registered."""
        return self.edge.has_account(flow, trio.current_time())

    def may_be_silent(self, flow: Flow) -> bool:
        """Whether a connection may be idle for long: it has an account, or a call lives on it."""
        return self.edge.may_be_silent(flow, trio.current_time())

    def _schedule_steering(self) -> None:
        """The trusted sources have changed: update the steering programs soon."""
        self._steered = self.edge.standings_version
        now = trio.current_time()
        for listener in self._listeners:
            if listener.steering is not None:
                listener.steering.schedule(now)
                self._wake_at(listener.due)

    def _send(self, flow: Flow, data: bytes) -> None:
        if not flow.serial:
            failure = self._udp[flow.listener.id].send(flow.peer, data)
            if failure is not None:
                self._not_sent.append((data, failure))
        else:
            connection = self.connections.get(flow.serial)
            if connection is not None:
                try:
                    connection.send(data)
                except Exception:
                    connection.abort()  # what its layers hold now is not known
                    raise

    def _ask_media(self, effect: Media) -> None:
        """Pass a command to the media plane, whose reply may be there at once."""
        self.carry_out(self._guarded("media", lambda: self._media_replied(effect)))

    def _media_replied(self, effect: Media) -> list[Effect]:
        reply = self._media(effect.cookie, effect.command)
        return [] if reply is None else self.edge.media_replied(effect.cookie, reply, trio.current_time())

    def _carry_out_rare(self, effect: Open | Close | Penalise) -> None:
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
            failed = partial(self._handshake_failed, effect.flow, effect.name)
            connection = self.connections[effect.flow.serial] = Connection(self, effect.flow, failed=failed)
            self._nursery.start_soon(self._connect, connection, effect.flow, effect.name)
        elif isinstance(effect, Close):
            open_connection = self.connections.get(effect.flow.serial)
            if open_connection is not None:
                open_connection.close()

    # --- connections to destinations ---------------------------------------------------------------------

    async def _connect(self, connection: Connection, flow: Flow, name: str) -> None:
        """Connect and serve the connection. Over TLS the peer's certificate must be for ``name``, which is also sent as
        SNI, unless it is an address (RFC 6066 section 3)."""
        failure: SendFailure | None = None
        with self.contain_faults(flow.listener):
            try:
                with ExitStack() as stack:
                    deadline = trio.current_time() + limits.CONNECT_SECONDS
                    try:
                        sock = stack.enter_context(client_socket(flow.peer, self._devices.get(flow.listener.id, "")))
                        await connect(sock, flow.peer, connection.until_connected(deadline))
                    except OSError as error:
                        failure = SendFailure.CLOSED if connection.closing else connect_failure(error)
                        if not connection.closing:
                            self._record_failed_connect(flow, name, error)
                        return
                    session = client_session(trio.current_time(), deadline, self._clients.get(flow.listener.id), name)
                    await connection.run(sock, session)
            finally:
                self.connection_ended(flow, failure)

    def _handshake_failed(self, flow: Flow, name: str, end: StreamEnd) -> None:
        self._record_failed_connect(flow, name, end.cause or OSError(end.detail))

    def _record_failed_connect(self, flow: Flow, name: str, error: Exception) -> None:
        detail = f"cannot connect: {error}"
        if isinstance(error, ssl.SSLCertVerificationError):
            detail = f"cannot connect: expected a certificate for {name}, found: {error.verify_message}"
        self._record_connection(flow.listener, flow.peer, "connect-failed", Reason.FLOW_GONE, detail)

    def connection_opened(self, flow: Flow) -> None:
        """A connection to a destination is open: what waits for it in the signalling core is sent."""
        self.carry_out(self._guarded("flow connected", lambda: self.edge.flow_connected(flow, trio.current_time())))

    def connection_ended(self, flow: Flow, failure: SendFailure | None = None) -> None:
        """A connection has ended, or takes no more: what waits for it in the signalling core fails, or goes another
        way. A second call has no effect. ``failure`` is why this machine could not even try to open it."""
        self.connections.pop(flow.serial, None)
        now = trio.current_time()
        self.carry_out(self._guarded("flow closed", lambda: self.edge.flow_closed(flow, now, failure)))
