"""All cases, in the order of their sections."""

from __future__ import annotations

from torture import ipv6, layers, malformed, ours, valid
from torture.case import Case

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (*valid.CASES, *malformed.CASES, *layers.CASES, *ipv6.CASES, *ours.CASES)
