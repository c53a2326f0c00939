"""Instructions as RFC 9669 encodes them, and jumps."""

from __future__ import annotations

import sys

import pytest

from edgesbc.kernel_relay.assembler import BYTE, DOUBLE, HALF, WORD, EbpfAssembler, encode

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the encodings are those of a little-endian machine")


def assembled(asm: EbpfAssembler) -> list[str]:
    code = encode(asm.program())
    return [code[at : at + 8].hex() for at in range(0, len(code), 8)]


def test_instructions_have_the_encodings_of_the_rfc() -> None:
    """As ``llvm-objdump -d`` shows them for the assembly on the right."""
    asm = EbpfAssembler()
    asm.compute("mov", 0, -1)
    asm.compute("add", 2, -40)
    asm.compute("and", 1, 0xFFFF)
    asm.compute_with("mov", 6, 1)
    asm.compute_with("sub", 5, 1)
    asm.compute("rsh", 1, 32)
    asm.compute("lsh", 2, 32)
    asm.compute("xor", 2, 0xFFFF)
    asm.compute_with("or", 2, 3)
    asm.move_word(1, 5)
    asm.network_order(16, 1)
    asm.network_order(32, 2)
    asm.load(WORD, 7, 6, 76)
    asm.load(HALF, 3, 7, 16)
    asm.load(BYTE, 3, 7, 23)
    asm.load(DOUBLE, 1, 10, -104)
    asm.store(WORD, 10, -4, 1)
    asm.store(DOUBLE, 7, 16, 0)
    asm.store_value(WORD, 10, -8, 4)
    asm.store_value(BYTE, 10, -88, 0x6B)
    asm.atomic_add(7, 8, 1)
    asm.load_map(1, 5)
    asm.call(1)
    asm.leave()
    assert assembled(asm) == [
        "b7000000ffffffff",  # r0 = -1
        "07020000d8ffffff",  # r2 += -40
        "57010000ffff0000",  # r1 &= 65535
        "bf16000000000000",  # r6 = r1
        "1f15000000000000",  # r5 -= r1
        "7701000020000000",  # r1 >>= 32
        "6702000020000000",  # r2 <<= 32
        "a7020000ffff0000",  # r2 ^= 65535
        "4f32000000000000",  # r2 |= r3
        "bc51000000000000",  # w1 = w5
        "dc01000010000000",  # r1 = be16 r1
        "dc02000020000000",  # r2 = be32 r2
        "61674c0000000000",  # r7 = *(u32 *)(r6 + 76)
        "6973100000000000",  # r3 = *(u16 *)(r7 + 16)
        "7173170000000000",  # r3 = *(u8 *)(r7 + 23)
        "79a198ff00000000",  # r1 = *(u64 *)(r10 - 104)
        "631afcff00000000",  # *(u32 *)(r10 - 4) = r1
        "7b07100000000000",  # *(u64 *)(r7 + 16) = r0
        "620af8ff04000000",  # *(u32 *)(r10 - 8) = 4
        "720aa8ff6b000000",  # *(u8 *)(r10 - 88) = 107
        "db17080000000000",  # lock *(u64 *)(r7 + 8) += r1
        "1811000005000000",  # r1 = map_by_fd(5)
        "0000000000000000",
        "8500000001000000",  # call 1
        "9500000000000000",  # exit
    ]


def test_a_jump_goes_to_its_label_forwards_and_backwards() -> None:
    asm = EbpfAssembler()
    asm.label("start")
    asm.jump_if(1, "==", 2, "end")
    asm.jump_if_with(1, ">", 2, "end")
    asm.jump_if(1, "&", -1, "start")
    asm.jump("start")
    asm.label("end")
    asm.leave()
    assert assembled(asm) == [
        "1501030002000000",
        "2d21020000000000",
        "4501fdffffffffff",
        "0500fcff00000000",
        "9500000000000000",
    ]


@pytest.mark.parametrize(
    ("condition", "code"),
    [("==", 0x15), (">", 0x25), (">=", 0x35), ("&", 0x45), ("!=", 0x55), ("<", 0xA5), ("<=", 0xB5)],
)
def test_each_condition_has_its_code(condition: str, code: int) -> None:
    asm = EbpfAssembler()
    asm.jump_if(1, condition, 0, "here")
    asm.label("here")
    assert asm.program()[0].code == code


def test_a_label_stands_once_and_is_known() -> None:
    asm = EbpfAssembler()
    asm.label("twice")
    with pytest.raises(ValueError, match="twice"):
        asm.label("twice")
    asm.jump("nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        asm.program()
