"""The devices of addresses, and those from which core listeners take nothing."""

from __future__ import annotations

import pytest

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.transport.filter_programs import device_filter
from edgesbc.transport.interfaces import device_indexes, refused_devices

DEVICES = {
    "127.0.0.1": 1, "10.9.9.9": 1, "203.0.113.1": 2, "2001:db8::1": 2, "10.0.0.1": 3, "203.0.113.2": 3, "fd00::1": 4,
}  # fmt: skip


def listener(zone: Zone, host: str, device: str = "") -> ListenSettings:
    return ListenSettings(zone=zone, transport=Transport.UDP, bind=Source(host, 5060), device=device)


def refused(*listen: ListenSettings) -> dict[int, frozenset[int]]:
    return refused_devices(listen, DEVICES)


def test_the_devices_of_this_machine() -> None:
    assert device_indexes()["127.0.0.1"] == 1


@pytest.mark.parametrize(
    ("public", "core", "device", "indexes"),
    [
        ("203.0.113.1", "10.0.0.1", "", {2}),
        ("2001:db8::1", "fd00::1", "", {2}),
        ("203.0.113.1", "10.0.0.1", "any", set()),
        ("203.0.113.1", "10.0.0.1", "eth1", set()),
        ("203.0.113.2", "10.0.0.1", "", set()),
        ("0.0.0.0", "10.0.0.1", "", set()),
        ("203.0.113.1", "0.0.0.0", "", set()),
        ("203.0.113.1", "10.9.9.9", "", set()),
        ("127.0.0.1", "10.0.0.1", "", set()),
        ("203.0.113.1", "192.0.2.1", "", set()),
    ],
)
def test_which_devices_are_refused(public: str, core: str, device: str, indexes: set[int]) -> None:
    found = refused(listener(Zone.PUBLIC, public), listener(Zone.CORE, core, device))
    assert found.get(1, frozenset()) == indexes
    assert 0 not in found


def test_a_device_that_a_core_listener_has_too_is_not_refused() -> None:
    public = [listener(Zone.PUBLIC, "203.0.113.1"), listener(Zone.PUBLIC, "203.0.113.2")]
    core = [listener(Zone.CORE, "10.0.0.1"), listener(Zone.CORE, "fd00::1")]
    assert refused(*public, *core) == {2: frozenset({2}), 3: frozenset({2})}


def test_the_program_compares_each_device_once() -> None:
    program = device_filter([9, 4, 7])
    assert [instruction.k for instruction in program[1:-2]] == [4, 7, 9]
    for index, instruction in enumerate(program[1:-2], 1):
        assert program[index + 1 + instruction.true] == program[-1]
