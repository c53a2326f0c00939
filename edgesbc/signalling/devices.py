"""Devices: which device registered by which connection, so that it is known again when it registers by another.

A device is one user agent of one account: the account of its REGISTER with the instance and the reg-id of its Contact
(RFC 5626 section 4). A web page that names no instance is known by the host of its Contact, a random name under
``.invalid`` (RFC 7118 section 5), because SIP.js begins each registration with another Call-ID. All others are known by
the Call-ID, which is the same in all registrations of a user agent (RFC 3261 section 10.2).

Only a 2xx to a REGISTER with credentials makes an entry, so that nobody is taken for a device of an account whose
password is not known to it.
"""

from __future__ import annotations

import math

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request

__all__ = ["Device", "DeviceKey", "DeviceName", "Devices"]

DeviceKey = tuple[int, int]
"""Hashes of the account, and of what names the device within it: the peer chooses the length of the texts."""


class DeviceName:
    """How a REGISTER names its sender: ``key``, ``call_id`` as a hash, and ``reg_id`` if it has one, otherwise ""."""

    __slots__ = ("call_id", "key", "reg_id")

    def __init__(self, account: int, request: Request) -> None:
        self.call_id = hash(request.call_id)
        self.reg_id = ""
        identity = self.call_id
        for value in request.get_all("Contact"):
            if value == "*":
                continue
            contact = parse_name_addr(value)
            instance = contact.param("+sip.instance")
            if instance:
                self.reg_id = contact.param("reg-id") or ""
                identity = hash((instance, self.reg_id))
                break
            uri = contact.uri
            if uri.host.lower().endswith(".invalid"):
                identity = hash((uri.user, uri.host.lower()))
        self.key: DeviceKey = (account, identity)


class Device:
    """A device that has registered.

    ``flow`` is that of its last registration, which lives until ``until`` (seconds, the plane's clock); ``call_id`` is
    the hash of that registration's Call-ID. ``former`` are connections that it used before, the latest last.
    """

    __slots__ = ("call_id", "flow", "former", "key", "until")

    def __init__(self, key: DeviceKey, flow: Flow, call_id: int, until: float) -> None:
        self.key = key
        self.flow = flow
        self.call_id = call_id
        self.until = until
        self.former: list[int] = []


class Devices:
    """The devices of all accounts, and those that have registered by each open connection."""

    __slots__ = ("_devices", "_of_account", "_on", "_swept")

    def __init__(self) -> None:
        self._devices: dict[DeviceKey, Device] = {}  # in the order of their last registration
        self._of_account: dict[int, dict[DeviceKey, None]] = {}  # in the order of their first
        self._on: dict[int, dict[DeviceKey, None]] = {}  # by the serial of the connection
        self._swept = -math.inf

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, key: DeviceKey) -> Device | None:
        return self._devices.get(key)

    def on(self, serial: int) -> tuple[DeviceKey, ...]:
        """The devices that have registered by an open connection so far."""
        return tuple(self._on.get(serial, ()))

    def leave(self, serial: int) -> tuple[DeviceKey, ...]:
        """A connection has closed: the devices that had registered by it."""
        return tuple(self._on.pop(serial, ()))

    def add(self, name: DeviceName, flow: Flow, until: float, now: float) -> list[Device]:
        """A device has registered by ``flow``. Returns devices that were removed to make room.

        Nothing is kept of a device that has registered over UDP only: no connection of it can close. A connection whose
        devices are not all known has one more that never registers again.
        """
        device = self._devices.pop(name.key, None)
        removed: list[Device] = []
        if device is not None:
            self._devices[name.key] = device
            device.flow = flow
            device.call_id = name.call_id
            device.until = until
        elif flow.serial:
            removed = self._make_room(name.key[0], now)
            if len(self._devices) < limits.DEVICES:
                self._devices[name.key] = Device(name.key, flow, name.call_id, until)
                self._of_account.setdefault(name.key[0], {})[name.key] = None
        if flow.serial:
            keys = self._on.setdefault(flow.serial, {})
            if len(keys) <= limits.DEVICES_OF_CONNECTION:
                keys[name.key if len(keys) < limits.DEVICES_OF_CONNECTION or name.key in keys else (0, 0)] = None
        return removed

    def remove(self, key: DeviceKey) -> Device | None:
        """A device has removed its registration. It stays among those of its connection: one that does not return."""
        device = self._devices.pop(key, None)
        if device is not None:
            of_account = self._of_account[key[0]]
            del of_account[key]
            if not of_account:
                del self._of_account[key[0]]
        return device

    def registered_by(self, flow: Flow, account: int) -> list[DeviceKey]:
        """The devices of an account whose last registration came by ``flow``."""
        devices = [self._devices[key] for key in self._of_account.get(account, ())]
        return [device.key for device in devices if device.flow == flow]

    def _make_room(self, account: int, now: float) -> list[Device]:
        """Remove devices whose registration has expired, and the oldest of an account that has too many: one account
        could otherwise fill the table."""
        expired = [device for device in self._oldest(2) if device.until <= now]
        if len(self._devices) - len(expired) >= limits.DEVICES and now - self._swept >= limits.SWEEP_SECONDS:
            self._swept = now
            expired = [device for device in self._devices.values() if device.until <= now]
        for device in expired:
            self.remove(device.key)
        of_account = self._of_account.get(account, {})
        if len(of_account) >= limits.DEVICES_OF_ACCOUNT:
            oldest = self.remove(next(iter(of_account)))
            if oldest is not None:
                expired.append(oldest)
        return expired

    def _oldest(self, count: int) -> list[Device]:
        return [device for device, _ in zip(self._devices.values(), range(count), strict=False)]
