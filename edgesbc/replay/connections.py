"""The TCP connections of a capture as flows of the core: accepted, reassembled, framed and closed."""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.errors import WireError
from edgesbc.replay.packets import NotReadable, Packet
from edgesbc.replay.streams import MissingSegment, TcpStream
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect
from edgesbc.sip.framing import StreamFramer

__all__ = ["Connections"]

_Ends = tuple[Source, Source]


class _Connection:
    __slots__ = ("flow", "framer", "stream")

    def __init__(self, flow: Flow, stream: TcpStream) -> None:
        self.flow = flow
        self.stream = stream
        self.framer = StreamFramer()


class Connections:
    """The captured connections to listeners, at most ``limits.REPLAY_STREAMS``: a new one replaces the one that has
    been idle longest.

    ``receive`` is called with each message, ``broken`` with the flow of a stream that cannot be framed, ``carry_out``
    with the effects of opening and closing.
    """

    __slots__ = ("_broken", "_by_ends", "_by_serial", "_carry_out", "_edge", "_receive", "_refused", "opened")

    def __init__(
        self,
        edge: Edge,
        receive: Callable[[Flow, bytes, float], None],
        broken: Callable[[Flow], None],
        carry_out: Callable[[list[Effect], float], None],
    ) -> None:
        self._edge = edge
        self._receive = receive
        self._broken = broken
        self._carry_out = carry_out
        self._by_ends: dict[_Ends, _Connection] = {}
        self._by_serial: dict[int, _Ends] = {}
        self._refused: dict[_Ends, str] = {}
        self.opened = 0

    def __len__(self) -> int:
        return len(self._by_ends)

    @property
    def waiting(self) -> int:
        """The number of segments kept after a missing one."""
        return sum(connection.stream.waiting for connection in self._by_ends.values())

    def take(self, listener: Listener, packet: Packet, now: float) -> None:
        """Take a segment to ``listener``. Raises :class:`NotReadable` if its bytes cannot be used."""
        ends = (packet.source, packet.destination)
        connection = self._by_ends.get(ends)
        if packet.reset:
            self._refused.pop(ends, None)
            if connection is not None:
                self._close(ends, now)
            return
        sequence = packet.sequence
        if packet.syn:
            sequence += 1
            if connection is None or connection.stream.next != sequence % (1 << 32):
                connection = self._open(listener, ends, sequence, now)
        elif connection is None and packet.payload:
            self._check_beginning(ends, packet.payload)
            connection = self._open(listener, ends, sequence, now)
        if connection is None:
            if packet.payload:
                raise NotReadable(self._refused[ends])
            return
        self._by_ends[ends] = self._by_ends.pop(ends)  # the order of the table is that of idleness
        if packet.fin:
            connection.stream.finish(sequence + len(packet.payload))
        self._take_bytes(ends, connection, sequence, packet.payload, now)

    def _check_beginning(self, ends: _Ends, payload: bytes) -> None:
        """Raise :class:`NotReadable` unless a message begins at this segment, so that the stream can be joined here."""
        if ends in self._refused:
            raise NotReadable(self._refused[ends])
        if not payload[:3].isalpha() or (b" SIP/2.0\r\n" not in payload and not payload.startswith(b"SIP/2.0 ")):
            raise NotReadable("in the middle of a TCP connection that began before the capture")

    def _take_bytes(self, ends: _Ends, connection: _Connection, sequence: int, payload: bytes, now: float) -> None:
        flow = connection.flow
        try:
            data = connection.stream.add(sequence, payload) if payload else b""
            messages = connection.framer.receive(data) if data else []
        except MissingSegment:
            self._refuse(ends, "on a TCP connection with a hole in it", now)
            return
        except WireError as error:
            self._broken(flow)
            self._carry_out(self._edge.stream_broken(flow, connection.framer.broken, error, now), now)
            self._refuse(ends, "on a TCP connection that the edge would have closed", now)
            return
        for message in messages:
            if flow.serial not in self._by_serial:
                break
            self._receive(flow, message, now)
        if connection.stream.ended and flow.serial in self._by_serial:
            self._refuse(ends, "after the end of their TCP connection", now)

    def _open(self, listener: Listener, ends: _Ends, sequence: int, now: float) -> _Connection | None:
        if ends in self._by_ends:
            self._close(ends, now)
        self._refused.pop(ends, None)
        if not self._edge.accept(listener, ends[0], now):
            self._remember(ends, "on a TCP connection that the edge would not have accepted")
            return None
        if len(self._by_ends) >= limits.REPLAY_STREAMS:
            self._close(next(iter(self._by_ends)), now)
        flow = self._edge.new_flow(listener, ends[0])
        self._edge.flow_opened(flow)
        self.opened += 1
        connection = self._by_ends[ends] = _Connection(flow, TcpStream(sequence))
        self._by_serial[flow.serial] = ends
        return connection

    def closed_by_edge(self, flow: Flow, now: float) -> None:
        """The signalling core closes a connection."""
        ends = self._by_serial.get(flow.serial)
        if ends is not None:
            self._refuse(ends, "on a TCP connection that the edge would have closed", now)

    def _refuse(self, ends: _Ends, why: str, now: float) -> None:
        self._close(ends, now)
        self._remember(ends, why)

    def _remember(self, ends: _Ends, why: str) -> None:
        if len(self._refused) >= limits.REPLAY_STREAMS:
            del self._refused[next(iter(self._refused))]
        self._refused[ends] = why

    def _close(self, ends: _Ends, now: float) -> None:
        flow = self._by_ends.pop(ends).flow
        del self._by_serial[flow.serial]
        self._carry_out(self._edge.flow_closed(flow, now), now)
