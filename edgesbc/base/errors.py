"""Errors that several packages raise and catch: input that breaks a grammar, and mistakes in a policy."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["PolicyError", "PolicyErrors", "WireError"]


class WireError(ValueError):
    """Bytes from the network break a grammar or a bound.

    ``reason`` is a sentence for people; ``status_hint`` is the SIP status for the answer to such a request, if it can
    be answered (RFC 3261 section 16.3).
    """

    def __init__(self, reason: str, status_hint: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status_hint = status_hint


class PolicyError(ValueError):
    """One mistake in a policy: the file, the dotted key in it, and what was expected and found."""

    def __init__(self, file: str, key: str, message: str) -> None:
        super().__init__(f"{file}: {key}: {message}" if key else f"{file}: {message}")
        self.file = file
        self.key = key
        self.message = message


class PolicyErrors(ValueError):
    """Every mistake of a policy at once, in the order of the file's keys."""

    def __init__(self, errors: Iterable[PolicyError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))
