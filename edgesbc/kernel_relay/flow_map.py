"""The maps of the kernel relay, as the process uses them that says which flows there are.

It takes the descriptors of the maps and no capability: the kernel asks for those only where a map is made.
"""

from __future__ import annotations

import mmap
import os

import attrs

from edgesbc.base.address import Source
from edgesbc.kernel_relay.bpf_calls import clear_map, delete_element, update_element
from edgesbc.kernel_relay.flows import (
    COUNTER_BYTES,
    KEY_BYTES,
    FlowCounters,
    KernelFlow,
    flow_key,
    flow_value,
    read_counters,
)

__all__ = ["FlowMap", "RelayMaps", "counter_memory"]


@attrs.frozen
class RelayMaps:
    """What a process needs to use a kernel relay: it can inherit the descriptors."""

    flows: int
    """Descriptor of the map of flows."""
    counters: int
    """Descriptor of the map of counters."""
    capacity: int
    """Room for flows, and slots of counters."""
    devices: tuple[int, ...]
    """Numbers of the network devices that have the program."""


class FlowMap:
    """The flows of a kernel relay, and their counters; the descriptors of ``maps`` stay open. Raises ``OSError`` where
    the counters cannot be mapped."""

    def __init__(self, maps: RelayMaps) -> None:
        capacity = maps.capacity
        self._flows = maps.flows
        self._memory = memoryview(mmap.mmap(maps.counters, counter_memory(capacity), prot=mmap.PROT_READ))
        self._packets = self._memory[: capacity * COUNTER_BYTES].cast("Q")[:: COUNTER_BYTES // 8]
        self.capacity = capacity

    @property
    def packets(self) -> int:
        """Packets of all slots."""
        return sum(self._packets)

    def put(self, flow: KernelFlow) -> None:
        """Have the kernel relay a flow from the next packet on, or change how. Raises :class:`KernelRefusal` where the
        map is full, or the kernel has no memory."""
        update_element(self._flows, flow_key(flow.source, flow.destination), flow_value(flow))

    def remove(self, source: Source, destination: Source) -> bool:
        """The packets of a flow go to the stack again; returns whether it was there. Raises :class:`KernelRefusal`."""
        return delete_element(self._flows, flow_key(source, destination))

    def clear(self) -> None:
        """Remove all flows, as those of a process that has died. Raises :class:`KernelRefusal`."""
        clear_map(self._flows, KEY_BYTES)

    def counters(self, slot: int) -> FlowCounters:
        """What the kernel has counted in a slot so far; this asks the kernel nothing."""
        return read_counters(self._memory, slot)


def counter_memory(capacity: int) -> int:
    """How many bytes the counters of ``capacity`` slots take in memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    return -(-capacity * COUNTER_BYTES // page) * page
