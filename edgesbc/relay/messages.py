"""Messages of the link between media control and a relay, as bytes. Without I/O.

Commands go to the relay, many in one datagram, in the order in which they are to be carried out; the sockets that a
datagram carries belong to its :meth:`~CommandReceiver.open_channel` commands, one each. Events come back. Both ends are
of one version, since media control starts the relay.
"""

from __future__ import annotations

import struct
from typing import Final, Protocol

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.latch import MediaTarget

__all__ = [
    "CommandReceiver", "CommandWriter", "EventReceiver", "RelayMessageError", "fault_event", "latched_event",
    "read_commands", "read_events", "reports_event",
]  # fmt: skip

_OPEN: Final = 1
_TARGET: Final = 2
_PEER: Final = 3
_JOIN: Final = 4
_CLOSE: Final = 5
_PING: Final = 6
_REOPEN: Final = 7
_LATCHED: Final = 64
_FAULT: Final = 65
_REPORTS: Final = 66

_IS_RTCP: Final = 1
_IPV6: Final = 2
_RESTORED: Final = 4
_LIMITED: Final = 1
_SIGNALLED: Final = 2
_SEND_TO: Final = 4
_UDPTL: Final = 8
_SYMMETRIC_OFF: Final = 16
_ROAMING: Final = 32
_OPAQUE: Final = 64
_MODE_FLAGS: Final = {LatchMode.STRICT: 0, LatchMode.SYMMETRIC_OFF: _SYMMETRIC_OFF, LatchMode.ROAMING: _ROAMING}
_MODES: Final = {flags: mode for mode, flags in _MODE_FLAGS.items()}

_KIND_AND_NUMBER: Final = struct.Struct("!BI")
_WITH_FLAGS: Final = struct.Struct("!BIB")
_TWO_NUMBERS: Final = struct.Struct("!BII")  # also a number and a generation
_TARGET_HEAD: Final = struct.Struct("!BIIBB")
_PEER_HEAD: Final = struct.Struct("!BIIB")
_VALUE: Final = struct.Struct("!BQ")
_REPORTS_HEAD: Final = struct.Struct("!BIdH")
_HOST_HEAD: Final = struct.Struct("!HB")


class RelayMessageError(Exception):
    """A datagram of the link that cannot be read: a fault of this program."""


class CommandReceiver(Protocol):
    """What carries out commands."""

    def open_channel(self, number: int, is_rtcp: bool, ipv6: bool, restored: bool) -> None:
        """Serve the next socket of the datagram as channel ``number``. With ``restored``, another relay had it."""

    def set_target(self, number: int, generation: int, target: MediaTarget) -> None:
        """What signalling says about the peer; ``generation`` returns in the event that it is learned."""

    def restore_peer(self, number: int, generation: int, peer: Source, firm: bool) -> None:
        """The peer that another relay had learned."""

    def reopen(self, number: int, generation: int) -> None:
        """The description of the peer was repeated: learn it again."""

    def join(self, number: int, other: int) -> None:
        """Relay between two channels, both ways."""

    def close_channel(self, number: int) -> None:
        """Close a channel and its socket."""

    def ping(self, value: int) -> None:
        """Write ``value`` to the counters."""


class EventReceiver(Protocol):
    """What gets events."""

    def latched(self, number: int, generation: int, peer: Source, firm: bool) -> None:
        """The channel has learned its peer, or another port of it (see :class:`edgesbc.media.latch.Latch`)."""

    def reports(self, number: int, received: float, data: bytes) -> None:
        """A copy of an RTCP packet from the channel's peer, which was received at ``received``: seconds on the relay's
        clock, which is no other's."""

    def fault(self, text: str) -> None:
        """An internal error has cost a packet."""


@attrs.frozen
class CommandBatch:
    """Commands for one datagram. ``opens`` is how many sockets go with it."""

    data: bytes
    opens: int


