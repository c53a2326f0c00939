"""Validators of policy values whose messages say what was expected. Reads no files."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from edgesbc.base.address import Source, split_host_port

__all__ = ["between", "listed_address", "listed_addresses", "one_of", "optional", "positive", "prefixes", "tokens"]

Validator = Callable[[Any, Any, Any], None]


def positive(instance: Any, attribute: Any, value: Any) -> None:
    """A number above zero."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{attribute.name}: expected a number above 0, found {value!r}")


def between(low: float, high: float) -> Validator:
    """A number from ``low`` to ``high``, both included."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name}: expected a number from {low:g} to {high:g}, found {value!r}")

    return check


def one_of(*choices: str) -> Validator:
    """One of a few words."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value not in choices:
            raise ValueError(f"{attribute.name}: expected one of {', '.join(choices)}, found {value!r}")

    return check


def optional(validator: Validator) -> Validator:
    """None, or what ``validator`` wants."""

    def check(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            validator(instance, attribute, value)

    return check


def tokens(instance: Any, attribute: Any, value: Any) -> None:
    """A list of method names or other upper-case words."""
    for word in value:
        if not (word and word.isascii() and word.upper() == word and not any(c.isspace() for c in word)):
            raise ValueError(f"{attribute.name}: expected SIP methods in capitals, found {word!r}")


def prefixes(instance: Any, attribute: Any, value: Any) -> None:
    """A list of IP addresses and prefixes."""
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
    """A list of what :func:`listed_address` reads."""
    for text in value:
        try:
            listed_address(text)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None
