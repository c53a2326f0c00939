"""The network devices of this machine's addresses, and those from which no packet may reach a core listener.

Linux takes a packet for any of its addresses from every device (the *weak* host of RFC 1122 section 3.3.4.2), so that
a neighbour on the public network can send to the private address of the edge, from any source address that it likes.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from edgesbc.base.address import Zone
from edgesbc.policy.model import ListenSettings

__all__ = ["device_indexes", "devices_of", "refused_devices"]

_LOOPBACK = 1
"""Index of ``lo``, which is the first device of every network namespace."""
_BUFFER = 65_536
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, number, port
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_GET_ADDRESSES, _DUMP = 22, 0x301  # RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP
_NEW_ADDRESS, _DONE, _ERROR = 20, 3, 2  # RTM_NEWADDR, NLMSG_DONE, NLMSG_ERROR
_OF_PEER, _LOCAL = 1, 2  # IFA_ADDRESS, which is the peer's on a point-to-point link, and IFA_LOCAL


def refused_devices(listen: Sequence[ListenSettings], devices: Mapping[str, int]) -> dict[int, frozenset[int]]:
    """The indexes of devices from which a core listener takes nothing, by its number in ``listen``; ``devices`` is
    what :func:`device_indexes` returns.

    They are those of the addresses of public listeners, if the address of the core listener is on another device.
    Devices that core listeners have too are left out. Nothing is refused by a listener that names a device or is a
    wildcard, nor where the address is on ``lo``, as an address that routers announce is: any device may lead to it.
    """
    core = {devices.get(settings.bind.host, 0) for settings in listen if settings.zone is Zone.CORE}
    public = {devices.get(settings.bind.host, 0) for settings in listen if settings.zone is Zone.PUBLIC}
    refused = frozenset(public - core - {0, _LOOPBACK})
    return {
        number: refused
        for number, settings in enumerate(listen)
        if settings.zone is Zone.CORE
        and settings.device == ""
        and refused
        and devices.get(settings.bind.host, 0) not in (0, _LOOPBACK)
    }


def device_indexes() -> dict[str, int]:
    """The index of the device of each address of this machine, by RTM_GETADDR of rtnetlink. Raises ``OSError``."""
    found: dict[str, int] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(1)
        body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _GET_ADDRESSES, _DUMP, 1, 0) + body)
        while True:
            for kind, message in _messages(netlink.recv(_BUFFER)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(os.strerror(-struct.unpack_from("=i", message)[0]))
                if kind == _NEW_ADDRESS:
                    found.update(_addresses(message))


def devices_of(addresses: Iterable[str]) -> list[int]:
    """The indexes of the devices of these addresses, and that of ``lo``, by which programs of this machine come. Raises
    ``OSError``."""
    known = device_indexes()
    return sorted({known[address] for address in addresses if address in known} | {_LOOPBACK})


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        yield kind, data[_HEADER.size : length]
        data = data[max(_aligned(length), _HEADER.size) :]


def _addresses(message: bytes) -> Iterator[tuple[str, int]]:
    family, _, _, _, index = _ADDRESS.unpack_from(message)
    values: dict[int, bytes] = {}
    rest = message[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        values[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[max(_aligned(length), _ATTRIBUTE.size) :]
    value = values.get(_LOCAL, values.get(_OF_PEER))
    if value is not None and family in (socket.AF_INET, socket.AF_INET6):
        yield str(ipaddress.ip_address(value)), index


def _aligned(length: int) -> int:
    return (length + 3) & ~3