class CommandWriter:
    """Collects commands; :meth:`take` gives them in datagrams that the link can carry."""

    __slots__ = ("_batches", "_data", "_opens")

    def __init__(self) -> None:
        self._data = bytearray()
        self._opens = 0
        self._batches: list[CommandBatch] = []

    def take(self) -> list[CommandBatch]:
        """All commands so far, in order."""
        self._end_batch()
        batches, self._batches = self._batches, []
        return batches

    def open_channel(self, number: int, is_rtcp: bool, ipv6: bool, restored: bool = False) -> None:
        """See :meth:`CommandReceiver.open_channel`, as all methods below."""
        if self._opens >= limits.RELAY_BATCH_SOCKETS:
            self._end_batch()
        flags = (_IS_RTCP if is_rtcp else 0) | (_IPV6 if ipv6 else 0) | (_RESTORED if restored else 0)
        self._opens += 1
        self._add(_WITH_FLAGS.pack(_OPEN, number, flags))

    def set_target(self, number: int, generation: int, target: MediaTarget) -> None:
        signalled, send_to = target.signalled, target.send_to
        flags = (_LIMITED if target.limited else 0) | (_UDPTL if target.udptl else 0)
        flags |= _MODE_FLAGS[target.latch] | (_OPAQUE if target.opaque else 0)
        hosts = b""
        if signalled is not None:
            flags |= _SIGNALLED
            hosts += _source(signalled)
        if send_to is not None:
            flags |= _SEND_TO
            hosts += _source(send_to)
        for host in target.learn_from:
            hosts += _source(Source(host, 0))
        self._add(_TARGET_HEAD.pack(_TARGET, number, generation, flags, len(target.learn_from)) + hosts)

    def restore_peer(self, number: int, generation: int, peer: Source, firm: bool) -> None:
        self._add(_PEER_HEAD.pack(_PEER, number, generation, firm) + _source(peer))

    def reopen(self, number: int, generation: int) -> None:
        self._add(_TWO_NUMBERS.pack(_REOPEN, number, generation))

    def join(self, number: int, other: int) -> None:
        self._add(_TWO_NUMBERS.pack(_JOIN, number, other))

    def close_channel(self, number: int) -> None:
        self._add(_KIND_AND_NUMBER.pack(_CLOSE, number))

    def ping(self, value: int) -> None:
        self._add(_VALUE.pack(_PING, value))

    def _add(self, command: bytes) -> None:
        self._data += command
        if len(self._data) >= limits.RELAY_BATCH_BYTES:
            self._end_batch()

    def _end_batch(self) -> None:
        if self._data:
            self._batches.append(CommandBatch(bytes(self._data), self._opens))
            self._data.clear()
            self._opens = 0


def read_commands(data: bytes, receiver: CommandReceiver) -> None:
    """Have ``receiver`` carry out the commands of a datagram. Raises :class:`RelayMessageError`."""
    at = 0
    try:
        while at < len(data):
            kind = data[at]
            if kind == _OPEN:
                _, number, flags = _WITH_FLAGS.unpack_from(data, at)
                at += _WITH_FLAGS.size
                receiver.open_channel(number, bool(flags & _IS_RTCP), bool(flags & _IPV6), bool(flags & _RESTORED))
            elif kind == _TARGET:
                at = _read_target(data, at, receiver)
            elif kind == _PEER:
                _, number, generation, firm = _PEER_HEAD.unpack_from(data, at)
                peer, at = _read_source(data, at + _PEER_HEAD.size)
                receiver.restore_peer(number, generation, peer, bool(firm))
            elif kind == _JOIN:
                _, number, other = _TWO_NUMBERS.unpack_from(data, at)
                at += _TWO_NUMBERS.size
                receiver.join(number, other)
            elif kind == _REOPEN:
                _, number, generation = _TWO_NUMBERS.unpack_from(data, at)
                at += _TWO_NUMBERS.size
                receiver.reopen(number, generation)
            elif kind == _CLOSE:
                _, number = _KIND_AND_NUMBER.unpack_from(data, at)
                at += _KIND_AND_NUMBER.size
                receiver.close_channel(number)
            elif kind == _PING:
                _, value = _VALUE.unpack_from(data, at)
                at += _VALUE.size
                receiver.ping(value)
            else:
                raise RelayMessageError(f"an unknown command {kind}")
    except (struct.error, UnicodeDecodeError) as error:
        raise RelayMessageError(f"a command that is cut off: {error}") from None


