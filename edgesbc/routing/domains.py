"""The domains of a policy: the hosts that a Request-URI from the public side may name, besides the edge itself."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.validation import at_most

__all__ = ["DomainSettings", "HostSet", "host_names", "plain_host"]

_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?\Z")


def _hosts(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if not _NAME.match(name) and not _is_address(name):
            raise ValueError(f"{attribute.name}: expected domains or addresses without a port, found {name!r}")


def host_names(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    """Domains and addresses, and names as ``*.example.com`` for all below one. Raises ``ValueError``."""
    for name in value:
        if not _NAME.match(name.removeprefix("*.")) and not _is_address(name):
            raise ValueError(
                f"{attribute.name}: expected domains or addresses without a port, or *.DOMAIN, found {name!r}"
            )


class HostSet:
    """The hosts that :func:`host_names` lists, as a set; hosts are compared as :func:`plain_host` writes them."""

    __slots__ = ("_below", "_names")

    def __init__(self, names: Iterable[str]) -> None:
        listed = list(names)
        self._names = frozenset(plain_host(name) for name in listed if not name.startswith("*."))
        self._below = tuple(plain_host(name[1:]) for name in listed if name.startswith("*."))

    def __bool__(self) -> bool:
        return bool(self._names or self._below)

    def __contains__(self, host: object) -> bool:
        name = plain_host(str(host))
        return name in self._names or name.endswith(self._below)


def _answer(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value not in (403, 404):
        raise ValueError(f"{attribute.name}: expected 403 or 404, found {value!r}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


@attrs.frozen
class DomainSettings:
    """``[domains]``."""

    names: tuple[str, ...] = attrs.field(default=(), validator=[at_most(limits.DOMAINS, "domains"), _hosts])
    """Domains and addresses, in any case; empty: any host."""
    answer: int = attrs.field(default=404, validator=_answer)
    """The status for a request to any other host."""


def plain_host(host: str) -> str:
    """The host of a URI in the form in which hosts are compared (RFC 3261 section 19.1.4): in lower case, without a
    dot at its end; an IPv6 address in its usual form."""
    if ":" in host:
        try:
            return str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            return host.lower()
    return host.lower().rstrip(".")
