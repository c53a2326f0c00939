"""An assembler of classic BPF programs (Linux Documentation/networking/filter.rst).

Jumps only go forward, so the program is assembled from its last instruction to its first: the target of each jump is
then known.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Assembly", "Instruction", "Program"]

JUMP = 0x05  # BPF_JMP | BPF_JA
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JUMP_NOT_LESS = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

FARTHEST = 255
"""Longest conditional jump: its offset is one byte."""


class Instruction(NamedTuple):
    """``struct sock_filter``: operation code, instructions to skip if true and if false, operand."""

    code: int
    true: int
    false: int
    k: int


Program = tuple[Instruction, ...]

Label = int
"""A position in the program: the number of instructions from it to the end."""


class Assembly:
    """A program that grows at its front: an instruction is followed by the one that was put before it."""

    __slots__ = ("_bridges", "_last_first")

    def __init__(self) -> None:
        self._last_first: list[Instruction] = []
        self._bridges: dict[Label, Label] = {}

    def __len__(self) -> int:
        return len(self._last_first)

    @property
    def program(self) -> Program:
        return tuple(reversed(self._last_first))

    def put(self, code: int, k: int, true: int = 0, false: int = 0) -> Label:
        """Put an instruction that is no jump, or a RETURN, in front of the program."""
        self._last_first.append(Instruction(code, true, false, k))
        return len(self)

    def test(self, code: int, k: int, true: Label, false: Label) -> Label:
        """Put a conditional jump on the accumulator in front of the program."""
        true, false = self._within_reach(true), self._within_reach(false)
        return self.put(code, k, len(self) - true, len(self) - false)

    def _within_reach(self, label: Label) -> Label:
        """``label``, or the label of a jump to it if it is too far for a conditional jump."""
        near = self._bridges.get(label, label)
        if len(self) - near <= FARTHEST - 1:  # the other branch of the condition may need such a jump as well
            return near
        bridge = self._bridges[label] = self.put(JUMP, len(self) - label)
        return bridge
