"""The bpf() system call (bpf(2)), without a library: maps, programs, and links of programs to network devices.

A map, a program and a link last as long as a descriptor of them is open, in whichever process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from typing import Final

from edgesbc.kernel_relay.assembler import EbpfInstruction, encode

__all__ = [
    "ARRAY", "HASH", "MAPPABLE", "UNALLOCATED", "KernelRefusal", "attach_ingress", "bpf", "clear_map", "create_map",
    "delete_element", "load_program", "update_element",
]  # fmt: skip

HASH: Final = 1  # BPF_MAP_TYPE_HASH
ARRAY: Final = 2  # BPF_MAP_TYPE_ARRAY
UNALLOCATED: Final = 0x1  # BPF_F_NO_PREALLOC: an entry gets its memory when it is added
MAPPABLE: Final = 0x400  # BPF_F_MMAPABLE: mmap() of the descriptor shows the values

_NUMBERS: Final = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "ppc64le": 361, "s390x": 351,
}  # fmt: skip
"""The number of bpf() by machine (asm/unistd.h)."""

_MAP_CREATE, _UPDATE, _DELETE, _NEXT_KEY, _PROG_LOAD, _LINK_CREATE = 0, 2, 3, 4, 5, 28
_SCHED_CLS: Final = 3  # BPF_PROG_TYPE_SCHED_CLS
_TCX_INGRESS: Final = 46  # BPF_TCX_INGRESS
_LOG_BYTES: Final = 1 << 20

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class KernelRefusal(OSError):
    """The kernel refuses a call. The message says what, why, and what it takes."""


def create_map(kind: int, key_bytes: int, value_bytes: int, entries: int, name: str, flags: int = 0) -> int:
    """A new map; returns its descriptor, which is closed on exec. Raises :class:`KernelRefusal`."""
    attributes = struct.pack("=IIIIIII16s", kind, key_bytes, value_bytes, entries, flags, 0, 0, _name(name))
    return _descriptor(_MAP_CREATE, attributes, f"a map of {entries} entries")


def load_program(program: Sequence[EbpfInstruction], name: str) -> int:
    """Load a program for network devices; returns its descriptor. Raises :class:`KernelRefusal`, with the end of the
    verifier's log for a program that the kernel does not find safe."""
    code = encode(program)
    instructions, license_text = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")

    def attributes(log: ctypes.Array[ctypes.c_char] | None) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII",
            *(_SCHED_CLS, len(program), ctypes.addressof(instructions), ctypes.addressof(license_text)),
            *((1, _LOG_BYTES, ctypes.addressof(log)) if log is not None else (0, 0, 0)),
            *(0, 0, _name(name), 0, _TCX_INGRESS),
        )

    result, code_of_error = bpf(_PROG_LOAD, ctypes.create_string_buffer(attributes(None)))
    if result >= 0:
        return result
    if code_of_error in (errno.EINVAL, errno.EACCES):  # once more, to know why
        log = ctypes.create_string_buffer(_LOG_BYTES)
        bpf(_PROG_LOAD, ctypes.create_string_buffer(attributes(log)))
        lines = log.value.decode("ascii", "replace").strip().splitlines()
        raise _refusal(code_of_error, "the program of the kernel relay", "; ".join(lines[-3:-1]))
    raise _refusal(code_of_error, "the program of the kernel relay")


def attach_ingress(program: int, device: int) -> int:
    """Run a program for what comes in by a device, after the programs that are attached there already (TCX); returns
    the descriptor of the link. Raises :class:`KernelRefusal`."""
    attributes = struct.pack("=IIIIIIQ", program, device, _TCX_INGRESS, 0, 0, 0, 0)
    return _descriptor(_LINK_CREATE, attributes, f"a program at the ingress of the network device {device}")


def update_element(map_descriptor: int, key: bytes, value: bytes) -> None:
    """Add an entry to a map or replace it. Raises :class:`KernelRefusal`, with E2BIG where the map is full."""
    key_buffer, value_buffer = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    attributes = _element(map_descriptor, key_buffer, value_buffer)
    result, code = bpf(_UPDATE, ctypes.create_string_buffer(attributes))
    if result < 0:
        raise _refusal(code, "an entry of a map")


def delete_element(map_descriptor: int, key: bytes) -> bool:
    """Remove an entry; returns whether it was there. Raises :class:`KernelRefusal`."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    result, code = bpf(_DELETE, ctypes.create_string_buffer(_element(map_descriptor, key_buffer, None)))
    if result < 0 and code != errno.ENOENT:
        raise _refusal(code, "the removal of an entry of a map")
    return result >= 0


def clear_map(map_descriptor: int, key_bytes: int) -> None:
    """Remove every entry. Raises :class:`KernelRefusal`."""
    first = ctypes.create_string_buffer(key_bytes)
    while True:
        result, code = bpf(_NEXT_KEY, ctypes.create_string_buffer(_element(map_descriptor, None, first)))
        if result < 0 and code == errno.ENOENT:
            return
        if result < 0:
            raise _refusal(code, "the keys of a map")
        delete_element(map_descriptor, first.raw)


def _element(
    map_descriptor: int, key: ctypes.Array[ctypes.c_char] | None, value: ctypes.Array[ctypes.c_char] | None
) -> bytes:
    addresses = [0 if buffer is None else ctypes.addressof(buffer) for buffer in (key, value)]
    return struct.pack("=IIQQQ", map_descriptor, 0, *addresses, 0)


def _descriptor(command: int, attributes: bytes, what: str) -> int:
    result, code = bpf(command, ctypes.create_string_buffer(attributes, len(attributes)))
    if result < 0:
        raise _refusal(code, what)
    return result


def bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> tuple[int, int]:
    """The result of a command with ``union bpf_attr``, and the error number if it is below 0."""
    number = _NUMBERS.get(platform.machine())
    if number is None:
        return -1, errno.ENOSYS
    result = int(_LIBC.syscall(number, command, attributes, len(attributes)))
    return result, ctypes.get_errno() if result < 0 else 0


def _refusal(code: int, what: str, detail: str = "") -> KernelRefusal:
    if code == errno.EPERM:
        why = "expected the capabilities CAP_BPF and CAP_NET_ADMIN"
    elif code == errno.ENOSYS:
        why = f"expected the system call bpf() on {platform.machine()}"
    elif code == errno.EINVAL and not detail:
        why = f"expected Linux 6.6 or newer with TCX, found Linux {platform.release()}"
    else:
        why = detail or "see bpf(2)"
    return KernelRefusal(code, f"the kernel refuses {what}: {os.strerror(code)}; {why}")


def _name(name: str) -> bytes:
    return name.encode("ascii")[:15]
