"""Validators of settings, for fields of attrs classes. An error names the field, what was expected and what was found.

A validator is called with the instance, the field and the value, looks at the value alone, and raises ``ValueError``.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sized
from typing import Any

from edgesbc.base.address import Source, split_host_port

__all__ = [
    "Validator",
    "at_most",
    "between",
    "described",
    "listed_address",
    "listed_addresses",
    "matching",
    "one_of",
    "optional",
    "positive",
    "prefixes",
    "sip_methods",
]

Validator = Callable[[Any, Any, Any], None]  # attrs gives an instance and a field of any class

_SHOWN_CHARS = 80


def described(value: object) -> str:
    """A value of a policy as an error shows it: short, and as TOML names its kind."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def positive(instance: Any, attribute: Any, value: Any) -> None:
    """A finite number above zero."""
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name}: expected a number above 0, found {value!r}")


def between(low: float, high: float, unit: str = "") -> Validator:
    """A number from ``low`` to ``high``, both included; ``unit`` is its unit, in the plural."""
    bounds = f"{low:.15g} to {high:.15g}"
    expected = f"{bounds} {unit}" if unit else f"a number from {bounds}"

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name}: expected {expected}, found {value!r}")

    return check


def one_of(*choices: str | int) -> Validator:
    """One of a few words or numbers."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in choices:
            raise ValueError(
                f"{attribute.name}: expected one of {', '.join(map(str, choices))}; found {described(value)}"
            )

    return check


def matching(pattern: str, expected: str) -> Validator:
    """A text that ``pattern`` matches as a whole; ``expected`` describes it in words."""
    whole = re.compile(pattern)

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not whole.fullmatch(value):
            raise ValueError(f"{attribute.name}: expected {expected}, found {described(value)}")

    return check


def at_most(bound: int, things: str) -> Validator:
    """No more than ``bound`` of ``things``."""

    def check(instance: Any, attribute: Any, value: Sized) -> None:
        if len(value) > bound:
            raise ValueError(f"{attribute.name}: expected at most {bound} {things}, found {len(value)}")

    return check


def optional(validator: Validator) -> Validator:
    """None, or what ``validator`` accepts."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def sip_methods(instance: Any, attribute: Any, value: Any) -> None:
    """SIP methods in capitals, known or not (RFC 3261 section 7.1: methods are case-sensitive)."""
    for word in value:
        if not (word and word.isascii() and word.upper() == word and not any(c.isspace() for c in word)):
            raise ValueError(f"{attribute.name}: expected SIP methods in capitals, found {word!r}")


def prefixes(instance: Any, attribute: Any, value: Any) -> None:
    """IP addresses and prefixes."""
    for text in value:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(
                f"{attribute.name}: expected addresses or prefixes as in 192.0.2.0/24, found {text!r}"
            ) from None


def listed_address(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | Source:
    """A trunk's address: a prefix or address as a network, an address with a port as a :class:`Source`.

    Raises ``ValueError`` that says what was expected.
    """
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    try:
        host, port = split_host_port(text, 0)
        return Source(str(ipaddress.ip_address(host)), port) if port else ipaddress.ip_network(host)
    except ValueError:
        raise ValueError(
            f"expected a prefix, an address, or an address and port, as in 198.51.100.0/28 or"
            f" 203.0.113.77:5060 or [2001:db8::7]:5060; found {text!r}"
        ) from None


def listed_addresses(instance: Any, attribute: Any, value: Any) -> None:
    """Texts that :func:`listed_address` reads."""
    for text in value:
        try:
            listed_address(text)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None
