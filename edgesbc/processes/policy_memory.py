"""The text of the policy in force, in memory that the supervisor holds: a signalling process that is started again goes
on with it, and not with what the policy file says by then."""

from __future__ import annotations

import hashlib
import os
from typing import Final

import attrs

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import RESTART_SECTIONS, Policy

__all__ = ["create_memory", "restored_policy", "store_text", "stored_text"]

_DIGEST: Final = 32


def create_memory(text: str) -> int:
    """A descriptor of memory that holds ``text``."""
    descriptor = os.memfd_create("edgesbc-policy", os.MFD_CLOEXEC)
    store_text(descriptor, text)
    return descriptor


def store_text(descriptor: int, text: str) -> None:
    """Replace the text. A process that ends meanwhile leaves memory that :func:`stored_text` refuses."""
    data = text.encode("utf-8", "surrogateescape")
    data = hashlib.sha256(data).digest() + data
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def stored_text(descriptor: int) -> str | None:
    """The text, or None if it was not written wholly."""
    data = os.pread(descriptor, limits.POLICY_BYTES + _DIGEST + 1, 0)
    digest, text = data[:_DIGEST], data[_DIGEST:]
    return text.decode("utf-8", "surrogateescape") if hashlib.sha256(text).digest() == digest else None


def restored_policy(started_with: str, in_force: str | None, file: str) -> Policy:
    """The policy with the text ``in_force``, or ``started_with`` where that has mistakes by now, as when a file that it
    names is gone. Sections that only a restart of the whole edge changes are those of ``started_with``.

    Raises :class:`PolicyErrors`.
    """
    if in_force is None or in_force == started_with:
        return parse_policy(started_with, file)
    try:
        policy = parse_policy(in_force, file)
    except PolicyErrors:
        return parse_policy(started_with, file)
    base = parse_policy(started_with, file)
    return attrs.evolve(policy, **{name: getattr(base, name) for name in RESTART_SECTIONS})
