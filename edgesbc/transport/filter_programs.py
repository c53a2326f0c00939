"""The BPF programs of kernel filters: one drops packets of listed sources, one steers them to a socket of their own.

``kernel_filters`` attaches them. A filter of a UDP socket gets the packet from the UDP header on; the program of a
SO_REUSEPORT group gets it from the end of the UDP or TCP header on. Both read the IP header through SKF_NET_OFF. A
filter returns how many bytes to keep, and 0 drops the packet; the program of a group returns the number
of the socket, in the order in which they were bound.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import islice

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.transport.bpf import (
    JUMP_EQUAL,
    JUMP_GREATER,
    JUMP_NOT_LESS,
    RETURN,
    Assembly,
    Instruction,
    Label,
    Program,
)

__all__ = [
    "TRUSTED",
    "UNTRUSTED",
    "Instruction",
    "Listed",
    "Program",
    "device_filter",
    "drop_filter",
    "steering_program",
]

SKF_NET_OFF = 0xFFF00000
"""-0x100000 as an unsigned word: offsets relative to it are relative to the IP header."""

SKF_AD_IFINDEX = 0xFFFFF008
"""-0x1000 + 8 as an unsigned word: what is loaded from there is the index of the device that the packet came by."""

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
LOAD_HALF_AFTER = 0x48  # BPF_LD | BPF_H | BPF_IND: at the index register and the operand
INDEX_HEADER_LENGTH = 0xB1  # BPF_LDX | BPF_B | BPF_MSH: four times the low half of the byte
SHIFT_RIGHT = 0x74  # BPF_ALU | BPF_RSH | BPF_K

TCP, UDP = 6, 17
"""IP protocol numbers."""

LEAF = 16
"""Number of keys that are compared one after the other: cheaper than a further step of binary search."""

SAMPLE = 256
"""Number of entries from which the number of instructions per entry is estimated."""

KEEP = Instruction(RETURN, 0, 0, 0xFFFF)
KEEP_ALL = Instruction(RETURN, 0, 0, 0xFFFFFFFF)
"""Of TCP as well, whose segments the kernel may have merged to more than 64 KiB."""
DROP = Instruction(RETURN, 0, 0, 0)
TRUSTED = Instruction(RETURN, 0, 0, 0)
UNTRUSTED = Instruction(RETURN, 0, 0, 1)

Listed = Source | ipaddress.IPv4Network | ipaddress.IPv6Network
"""A prefix, or an address with one port, or with port 0 for all ports."""

_Range = tuple[int, int, int, int]
"""IP version, first and last address as numbers, and a port or 0."""


def drop_filter(listed: Iterable[Listed], limit: int = limits.FILTER_INSTRUCTIONS) -> tuple[Program, int]:
    """A program that drops packets from ``listed`` and keeps the rest, and the number of sources that it covers.

    Sources that do not fit into ``limit`` instructions are left out from the end; names and malformed addresses are
    left out too. A program that would drop nothing is empty.
    """
    program, covered = _largest(listed, _filter_of, limit)
    return (program, covered) if covered else ((), 0)


def device_filter(indexes: Iterable[int]) -> Program:
    """A program that drops packets that came by one of these devices and keeps the rest."""
    refused = sorted(indexes)
    tests = [Instruction(JUMP_EQUAL, len(refused) - number, 0, index) for number, index in enumerate(refused)]
    return (Instruction(LOAD_WORD, 0, 0, SKF_AD_IFINDEX), *tests, KEEP_ALL, DROP)


def steering_program(listed: Iterable[Listed], limit: int = limits.FILTER_INSTRUCTIONS) -> tuple[Program, int]:
    """A program that steers packets from ``listed`` to the socket that was bound first and the rest to the
    second, and the number of sources that it covers.

    Sources that do not fit into ``limit`` instructions are left out from the end, so their packets go to the second
    socket, as do IPv6 packets with extension headers, behind which ports are not searched for.
    """
    return _largest(listed, _steering_of, limit)


def _largest(listed: Iterable[Listed], assemble: Callable[[list[_Range]], Assembly], limit: int) -> tuple[Program, int]:
    """The program of as many sources as fit, the first ones."""
    ranges = [source_range for source_range in map(_range, islice(listed, limit)) if source_range is not None]
    covered = len(ranges)
    if covered > SAMPLE:  # assembling takes milliseconds, so a far too long program is not assembled
        covered = min(covered, SAMPLE * limit // len(assemble(ranges[:SAMPLE])))
    while True:
        assembly = assemble(ranges[:covered])
        if len(assembly) <= limit:
            return assembly.program, covered
        covered = covered * limit // len(assembly) - 1 - covered // 128


def _range(listed: Listed) -> _Range | None:
    """The addresses and port of a source. An IPv4-mapped IPv6 address is IPv4, as in the packet."""
    if not isinstance(listed, Source):
        return listed.version, int(listed.network_address), int(listed.broadcast_address), 0
    try:
        address = ipaddress.ip_address(listed.host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address), int(address), listed.port


# --- the two programs --------------------------------------------------------------------------------------


def _filter_of(ranges: list[_Range]) -> Assembly:
    search = _BinarySearch(DROP, KEEP, {4: (LOAD_HALF, 0), 6: (LOAD_HALF, 0)})
    six, four = search.addresses(ranges, 6), search.addresses(ranges, 4)
    return search.by_version(four, six)


def _steering_of(ranges: list[_Range]) -> Assembly:
    search = _BinarySearch(TRUSTED, UNTRUSTED, {4: (LOAD_HALF_AFTER, SKF_NET_OFF), 6: (LOAD_HALF, SKF_NET_OFF + 40)})
    assembly, miss = search.assembly, search.miss
    six = search.addresses(ranges, 6)
    if six != miss:
        other = assembly.test(JUMP_EQUAL, TCP, six, miss)
        assembly.test(JUMP_EQUAL, UDP, six, other)
        six = assembly.put(LOAD_BYTE, SKF_NET_OFF + 6)  # next header (RFC 8200 section 3)
    four = search.addresses(ranges, 4)
    if four != miss:
        four = assembly.put(INDEX_HEADER_LENGTH, SKF_NET_OFF)  # with options (RFC 791 section 3.1)
    return search.by_version(four, six)


class _BinarySearch:
    """Assembles searches of addresses and ports, which end with ``hit`` or ``miss``.

    ``ports`` has the instruction that loads the source port, by IP version.
    """

    __slots__ = ("_hit", "_ports", "assembly", "miss")

    def __init__(self, hit: Instruction, miss: Instruction, ports: dict[int, tuple[int, int]]) -> None:
        self.assembly = Assembly()
        self.miss = self.assembly.put(miss.code, miss.k)
        self._hit = self.assembly.put(hit.code, hit.k)
        self._ports = ports

    def by_version(self, four: Label, six: Label) -> Assembly:
        """The whole program: it continues at ``four`` or ``six`` by the version in the IP header."""
        assembly = self.assembly
        other = assembly.test(JUMP_EQUAL, 6, six, self.miss)
        assembly.test(JUMP_EQUAL, 4, four, other)
        assembly.put(SHIFT_RIGHT, 4)
        assembly.put(LOAD_BYTE, SKF_NET_OFF)
        return assembly

    def addresses(self, ranges: list[_Range], version: int) -> Label:
        """Search the source address among those of ``version``."""
        root = _Words()
        for of_version, low, high, port in ranges:
            if of_version == version:
                root.add(low, high, port, 32 if version == 4 else 128)
        return self._words(root, version, 12 if version == 4 else 8)

    def _words(self, words: _Words, version: int, offset: int) -> Label:
        """Compare the word at ``offset`` of the IP header, or the port after the last word of the source address."""
        keys = words.keys()
        if not keys:
            return self.miss
        self._search(keys, version, offset + 4)
        if offset == (16 if version == 4 else 24):
            return self.assembly.put(*self._ports[version])
        return self.assembly.put(LOAD_WORD, SKF_NET_OFF + offset)

    def _search(self, keys: list[_Key], version: int, offset: int) -> Label:
        """Continue at the entry of the key that contains the accumulator: by binary search, then one by one."""
        test = self.assembly.test
        if len(keys) > LEAF:
            middle = len(keys) // 2
            high = self._search(keys[middle:], version, offset)
            low = self._search(keys[:middle], version, offset)
            return test(JUMP_NOT_LESS, keys[middle][0], high, low)
        targets = [self._hit if below is None else self._words(below, version, offset) for _, _, below in keys]
        following = self.miss
        for (first, last, _), target in zip(reversed(keys), reversed(targets), strict=True):
            if first == last:
                following = test(JUMP_EQUAL, first, target, following)
            else:
                from_first = test(JUMP_GREATER, last, following, target)
                following = test(JUMP_NOT_LESS, first, from_first, following)
        return following


class _Words:
    """The sources that begin with certain words of an address: ranges of the next word that are listed entirely, and
    words that are listed in part. After the last word of an address, the next word is the port."""

    __slots__ = ("_below", "_whole")

    def __init__(self) -> None:
        self._whole: list[tuple[int, int]] = []
        self._below: dict[int, _Words] = {}

    def add(self, low: int, high: int, port: int, bits: int) -> None:
        """Add the addresses from ``low`` to ``high``, of ``bits`` bits, with ``port``, or with any port if that is
        0."""
        node = self
        for shift in range(bits - 32, -1, -32):
            first, last, rest = low >> shift & 0xFFFFFFFF, high >> shift & 0xFFFFFFFF, (1 << shift) - 1
            if first != last or (not port and not low & rest and high & rest == rest):
                node._whole.append((first, last))
                return
            node = node._below.setdefault(first, _Words())
        node._whole.append((port, port))

    def keys(self) -> list[_Key]:
        """The keys, sorted and without overlaps."""
        whole: list[_Key] = []
        for first, last in sorted(self._whole):
            if whole and first <= whole[-1][1] + 1:
                whole[-1] = (whole[-1][0], max(last, whole[-1][1]), None)
            else:
                whole.append((first, last, None))
        starts = [key[0] for key in whole]
        keys = list(whole)
        for word, below in self._below.items():
            at = bisect_right(starts, word) - 1
            if at < 0 or whole[at][1] < word:
                keys.append((word, word, below))
        return sorted(keys, key=lambda key: key[0])


_Key = tuple[int, int, _Words | None]
"""First and last word of a range, and the sources under it; None if all of the range is listed."""
