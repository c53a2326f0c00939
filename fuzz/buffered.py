"""Counts what a connection's layers hold of the peer's bytes, whatever their fields are called."""

from __future__ import annotations

import ssl
import types

__all__ = ["buffered_bytes"]

_FIELDS = types.MemberDescriptorType, types.GetSetDescriptorType
_NAMES: dict[type, tuple[str, ...]] = {}
_PLAIN: set[type] = set()
"""Kinds of fields that hold none."""


def buffered_bytes(part: object) -> int:
    """The bytes and characters in the fields of ``part``, and of the other parts of ``edgesbc`` that it refers to."""
    total = 0
    for name in _NAMES.get(type(part)) or _names(type(part)):
        value = getattr(part, name)
        kind = type(value)
        if kind is bytes or kind is bytearray or kind is str:
            total += len(value)
        elif kind is list or kind is tuple:
            total += sum(len(item) for item in value if type(item) is not int)
        elif kind is ssl.MemoryBIO:
            total += value.pending
        elif kind not in _PLAIN:
            if kind.__module__.startswith("edgesbc.streams.") or kind.__module__ == "edgesbc.sip.framing":
                total += buffered_bytes(value)
            else:
                _PLAIN.add(kind)
    return total


def _names(kind: type) -> tuple[str, ...]:
    _NAMES[kind] = tuple(
        name for base in kind.__mro__[:-1] for name, value in vars(base).items() if isinstance(value, _FIELDS)
    )
    return _NAMES[kind]
