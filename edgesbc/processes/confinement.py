"""What a media process gives up once its plane runs: a fault in it must not reach further than media."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
from collections.abc import Iterator
from typing import Final

from edgesbc.base.log import Log

__all__ = ["confine"]

_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_SYS_NICE: Final = 23
_CAPABILITY_VERSION_3: Final = 0x20080522
_PRIORITY: Final = 10
_CAPABILITIES: Final = 64  # more than there are
# landlock(7); the numbers of the calls are the same on every architecture.
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_PATH_BENEATH: Final = 1
_LANDLOCK_RESTRICT_SELF: Final = 446
_RULESET_VERSION: Final = 1
_WRITE_FILE, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 4, 1 << 5
_MAKE_ANY: Final = sum(1 << bit for bit in range(6, 13))  # character device to symbolic link
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1


def confine(log: Log) -> None:
    """Give up capabilities, new privileges, core dumps, writing of files and TCP, for this process and those that it
    starts. What the kernel does not support is left out, and logged.

    Relays may use SCHED_FIFO, also those that are started later. Where this process may not raise RLIMIT_RTPRIO for
    that, it keeps CAP_SYS_NICE for them, if it has it, without using it itself.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    left_out = []
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, (_PRIORITY, _PRIORITY))
    kept = 0 if resource.getrlimit(resource.RLIMIT_RTPRIO)[0] else _permitted(libc) & 1 << _CAP_SYS_NICE
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        left_out.append("no_new_privs")
    if not _drop_capabilities(libc, kept):
        left_out.append("capabilities")
    if not _restrict(libc):
        left_out.append("landlock")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log.info("confined", left_out=" ".join(left_out) or "nothing", kept="sys_nice" if kept else "nothing")


def _permitted(libc: ctypes.CDLL) -> int:
    """The lower half of the capabilities that this process may use, as bits; 0 where the kernel does not say."""
    data = ctypes.create_string_buffer(24)
    if libc.capget(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), data):
        return 0
    permitted: int = struct.unpack_from("=6I", data)[1]
    return permitted


def _drop_capabilities(libc: ctypes.CDLL, kept: int) -> bool:
    """Drop all but those of the lower half that are ``kept`` for processes that are started later."""
    for capability in range(_CAPABILITIES):
        if not kept & 1 << capability:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused without CAP_SETPCAP, and then there are none
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if libc.capset(header, struct.pack("=6I", 0, kept, kept, 0, 0, 0)):
        return False
    return not kept or bool(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_SYS_NICE, 0, 0) == 0)


def _restrict(libc: ctypes.CDLL) -> bool:
    """No file but the null device may be written, made or removed by its path, and no TCP socket bound or connected.
    Open files stay."""
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _RULESET_VERSION)
    if version < 1:
        return False
    files = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_ANY
    if version >= 2:
        files |= _REFER
    if version >= 3:
        files |= _TRUNCATE
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    attributes = struct.pack("=QQ", files, network)[: 16 if version >= 4 else 8]
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        with _null_device() as null:
            rule = struct.pack("=Qi", _WRITE_FILE, null)
            if libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0):
                return False
        return bool(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


@contextlib.contextmanager
def _null_device() -> Iterator[int]:
    """A descriptor of the null device, which processes that are started later write to."""
    null = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
    try:
        yield null
    finally:
        os.close(null)
