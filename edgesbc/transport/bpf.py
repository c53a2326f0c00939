"""Assembles a classic BPF program backwards (Linux Documentation/networking/filter.rst). Knows no packets.

Jumps only go forward, so a program that is put together from its last instruction to its first knows
where each of them leads.
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
    """``struct sock_filter``: operation, instructions to skip if true and if false, operand."""

    code: int
    true: int
    false: int
    k: int


Program = tuple[Instruction, ...]

Label = int
"""A place in the program: how many instructions there are from it to the end."""


class Assembly:
    """A program that grows at its front. What is put goes on with what was put before it."""

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
        """An instruction that goes on with the next one, or a RETURN, which does not go on."""
        self._last_first.append(Instruction(code, true, false, k))
        return len(self)

    def test(self, code: int, k: int, true: Label, false: Label) -> Label:
        """A conditional jump on the accumulator."""
        true, false = self._within_reach(true), self._within_reach(false)
        return self.put(code, k, len(self) - true, len(self) - false)

    def _within_reach(self, label: Label) -> Label:
        """``label``, or the place of a jump to it where it is too far for a condition."""
        near = self._bridges.get(label, label)
        if len(self) - near <= FARTHEST - 1:  # the other side of the condition may need a jump of its own
            return near
        bridge = self._bridges[label] = self.put(JUMP, len(self) - label)
        return bridge