def _read_target(data: bytes, at: int, receiver: CommandReceiver) -> int:
    _, number, generation, flags, hosts = _TARGET_HEAD.unpack_from(data, at)
    at += _TARGET_HEAD.size
    signalled = send_to = None
    if flags & _SIGNALLED:
        signalled, at = _read_source(data, at)
    if flags & _SEND_TO:
        send_to, at = _read_source(data, at)
    learn_from = []
    for _ in range(hosts):
        source, at = _read_source(data, at)
        learn_from.append(source.host)
    mode = _MODES.get(flags & (_SYMMETRIC_OFF | _ROAMING))
    if mode is None:
        raise RelayMessageError("a target of two modes")
    udptl, opaque, limited = bool(flags & _UDPTL), bool(flags & _OPAQUE), bool(flags & _LIMITED)
    target = MediaTarget(signalled, send_to, frozenset(learn_from), udptl, mode, opaque, limited)
    receiver.set_target(number, generation, target)
    return at


def latched_event(number: int, generation: int, peer: Source, firm: bool) -> bytes:
    """See :meth:`EventReceiver.latched`."""
    return _PEER_HEAD.pack(_LATCHED, number, generation, firm) + _source(peer)


def reports_event(number: int, received: float, data: bytes) -> bytes:
    """See :meth:`EventReceiver.reports`."""
    return _REPORTS_HEAD.pack(_REPORTS, number, received, len(data)) + data


def fault_event(text: str) -> bytes:
    """See :meth:`EventReceiver.fault`; the text is cut at ``limits.RELAY_FAULT_BYTES``."""
    encoded = text.encode("utf-8", "replace")[: limits.RELAY_FAULT_BYTES]
    return _KIND_AND_NUMBER.pack(_FAULT, len(encoded)) + encoded


def read_events(data: bytes, receiver: EventReceiver) -> None:
    """Give the events of a datagram to ``receiver``. Raises :class:`RelayMessageError`."""
    at = 0
    try:
        while at < len(data):
            kind = data[at]
            if kind == _LATCHED:
                _, number, generation, firm = _PEER_HEAD.unpack_from(data, at)
                peer, at = _read_source(data, at + _PEER_HEAD.size)
                receiver.latched(number, generation, peer, bool(firm))
            elif kind == _REPORTS:
                _, number, received, size = _REPORTS_HEAD.unpack_from(data, at)
                at += _REPORTS_HEAD.size
                receiver.reports(number, received, data[at : at + size])
                at += size
            elif kind == _FAULT:
                _, size = _KIND_AND_NUMBER.unpack_from(data, at)
                at += _KIND_AND_NUMBER.size
                receiver.fault(data[at : at + size].decode("utf-8", "replace"))
                at += size
            else:
                raise RelayMessageError(f"an unknown event {kind}")
    except (struct.error, UnicodeDecodeError) as error:
        raise RelayMessageError(f"an event that is cut off: {error}") from None


def _source(source: Source) -> bytes:
    host = source.host.encode("ascii")
    return _HOST_HEAD.pack(source.port, len(host)) + host


def _read_source(data: bytes, at: int) -> tuple[Source, int]:
    port, size = _HOST_HEAD.unpack_from(data, at)
    first = at + _HOST_HEAD.size
    end = first + size
    if end > len(data):
        raise RelayMessageError("an address that is cut off")
    return Source(data[first:end].decode("ascii"), port), end
