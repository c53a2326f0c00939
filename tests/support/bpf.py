"""What the kernel says of BPF programs, and test runs of them."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from edgesbc.kernel_relay.assembler import EbpfAssembler
from edgesbc.kernel_relay.bpf_calls import bpf, load_program

LOOK_UP, TEST_RUN, NEXT_PROGRAM, QUERY, NEXT_LINK = 1, 10, 11, 16, 31
TCX_INGRESS = 46


def command(number: int, attributes: bytes) -> bytes:
    """The attributes after a command. Raises ``OSError``."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result, code = bpf(number, buffer)
    if result < 0:
        raise OSError(code, os.strerror(code))
    return buffer.raw


def run_program(program: int, packet: bytes, context: bytes = b"") -> tuple[int, bytes]:
    """The result of a program for a packet of Ethernet that comes in by ``lo``, and the packet afterwards.

    ``context`` is the beginning of ``struct __sk_buff``.
    """
    data, output = ctypes.create_string_buffer(packet, len(packet)), ctypes.create_string_buffer(len(packet) + 256)
    given = ctypes.create_string_buffer(context, len(context))
    attributes = struct.pack(
        "=IIIIQQIIIIQQ",
        *(program, 0, len(packet), len(output), ctypes.addressof(data), ctypes.addressof(output)),
        *(1, 0, len(context), 0, ctypes.addressof(given) if context else 0, 0),
    )
    result, _, size = struct.unpack_from("=iII", command(TEST_RUN, attributes), 4)
    return result, output.raw[:size]


def map_value(map_descriptor: int, key: bytes, value_bytes: int) -> bytes | None:
    """The value of an entry of a map; None for none."""
    key_buffer, value = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value_bytes)
    try:
        command(
            LOOK_UP, struct.pack("=IIQQQ", map_descriptor, 0, ctypes.addressof(key_buffer), ctypes.addressof(value), 0)
        )
    except FileNotFoundError:
        return None
    return value.raw


def ingress_programs(device: int) -> list[int]:
    """The identifiers of the programs at the ingress of a device of this namespace, in the order in which they run."""
    return _ingress(device)[0]


def ingress_links(device: int) -> list[int]:
    """The identifiers of the links of these programs."""
    return _ingress(device)[1]


def _ingress(device: int) -> tuple[list[int], list[int]]:
    programs, links = (ctypes.c_uint32 * 64)(), (ctypes.c_uint32 * 64)()
    addresses = ctypes.addressof(programs), ctypes.addressof(links)
    attributes = struct.pack("=IIIIQIIQQQQ", device, TCX_INGRESS, 0, 0, addresses[0], 64, 0, 0, addresses[1], 0, 0)
    (count,) = struct.unpack_from("=I", command(QUERY, attributes), 24)
    return list(programs[:count]), list(links[:count])


def program_ids() -> set[int]:
    """The identifiers of all programs of the machine."""
    return set(_identifiers(NEXT_PROGRAM))


def link_ids() -> set[int]:
    """The identifiers of all links of the machine."""
    return set(_identifiers(NEXT_LINK))


def _identifiers(number: int) -> Iterator[int]:
    last = 0
    while True:
        try:
            (last,) = struct.unpack_from("=I", command(number, struct.pack("=III", last, 0, 0)), 4)
        except FileNotFoundError:
            return
        yield last


def foreign_program() -> int:
    """A program of somebody else, which lets every packet go on; returns its descriptor."""
    asm = EbpfAssembler()
    asm.compute("mov", 0, -1)
    asm.leave()
    return load_program(asm.program(), "foreign")


def can_attach() -> str:
    """Why the kernel takes no program; "" if it takes them."""
    try:
        os.close(foreign_program())
    except OSError as error:
        return str(error)
    return ""
