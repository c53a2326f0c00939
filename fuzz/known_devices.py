"""KnownDevices: the flows by which each device has registered, so that its messages may move from one to another."""

from __future__ import annotations

from edgesbc.base.address import Flow, FlowKey
from edgesbc.sip.digest import credentials_of
from edgesbc.sip.message import Request

__all__ = ["KnownDevices"]


class KnownDevices:
    """Devices by account and Call-ID: no Contact of a program has an instance, or a name that ends in ``.invalid``."""

    def __init__(self) -> None:
        self._flows: dict[tuple[object, str], list[Flow]] = {}
        self._of_flow: dict[FlowKey, set[tuple[object, str]]] = {}

    def record(self, flow: Flow, request: Request) -> None:
        """Record a REGISTER with credentials, whatever its answer is."""
        credentials = credentials_of(request.get_all("Authorization"))
        if request.method == "REGISTER" and credentials is not None:
            device = (credentials.account, request.call_id)
            self._flows.setdefault(device, []).append(flow)
            self._of_flow.setdefault(flow.key, set()).add(device)

    def former(self, flow: Flow) -> list[Flow]:
        """All other flows of the devices that have registered by ``flow``."""
        devices = self._of_flow.get(flow.key, set())
        return [former for device in devices for former in self._flows[device] if former != flow]

    def are_of_one(self, former: Flow, flow: Flow) -> bool:
        return former in self.former(flow)
