"""A reader of capture files, pcap and pcapng, that yields frames one by one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NoReturn

from edgesbc.base import limits

__all__ = ["Capture", "CaptureError", "CapturedFrame"]

SECOND = 1_000_000_000

# The first four bytes of a pcap file: byte order, and nanoseconds in a unit of its fractions.
_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
# Block types of pcapng; the first reads the same in both byte orders.
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_RESOLUTION, _OFFSET = 9, 14  # options of an interface: if_tsresol and if_tsoffset
_SKIP = 65_536


class CaptureError(ValueError):
    """A file that is no capture, or is broken; ``packets`` is the number of whole packets before the fault."""

    def __init__(self, message: str, packets: int = 0) -> None:
        super().__init__(message)
        self.packets = packets


class CapturedFrame:
    """One packet as it was captured.

    ``at`` is its time in nanoseconds since 1970; ``link`` the link type (LINKTYPE_ of libpcap); ``length`` its length
    on the wire, of which ``data`` may be a part.
    """

    __slots__ = ("at", "data", "length", "link", "number")

    def __init__(self, number: int, at: int, link: int, data: bytes, length: int) -> None:
        self.number = number
        self.at = at
        self.link = link
        self.data = data
        self.length = length


class _Interface:
    """An interface of a pcapng section; times are counted in ``ticks`` a second from ``offset`` seconds since 1970."""

    __slots__ = ("link", "offset", "snap", "ticks")

    def __init__(self, link: int, snap: int) -> None:
        self.link = link
        self.snap = snap
        self.ticks = 1_000_000
        self.offset = 0


class Capture:
    """The frames of a file, in its order; the file is streamed, never loaded.

    Raises :class:`CaptureError` if the file is no capture, and while iterating at the place where it is broken; the
    frames before that are complete.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        """Frames yielded so far."""
        self.position = 0
        """Bytes read so far."""
        magic = file.read(4)
        self.position = len(magic)
        if magic in _PCAP:
            self._frames = self._pcap(*_PCAP[magic])
        elif magic == struct.pack(">I", _SECTION):
            self._frames = self._pcapng()
        elif not magic:
            raise CaptureError("the file is empty")
        else:
            raise CaptureError(f"expected a pcap or pcapng file, found one that begins with {magic.hex()}")

    def __iter__(self) -> Iterator[CapturedFrame]:
        return self._frames

    # --- reading -----------------------------------------------------------------------------------------

    def _break(self, message: str) -> NoReturn:
        raise CaptureError(f"packet {self.number + 1}: {message}", self.number)

    def _read(self, size: int, part: str) -> bytes:
        data = self._file.read(size)
        self.position += len(data)
        if len(data) < size:
            self._break(f"the file ends inside {part}: expected {size} bytes, found {len(data)}")
        return data

    def _may_end(self, size: int, part: str) -> bytes:
        """As :meth:`_read`, but b"" at the end of the file, which is allowed here."""
        first = self._file.read(1)
        if not first:
            return b""
        self.position += 1
        return first + self._read(size - 1, part)

    def _skip(self, size: int, part: str) -> None:
        while size > 0:
            size -= len(self._read(min(size, _SKIP), part))

    def _next(self, at: int, link: int, data: bytes, length: int) -> CapturedFrame:
        self.number += 1
        return CapturedFrame(self.number, at, link, data, length)

    # --- pcap --------------------------------------------------------------------------------------------

    def _pcap(self, order: str, unit: int) -> Iterator[CapturedFrame]:
        link = struct.unpack(order + "HHiIII", self._read(20, "the header of the file"))[5] & 0xFFFF
        header = struct.Struct(order + "IIII")
        while record := self._may_end(16, "the header of a packet"):
            seconds, fraction, captured, length = header.unpack(record)
            if captured > limits.CAPTURE_PACKET_BYTES:
                self._break(f"expected at most {limits.CAPTURE_PACKET_BYTES} bytes, found a length of {captured}")
            data = self._read(captured, "a packet")
            yield self._next(seconds * SECOND + fraction * unit, link, data, length)

    # --- pcapng ------------------------------------------------------------------------------------------

    def _pcapng(self) -> Iterator[CapturedFrame]:
        order, pending = "<", _SECTION
        interfaces: list[_Interface] = []
        while True:
            if pending == _SECTION:
                order = self._section()
                interfaces = []
            else:
                yield from self._block(order, pending, interfaces)
            kind = self._may_end(4, "the type of a block")
            if not kind:
                return
            pending = struct.unpack(order + "I", kind)[0]

    def _section(self) -> str:
        """Read a section header after its type, and return the byte order of the section."""
        head = self._read(8, "a section header")
        order = _ORDERS.get(head[4:])
        if order is None:
            self._break(f"expected the byte order of a section, found {head[4:].hex()}")
        total = struct.unpack(order + "I", head[:4])[0]
        if total < 28 or total % 4:
            self._break(f"a section header cannot be {total} bytes long")
        self._skip(total - 12, "a section header")
        return order

    def _block(self, order: str, kind: int, interfaces: list[_Interface]) -> Iterator[CapturedFrame]:
        total = struct.unpack(order + "I", self._read(4, "the length of a block"))[0]
        if total < 12 or total % 4:
            self._break(f"a block cannot be {total} bytes long")
        if kind not in (_INTERFACE, _PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            self._skip(total - 8, "a block")
            return
        if total > limits.CAPTURE_BLOCK_BYTES:
            self._break(f"expected a block of at most {limits.CAPTURE_BLOCK_BYTES} bytes, found {total}")
        body = self._read(total - 8, "a block")[:-4]  # the length is repeated at the end of a block
        try:
            if kind != _INTERFACE:
                yield self._packet(order, kind, body, interfaces)
            elif len(interfaces) < limits.CAPTURE_INTERFACES:
                interfaces.append(_parse_interface(order, body))
            else:
                self._break(f"expected at most {limits.CAPTURE_INTERFACES} interfaces in a section")
        except struct.error:
            self._break("a block ends inside one of its fields")

    def _packet(self, order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> CapturedFrame:
        if kind == _SIMPLE_PACKET:  # without a time: the replay takes it as of the time of the packet before it
            number, high, low, start = 0, 0, 0, 4
            length = struct.unpack_from(order + "I", body)[0]
        elif kind == _PACKET:
            number, high, low, captured, length = struct.unpack_from(order + "IIIII", body)
            start = 20
        else:
            number, _, high, low, captured, length = struct.unpack_from(order + "HHIIII", body)
            start = 20
        if number >= len(interfaces):
            self._break(f"is said to be of interface {number}, and {len(interfaces)} are described")
        interface = interfaces[number]
        if kind == _SIMPLE_PACKET:
            captured = min(length, interface.snap or length, len(body) - start)
        if captured > len(body) - start:
            self._break(f"is said to have {captured} bytes, and its block has {len(body) - start}")
        ticks = high << 32 | low
        at = ticks * SECOND // interface.ticks + interface.offset * SECOND
        return self._next(at, interface.link, body[start : start + captured], length)


def _parse_interface(order: str, body: bytes) -> _Interface:
    """An interface from its block. Raises ``struct.error`` if that is too short."""
    link, _, snap = struct.unpack_from(order + "HHI", body)
    interface = _Interface(link, snap)
    at = 8
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + size]
        if code == 0:
            break
        if code == _RESOLUTION and value:
            exponent = min(value[0] & 0x7F, 63)
            interface.ticks = 2**exponent if value[0] & 0x80 else 10 ** min(exponent, 18)
        elif code == _OFFSET:
            interface.offset = struct.unpack(order + "q", value)[0]
        at += 4 + size + -size % 4
    return interface
