"""Classic BPF programs as values (Linux Documentation/networking/filter.rst). Attaches nothing: see ``attach``.

The filter of a UDP socket sees the packet from the UDP header on; the IP header before it is reached
through SKF_NET_OFF. A program returns how many bytes to keep: 0 drops the packet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from edgesbc.base import limits
from edgesbc.base.address import Source

__all__ = ["Instruction", "Program", "drop_filter"]

SKF_NET_OFF = 0xFFF00000
"""-0x100000 as an unsigned word: offsets from here on count from the IP header."""

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
LOAD_HALF = 0x28  # BPF_LD | BPF_H | BPF_ABS
LOAD_BYTE = 0x30  # BPF_LD | BPF_B | BPF_ABS
JUMP = 0x05  # BPF_JMP | BPF_JA
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_NOT_LESS = 0x35  # BPF_JMP | BPF_JGE | BPF_K
SHIFT_RIGHT = 0x74  # BPF_ALU | BPF_RSH | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

LEAF = 16
"""Keys that are compared one after the other: cheaper than going on to halve."""
FARTHEST = 255
"""Longest conditional jump: its offset is one byte."""


class Instruction(NamedTuple):
    """``struct sock_filter``: operation, instructions to skip if true and if false, operand."""

    code: int
    true: int
    false: int
    k: int


Program = tuple[Instruction, ...]
_Block = list[Instruction]

KEEP = Instruction(RETURN, 0, 0, 0xFFFF)
DROP = Instruction(RETURN, 0, 0, 0)


def drop_filter(sources: Iterable[Source]) -> tuple[Program, int]:
    """A program that drops what comes from ``sources`` and keeps the rest, and how many of them it holds.

    A source with port 0 stands for every port of its address. What does not fit the kernel's 4,096
    instructions is left out from the end; names and malformed addresses are left out too. A program that
    would drop nothing is empty.
    """
    numbers = [number for number in map(_number, sources) if number is not None]
    covered = len(numbers)
    while True:
        program = _build(numbers[:covered])
        if len(program) <= limits.FILTER_INSTRUCTIONS:
            return tuple(program), covered
        covered = min(covered - 1, covered * limits.FILTER_INSTRUCTIONS // len(program))


def _number(source: Source) -> tuple[int, int, int] | None:
    """IP version, address as a number, port; an IPv4 address inside IPv6 is what the packet says: IPv4."""
    try:
        address = ipaddress.ip_address(source.host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address), source.port


def _build(numbers: list[tuple[int, int, int]]) -> _Block:
    if not numbers:
        return []
    ports: dict[int, dict[int, set[int]]] = {4: {}, 6: {}}
    for version, address, port in numbers:
        ports[version].setdefault(address, set()).add(port)
    four = _match(12, 1, _by_words(ports[4], 1))
    six = _match(8, 4, _by_words(ports[6], 4))
    return [
        Instruction(LOAD_BYTE, 0, 0, SKF_NET_OFF),
        Instruction(SHIFT_RIGHT, 0, 0, 4),
        Instruction(JUMP_EQUAL, 1, 0, 4),
        *_skip(len(four)),
        *four,
        Instruction(JUMP_EQUAL, 1, 0, 6),
        KEEP,
        *six,
    ]


_Tree = dict[int, "_Tree"] | set[int]
"""Words of an address, from the first, down to the ports."""


def _by_words(ports: dict[int, set[int]], words: int) -> _Tree:
    tree: dict[int, _Tree] = {}
    for address, of_address in ports.items():
        node = tree
        for shift in range(32 * (words - 1), 0, -32):
            below = node.setdefault(address >> shift & 0xFFFFFFFF, {})
            assert isinstance(below, dict)  # noqa: S101 - only the last word leads to ports
            node = below
        node[address & 0xFFFFFFFF] = of_address
    return tree


def _match(offset: int, words: int, tree: _Tree) -> _Block:
    """A block that returns: DROP where the word at ``offset`` of the IP header, and those after it, match."""
    if isinstance(tree, set):
        if 0 in tree:
            return [DROP]
        return [Instruction(LOAD_HALF, 0, 0, 0), *_search([(port, [DROP]) for port in sorted(tree)])]
    keys = [(word, _match(offset + 4, words - 1, tree[word])) for word in sorted(tree)]
    if not keys:
        return [KEEP]
    return [Instruction(LOAD_WORD, 0, 0, SKF_NET_OFF + offset), *_search(keys)]


def _search(keys: list[tuple[int, _Block]]) -> _Block:
    """Go to the block of the key that equals the accumulator, or KEEP: halving, then one by one."""
    if len(keys) > LEAF:
        middle = len(keys) // 2
        low, high = _search(keys[:middle]), _search(keys[middle:])
        pivot = keys[middle][0]
        if len(low) <= FARTHEST:
            return [Instruction(JUMP_NOT_LESS, len(low), 0, pivot), *low, *high]
        return [Instruction(JUMP_NOT_LESS, 0, 1, pivot), *_skip(len(low)), *low, *high]
    plain = [key for key, block in keys if block == [DROP]]
    found: _Block = []
    for key, block in keys:
        if block == [DROP]:
            continue
        if len(block) <= FARTHEST:
            found += [Instruction(JUMP_EQUAL, 0, len(block), key), *block]
        else:
            found += [Instruction(JUMP_EQUAL, 1, 0, key), *_skip(len(block)), *block]
    for index, key in enumerate(plain):
        found.append(Instruction(JUMP_EQUAL, len(plain) - index, 0, key))
    return [*found, KEEP, DROP] if plain else [*found, KEEP]


def _skip(count: int) -> _Block:
    return [Instruction(JUMP, 0, 0, count)]
