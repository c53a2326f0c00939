"""The table of devices: its bounds, and which devices are forgotten."""

from __future__ import annotations

from support.signalling import BROWSERS
from support.sip import request

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.signalling.devices import DeviceName, Devices
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

REGISTER = parse_message(request("REGISTER"))
assert isinstance(REGISTER, Request)


def name(account: int) -> DeviceName:
    assert isinstance(REGISTER, Request)
    return DeviceName(account, REGISTER)


def flow(serial: int) -> Flow:
    return Flow(BROWSERS, Source("203.0.113.7", 40000), serial)


def test_a_full_table_takes_no_new_device_until_others_have_expired() -> None:
    """The connection of a new one then has a device that is not known: nothing waits for it."""
    devices = Devices()
    last = limits.DEVICES
    for account in range(last):
        devices.add(name(account), flow(account + 1), 100.0 + (account < 10) * 1000.0, 0.0)
    assert devices.add(name(last), flow(last + 1), 600.0, 50.0) == []
    assert len(devices) == limits.DEVICES
    assert devices.find(name(last).key) is None
    assert devices.on(last + 1) == (name(last).key,)
    devices.add(name(0), flow(1), 1200.0, 50.0)  # a known one registers again
    assert len(devices) == limits.DEVICES
    removed = devices.add(name(last), flow(last + 1), 600.0, 100.0)
    assert len(removed) == limits.DEVICES - 10
    assert len(devices) == 11


def test_a_full_table_is_searched_once_in_a_while() -> None:
    devices = Devices()
    for account in range(limits.DEVICES):
        devices.add(name(account), flow(account + 1), 1000.0 - account / limits.DEVICES, 0.0)
    assert devices.add(name(-1), flow(-1), 2000.0, 999.0) == []
    assert devices.add(name(-1), flow(-1), 2000.0, 999.5) == [], "those that have expired are the last"
    assert devices.add(name(-1), flow(-1), 2000.0, 999.0 + limits.SWEEP_SECONDS) != []


def test_the_oldest_devices_that_have_expired_are_removed_when_others_come() -> None:
    devices = Devices()
    for number in range(1_000):
        devices.add(name(number), flow(number + 1), number + 100.0, number)
    assert len(devices) <= 101


def test_the_oldest_device_of_an_account_is_forgotten() -> None:
    devices = Devices()
    for number in range(limits.DEVICES_OF_ACCOUNT + 1):
        message = parse_message(request("REGISTER", call_id=f"reg{number}"))
        assert isinstance(message, Request)
        removed = devices.add(DeviceName(1, message), flow(number + 1), 100.0, 0.0)
    assert [device.flow.serial for device in removed] == [1]
    assert len(devices) == limits.DEVICES_OF_ACCOUNT


def test_nothing_is_left_of_devices_that_have_gone() -> None:
    devices = Devices()
    devices.add(name(1), flow(1), 100.0, 0.0)
    assert devices.leave(1) == (name(1).key,)
    assert devices.on(1) == devices.leave(1) == ()
    assert devices.remove(name(1).key) is not None
    assert devices.remove(name(1).key) is None
    assert devices.registered_by(flow(1), 1) == []
    assert len(devices) == 0
