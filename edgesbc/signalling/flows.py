"""Flows: the listeners of the edge, and the connections that are open or asked for (an ``Open`` effect)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.dispatch.connection_backoff import ConnectionBackoffs
from edgesbc.routing.domains import plain_host
from edgesbc.signalling.effects import Effect, Open
from edgesbc.signalling.opening_connections import ConnectionWaiter, OpeningConnection
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.uri import Uri, parse_uri

__all__ = ["Flows"]


class Flows:
    """The listeners of the edge and the connections that are open.

    ``epoch`` is a text that no other run of the process has: connection numbers in tokens are valid within it.
    ``name_at`` gives the name that the certificate of the destination at an address must have, "" for no destination;
    ``is_trunk`` whether an address is that of a trunk, or of a private server. ``backoffs`` learns what becomes of the
    connections that are asked for.
    """

    __slots__ = (
        "_at", "_backoffs", "_by_name", "_closed_trunks", "_connecting", "_emit", "_hosts", "_is_trunk", "_last_closed",
        "_name_at", "_names", "_open", "_outbound", "_own", "_serial", "epoch", "listeners",
    )  # fmt: skip

    def __init__(
        self,
        listeners: Iterable[Listener],
        epoch: str,
        emit: Callable[[Effect], None],
        name_at: Callable[[Source, Transport], str] = lambda source, transport: "",
        is_trunk: Callable[[Flow], bool] = lambda flow: False,
        backoffs: ConnectionBackoffs | None = None,
    ) -> None:
        self._backoffs = backoffs
        self._name_at = name_at
        self._is_trunk = is_trunk
        self.listeners = tuple(listeners)
        self.epoch = epoch
        self._by_name = {listener.name: listener for listener in self.listeners}
        self._emit = emit
        self._own: set[tuple[str, int | None]] = {
            (plain_host(host), port)
            for listener in self.listeners
            for host in (listener.host, listener.advertise_host)
            for port in (None, listener.port, listener.advertise_port)
        }
        self._hosts = frozenset(host for host, _ in self._own)
        self._open: dict[int, Flow] = {}
        self._at: dict[str, dict[int, Flow]] = {}
        """The same, by the address of the peer."""
        self._outbound: dict[tuple[int, Source], dict[str, Flow]] = {}
        """By listener and peer, and then by the name that the peer has proven: no destination uses another's
        connection."""
        self._names: dict[int, str] = {}
        """The name of each outbound connection, by its serial."""
        self._connecting: dict[int, OpeningConnection] = {}
        """Connections that were asked for and are not open yet, by serial."""
        self._last_closed = (0, "")
        """Serial and name of the outbound connection that has closed last."""
        self._closed_trunks: dict[int, Flow] = {}
        """Connections of trunks that have closed and had a certificate, by serial, the latest last."""
        self._serial = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Flow]:
        """The connections that are open."""
        return iter(tuple(self._open.values()))

    def at(self, host: str) -> tuple[Flow, ...]:
        """The connections that are open to an address."""
        return tuple(self._at.get(host, {}).values())

    def new_serial(self) -> int:
        """A number for a connection; no two have the same."""
        self._serial += 1
        return self._serial

    def opened(self, flow: Flow) -> None:
        """A connection is open, or asked for."""
        self._open[flow.serial] = flow
        self._at.setdefault(flow.peer[0], {})[flow.serial] = flow

    def closed(self, flow: Flow) -> None:
        host = flow.peer[0]
        if self._open.pop(flow.serial, None) is not None:
            del self._at[host][flow.serial]
            if not self._at[host]:
                del self._at[host]
            if flow.names and self._is_trunk(flow):
                self._closed_trunks[flow.serial] = flow
                if len(self._closed_trunks) > limits.CLOSED_TRUNKS:
                    del self._closed_trunks[next(iter(self._closed_trunks))]
        self._connecting.pop(flow.serial, None)
        name = self._names.pop(flow.serial, None)
        if name is not None:
            self._last_closed = (flow.serial, name)
            by_name = self._outbound[flow.listener.id, flow.peer]
            del by_name[name]
            if not by_name:
                del self._outbound[flow.listener.id, flow.peer]

    def listener_to(self, zone: Zone, transport: Transport, host: str, name: str | None = None) -> Listener | None:
        """The listener that sends to ``host`` in ``zone``: the one of that name, or the first that can."""
        six = ":" in host
        for listener in self.listeners:
            if name is not None and listener.name != name:
                continue
            if listener.zone is zone and listener.transport is transport and (":" in listener.host) is six:
                return listener
        return None

    def to(self, listener: Listener, peer: Source, name: str = "", names: tuple[str, ...] = ()) -> Flow:
        """The flow to an address: UDP, or a connection that is open or now asked for.

        Over TLS the peer's certificate must have ``name``. If ``name`` is empty, as for requests inside a dialog, it
        must have the name of the destination at that address, or the address itself. If then only a connection with
        another name is open, that one is used: the peer proved its name when the dialog began. ``names`` are those that
        the new flow is known by.
        """
        if listener.transport is Transport.UDP:
            return Flow(listener, peer)
        by_name = self._outbound.setdefault((listener.id, peer), {})
        wanted = name if listener.transport.secure else ""
        if listener.transport.secure and not name:
            wanted = self._name_at(peer, listener.transport) or peer.host
        flow = by_name.get(wanted)
        if flow is None and not name:
            flow = next(iter(by_name.values()), None)
        if flow is None:
            flow = by_name[wanted] = Flow(listener, peer, self.new_serial(), names)
            self._names[flow.serial] = wanted
            self.opened(flow)
            self._connecting[flow.serial] = OpeningConnection()
            if self._backoffs is not None:
                self._backoffs.began(peer, listener.transport, wanted)
            self._emit(Open(flow, wanted))
        return flow

    # --- connections that are being opened -----------------------------------------------------------------

    def is_crowded(self, flow: Flow, has_account: bool, size: int = 0) -> bool:
        """Whether as many requests wait for a connection as may, before another of ``size`` bytes."""
        opening = self._connecting.get(flow.serial)
        return opening is not None and not opening.has_room(size, has_account)

    def wait_for(self, flow: Flow, waiter: ConnectionWaiter, size: int) -> bool:
        """Let ``waiter``, a request of ``size`` bytes, learn what becomes of a connection; false if that is open, or
        none at all."""
        opening = self._connecting.get(flow.serial)
        if opening is None:
            return False
        opening.add(waiter, size)
        return True

    def give(self, flow: Flow, size: int) -> None:
        """A request of ``size`` bytes is given to the transport, which keeps it while the connection is not open."""
        opening = self._connecting.get(flow.serial)
        if opening is not None:
            opening.give(size)

    def stop_waiting(self, flow: Flow, waiter: ConnectionWaiter) -> None:
        opening = self._connecting.get(flow.serial)
        if opening is not None:
            opening.remove(waiter)

    def connected(self, flow: Flow, now: float) -> tuple[ConnectionWaiter, ...]:
        """A connection that was asked for is open; what has waited for it, in order."""
        opening = self._connecting.pop(flow.serial, None)
        if opening is None:
            return ()  # closed meanwhile
        if self._backoffs is not None:
            self._backoffs.opened(flow.peer, flow.listener.transport, self._names[flow.serial], now)
        return tuple(opening.waiters)

    def connect_failed(
        self, flow: Flow, failure: SendFailure | None, now: float
    ) -> tuple[ConnectionWaiter, ...] | None:
        """A connection closes: what has waited for it, or None if it has been open. :meth:`closed` comes next.

        ``failure`` is why this machine has not even tried to open it; only the lack of a route tells of the address.
        """
        opening = self._connecting.pop(flow.serial, None)
        if opening is None:
            return None
        if self._backoffs is not None:
            key = (flow.peer, flow.listener.transport, self._names[flow.serial])
            if failure is None or failure is SendFailure.NO_ROUTE:
                self._backoffs.failed(*key, now)
            else:
                self._backoffs.not_tried(*key)
        return tuple(opening.waiters)

    def again(self, flow: Flow, size: int, has_account: bool) -> Flow | SendFailure | None:
        """Another connection to the peer of an outbound one, just after that has closed, for a request of ``size``
        bytes; None for any other, and ``CROWDED`` where too many go that way."""
        serial, name = self._last_closed
        if serial != flow.serial:
            return None
        other = self.to(flow.listener, flow.peer, name, flow.names)
        if self.is_crowded(other, has_account, size):
            return SendFailure.CROWDED
        self.give(other, size)
        return other

    # --- connections in the place of others ----------------------------------------------------------------

    def instead(self, closed: Flow, port: int) -> Flow | None:
        """A connection to a trunk, or to a private server, in the place of one that has closed; None for all others.

        ``port`` is where its owner accepts connections. Both must be those of a trunk, so that no message steers the
        edge elsewhere (RFC 3261 section 18.2.2), and nobody else behind the trunk's address has messages sent to it.
        Over TLS a trunk that had a certificate, and is no destination, has to prove a name of it again: one that makes
        it a trunk. Nobody accepts a connection that is to be a WebSocket.
        """
        listener, transport = closed.listener, closed.listener.transport
        if transport is not Transport.TCP and transport is not Transport.TLS:
            return None
        peer = Source(closed.peer[0], port)
        name = ""
        if transport is Transport.TLS and not self._name_at(peer, transport):
            listed = [proven for proven in closed.names if self._is_trunk(Flow(listener, peer, 0, (proven,)))]
            name = next((proven for proven in listed if "*" not in proven), "")
        names = (name,) if name else ()
        if self._is_trunk(closed) and self._is_trunk(Flow(listener, peer, 0, names)):
            return self.to(listener, peer, name, names)
        return None

    def of(self, target: RemoteTarget, again: bool = True) -> Flow | None:
        """The flow that a token names; None where its connection, or its listener, is no more.

        Where ``again``, in the place of a trunk's connection, there is one to the port of its first Route, or else of
        its Contact.
        """
        listener = self._by_name.get(target.listener)
        if listener is None:
            return None
        if target.serial:
            flow = self._open.get(target.serial) if target.epoch == self.epoch else None
            return self._to_next_hop(listener, target) if flow is None and target.uri and again else flow
        return self.to(listener, target.peer)

    def _to_next_hop(self, listener: Listener, target: RemoteTarget) -> Flow | None:
        try:
            uri = parse_name_addr(target.routes[0]).uri if target.routes else parse_uri(target.uri)
        except WireError:
            return None
        closed = self._closed_trunks.get(target.serial) if target.epoch == self.epoch else None
        closed = Flow(listener, target.peer) if closed is None else closed
        return self.instead(closed, uri.port or listener.transport.default_port)

    def is_outbound(self, flow: Flow) -> bool:
        """Whether the edge has opened the connection, or is opening it."""
        return flow.serial in self._names

    def is_open(self, flow: Flow) -> bool:
        """Whether messages can be sent by ``flow``; over UDP they always can."""
        return not flow.serial or flow.serial in self._open

    def is_ours(self, host: str, port: int | None) -> bool:
        """Whether a URI's host and port are those of the edge; without a port, the host alone decides."""
        return (host, port) in self._own or (plain_host(host), port) in self._own

    def is_foreign(self, flow: Flow, uri: Uri) -> bool:
        """Whether a request of the public side names another host than the edge, with any port, in its Request-URI."""
        if flow.listener.zone is Zone.CORE or uri.opaque:
            return False
        return uri.host not in self._hosts and plain_host(uri.host) not in self._hosts
