"""An assembler of eBPF programs (RFC 9669). Without I/O.

Instructions are put one after the other. A jump names a label, which may stand before or after it; the distance is
filled in at the end.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["BYTE", "DOUBLE", "HALF", "WORD", "EbpfAssembler", "EbpfInstruction", "encode"]

WORD: Final = 0x00  # BPF_W: 32 bits
HALF: Final = 0x08  # BPF_H: 16 bits
BYTE: Final = 0x10  # BPF_B
DOUBLE: Final = 0x18  # BPF_DW: 64 bits
"""The sizes of what is loaded and stored (RFC 9669 section 5)."""

_LOAD_IMMEDIATE: Final = 0x18  # BPF_LD | BPF_IMM | BPF_DW: two instructions
_LOAD: Final = 0x61  # BPF_LDX | BPF_MEM
_STORE: Final = 0x63  # BPF_STX | BPF_MEM
_STORE_IMMEDIATE: Final = 0x62  # BPF_ST | BPF_MEM
_ATOMIC: Final = 0xC3  # BPF_STX | BPF_ATOMIC
_ALU: Final = 0x04
_JUMP: Final = 0x05
_ALU64: Final = 0x07
_REGISTER: Final = 0x08  # BPF_X: the second operand is a register
_CALL: Final = 0x85
_EXIT: Final = 0x95
_BYTE_ORDER: Final = 0xD4  # BPF_ALU | BPF_END
_TO_BIG_ENDIAN: Final = 0x08

_OPERATIONS: Final = {
    "add": 0x00, "sub": 0x10, "or": 0x40, "and": 0x50, "lsh": 0x60, "rsh": 0x70, "xor": 0xA0, "mov": 0xB0,
}  # fmt: skip
"""RFC 9669 section 4.1."""
_CONDITIONS: Final = {"==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "<": 0xA0, "<=": 0xB0}
"""RFC 9669 section 4.3; ``>`` and the like are without sign, ``&`` is true if a bit is in both operands."""

_INSTRUCTION: Final = struct.Struct("=BBhi")


class EbpfInstruction(NamedTuple):
    """``struct bpf_insn``: operation code, destination and source register, offset, immediate value."""

    code: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0


def encode(program: Sequence[EbpfInstruction]) -> bytes:
    """The bytes of a program, in the byte order of this machine."""
    little = sys.byteorder == "little"
    return b"".join(
        _INSTRUCTION.pack(
            code,
            source << 4 | destination if little else destination << 4 | source,
            offset,
            (immediate & 0xFFFF_FFFF) - ((immediate & 0x8000_0000) << 1),
        )
        for code, destination, source, offset, immediate in program
    )


class EbpfAssembler:
    """Collects the instructions of one program. Registers are numbers: 0 to 10, of which 10 is the frame pointer."""

    def __init__(self) -> None:
        self._instructions: list[EbpfInstruction] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._instructions)

    def label(self, name: str) -> None:
        """The next instruction is where jumps to ``name`` go. Raises :class:`ValueError` for a name that was used."""
        if name in self._labels:
            raise ValueError(f"the label {name!r} is there already")
        self._labels[name] = len(self._instructions)

    def load(self, size: int, destination: int, base: int, offset: int) -> None:
        """``destination = *(base + offset)``."""
        self._put(_LOAD | size, destination, base, offset)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        """``*(base + offset) = source``."""
        self._put(_STORE | size, base, source, offset)

    def store_value(self, size: int, base: int, offset: int, value: int) -> None:
        """``*(base + offset) = value``."""
        self._put(_STORE_IMMEDIATE | size, base, 0, offset, value)

    def atomic_add(self, base: int, offset: int, source: int) -> None:
        """``*(base + offset) += source`` of 64 bits, which no other processor divides (RFC 9669 section 5.3)."""
        self._put(_ATOMIC | DOUBLE, base, source, offset, _OPERATIONS["add"])

    def compute(self, operation: str, destination: int, value: int) -> None:
        """``destination = destination OPERATION value``, of 64 bits; ``mov`` takes the value alone."""
        self._put(_ALU64 | _OPERATIONS[operation], destination, immediate=value)

    def compute_with(self, operation: str, destination: int, source: int) -> None:
        """The same with a register as the second operand."""
        self._put(_ALU64 | _REGISTER | _OPERATIONS[operation], destination, source)

    def move_word(self, destination: int, source: int) -> None:
        """``destination = source`` of 32 bits; the upper half is 0."""
        self._put(_ALU | _REGISTER | _OPERATIONS["mov"], destination, source)

    def network_order(self, bits: int, destination: int) -> None:
        """Change ``bits`` (16 or 32) of a register between network order and that of the machine."""
        self._put(_BYTE_ORDER | _TO_BIG_ENDIAN, destination, immediate=bits)

    def load_map(self, destination: int, descriptor: int) -> None:
        """The map of a descriptor (BPF_PSEUDO_MAP_FD), for a call; this takes the room of two instructions."""
        self._put(_LOAD_IMMEDIATE, destination, 1, immediate=descriptor)
        self._put(0)

    def call(self, function: int) -> None:
        """Call a function of the kernel (linux/bpf.h): registers 1 to 5 are its arguments, 0 gets its result, and 1 to
        5 have no value afterwards."""
        self._put(_CALL, immediate=function)

    def jump(self, label: str) -> None:
        """Go on at ``label``."""
        self._jump(label, _JUMP)

    def jump_if(self, register: int, condition: str, value: int, label: str) -> None:
        """Go on at ``label`` if the condition is true of the 64 bits of a register and ``value``."""
        self._jump(label, _JUMP | _CONDITIONS[condition], register, immediate=value)

    def jump_if_with(self, register: int, condition: str, other: int, label: str) -> None:
        """Go on at ``label`` if the condition is true of two registers."""
        self._jump(label, _JUMP | _REGISTER | _CONDITIONS[condition], register, other)

    def leave(self) -> None:
        """End the program; its result is in register 0."""
        self._put(_EXIT)

    def program(self) -> tuple[EbpfInstruction, ...]:
        """The program. Raises :class:`ValueError` for a jump to a label that does not stand anywhere."""
        instructions = list(self._instructions)
        for at, label in self._jumps:
            if label not in self._labels:
                raise ValueError(f"there is no label {label!r}")
            instructions[at] = instructions[at]._replace(offset=self._labels[label] - at - 1)
        return tuple(instructions)

    def _jump(self, label: str, code: int, register: int = 0, other: int = 0, immediate: int = 0) -> None:
        self._jumps.append((len(self._instructions), label))
        self._put(code, register, other, immediate=immediate)

    def _put(self, code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> None:
        self._instructions.append(EbpfInstruction(code, destination, source, offset, immediate))
