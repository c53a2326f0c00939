"""PROXY protocol, version 2: the peer's address as a balancer in front of the edge saw it, before all other bytes."""

from __future__ import annotations

import ipaddress
from typing import Final

from edgesbc.base import limits
from edgesbc.base.address import Source

__all__ = ["ProxyHeaderError", "ProxyHeaderReader"]

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED_BYTES: Final = 16  # the signature, version and command, family and transport, two bytes of length
_LOCAL: Final = 0x20  # version 2, command LOCAL: a connection of the balancer's own, such as a health check
_PROXY: Final = 0x21  # version 2, command PROXY
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4, TCP over IPv6: bytes of one address


class ProxyHeaderError(Exception):
    """What came is no header of version 2 with the address of a TCP peer."""


class ProxyHeaderReader:
    """Reads one header. Receive exactly ``needed`` bytes at a time until it is 0: what follows belongs to the peer.

    ``source`` is the address of the peer then; None where the balancer speaks for itself.
    """

    __slots__ = ("_data", "needed", "source")

    def __init__(self) -> None:
        self._data = b""
        self.needed = _FIXED_BYTES
        self.source: Source | None = None

    def receive(self, data: bytes) -> None:
        """Take at most ``needed`` bytes. Raises :class:`ProxyHeaderError`."""
        self._data += data
        if not self._data.startswith(_SIGNATURE[: len(self._data)]):
            raise ProxyHeaderError("expected the signature of a PROXY header, version 2")
        self.needed -= len(data)
        if self.needed:
            return
        if len(self._data) > _FIXED_BYTES:
            self._read_addresses()
            return
        self.needed = int.from_bytes(self._data[14:16], "big")
        if self.needed > limits.PROXY_HEADER_BYTES:
            raise ProxyHeaderError(f"expected at most {limits.PROXY_HEADER_BYTES} bytes, found {self.needed}")
        if not self.needed:
            self._read_addresses()

    def _read_addresses(self) -> None:
        command, kind = self._data[12], self._data[13]
        if command == _LOCAL:
            return
        size = _ADDRESS_BYTES.get(kind)
        addresses = self._data[_FIXED_BYTES:]
        if command != _PROXY or size is None or len(addresses) < 2 * size + 4:
            raise ProxyHeaderError("expected the command PROXY with the addresses of TCP over IPv4 or IPv6")
        host = ipaddress.ip_address(addresses[:size])
        if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
            host = host.ipv4_mapped  # one address has one text, by which it is counted and banned
        self.source = Source(str(host), int.from_bytes(addresses[2 * size : 2 * size + 2], "big"))
