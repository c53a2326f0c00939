"""The bounds of parsing, framing and transactions as one immutable value; the defaults are those of the edge.

The reason for each default stands in :mod:`edgesbc.base.limits`. Two bounds are fixed, because parsed values are
cached and shared between all parsers of a process: a single header value or URI has at most
``edgesbc.base.limits.PARAMETERS`` parameters, and a URI ``START_LINE_BYTES`` characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgesbc.base import limits

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an attacker could make grow. Pass it to ``parse_message``, ``StreamFramer`` and ``Transactions``."""

    message_bytes: int = limits.MESSAGE_BYTES
    """Largest message, header fields and body together; beyond it, 413."""
    start_line_bytes: int = limits.START_LINE_BYTES
    """Longest start line; beyond it, 414."""
    header_block_bytes: int = limits.HEADER_BLOCK_BYTES
    """Start line and header fields together, without the blank line; beyond it, 513."""
    header_field_bytes: int = limits.HEADER_FIELD_BYTES
    """Longest header field, unfolded, with its name; beyond it, 513."""
    header_fields: int = limits.HEADER_FIELDS
    """Number of header fields, each value of Via, Route, Record-Route, Contact and Path counted; beyond it, 513."""
    header_lines: int = limits.HEADER_LINES
    """Number of lines before the blank one, those by which fields are folded counted; beyond it, 513."""
    transactions: int = limits.TRANSACTIONS
    """Server transactions, and client transactions, at which ``Transactions.full`` becomes true."""
    transaction_bytes: int = limits.TRANSACTION_BYTES
    """Bytes of the messages that all of them keep, at which it becomes true as well."""


DEFAULT_LIMITS: Final = Limits()
