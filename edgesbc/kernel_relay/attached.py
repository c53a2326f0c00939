"""The kernel relay as its owner holds it: the maps, and the program at the ingress of network devices.

All of it is descriptors: when the last process that has them ends, however it ends, the kernel removes the program
from the devices, and the flows. Programs of others stay where they are; those that were attached before run before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from edgesbc.kernel_relay.bpf_calls import (
    ARRAY,
    HASH,
    MAPPABLE,
    UNALLOCATED,
    KernelRefusal,
    attach_ingress,
    create_map,
    load_program,
)
from edgesbc.kernel_relay.flow_map import RelayMaps
from edgesbc.kernel_relay.flows import COUNTER_BYTES, KEY_BYTES, VALUE_BYTES
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.kernel_relay.program import ETHERNET_HEADER, relay_program
from edgesbc.kernel_relay.routes import NetworkDevice, RouteReader

__all__ = ["AttachedRelay", "attach_relay"]

_LINK_HEADERS: Final = {1: ETHERNET_HEADER, 772: ETHERNET_HEADER, 519: 0, 65_534: 0}
"""Bytes in front of the IP header, by the type of the device (linux/if_arp.h): Ethernet, ``lo``, raw IP, none (TUN,
WireGuard)."""
_NAME: Final = "edgesbc_relay"


class AttachedRelay:
    """The program at the ingress of each device that takes it, and maps with room for ``capacity`` flows.

    Raises ``OSError`` that says why where there can be no kernel relay: :class:`KernelRefusal` for want of a kernel
    that has TCX, of the capabilities CAP_BPF and CAP_NET_ADMIN, or of memory.
    """

    def __init__(self, devices: Iterable[int], capacity: int, traffic_class: int) -> None:
        self.capacity = capacity
        self.refused: dict[int, str] = {}
        """Why a device has no program, by its number."""
        self._links: dict[int, int] = {}
        self._descriptors: list[int] = []
        try:
            self.flows = self._keep(create_map(HASH, KEY_BYTES, VALUE_BYTES, capacity, "edgesbc_flows", UNALLOCATED))
            """Descriptor of the map of flows."""
            self.counters = self._keep(create_map(ARRAY, 4, COUNTER_BYTES, capacity, "edgesbc_counts", MAPPABLE))
            """Descriptor of the map of counters, which has a slot for each flow."""
            with RouteReader() as reader:
                self._attach([reader.device(number) for number in devices], traffic_class)
        except BaseException:
            self.close()
            raise

    @property
    def maps(self) -> RelayMaps:
        """For the process that says which flows there are."""
        return RelayMaps(self.flows, self.counters, self.capacity, tuple(self._links))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All that it holds."""
        return (*self._descriptors, *self.links)

    @property
    def links(self) -> tuple[int, ...]:
        """Descriptors that keep the program attached: for the process that is to outlive this one."""
        return tuple(self._links.values())

    def close(self) -> None:
        """Remove the program and the maps, unless another process has their descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._links.clear()
        self._descriptors.clear()

    def _attach(self, devices: Iterable[NetworkDevice], traffic_class: int) -> None:
        programs: dict[int, int] = {}
        first: KernelRefusal | None = None
        try:
            for device in devices:
                header = _LINK_HEADERS.get(device.kind)
                if header is None:
                    self.refused[device.number] = f"expected Ethernet or no link header, found type {device.kind}"
                    continue
                if header not in programs:
                    program = relay_program(header, self.flows, self.counters, traffic_class)
                    programs[header] = load_program(program, _NAME)
                try:
                    self._links[device.number] = attach_ingress(programs[header], device.number)
                except KernelRefusal as error:
                    first = first or error
                    self.refused[device.number] = str(error)
        finally:
            for descriptor in programs.values():
                os.close(descriptor)  # the links keep the programs
        if first is not None and not self._links:
            raise first

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor


def attach_relay(
    mode: KernelMode, devices: Iterable[int], capacity: int, traffic_class: int
) -> tuple[AttachedRelay | None, str]:
    """The kernel relay that ``mode`` asks for, and why there is none, or why devices are left out; "" if none is.

    Raises ``OSError`` with ``KernelMode.REQUIRE``, unless every device takes the program.
    """
    if mode is KernelMode.OFF:
        return None, "media.kernel is off"
    try:
        relay = AttachedRelay(devices, capacity, traffic_class)
    except OSError as error:
        if mode is KernelMode.REQUIRE:
            raise
        return None, str(error)
    refused = "; ".join(f"device {number}: {reason}" for number, reason in relay.refused.items())
    if refused and mode is KernelMode.REQUIRE:
        relay.close()
        raise OSError(f"media.kernel is required and not everywhere possible: {refused}")
    return relay, refused
