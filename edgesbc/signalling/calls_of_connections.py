"""CallsOfConnections: by which connections the peers of live calls are reached."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.signalling.call import Call, CallState

__all__ = ["CallsOfConnections"]


class CallsOfConnections:
    """How many calls live on each connection.

    A call that is being set up lives on the connection of its caller and on those of all hops that its INVITE was sent
    to; from its answer on, on those of its legs. A call has at most ``limits.CONNECTIONS_OF_CALL`` of them besides
    those of its legs, so that the table is bounded by that of the calls. Datagrams have no connection.
    """

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}  # by the serial of the connection; there is no 0

    def __len__(self) -> int:
        return len(self._calls)

    def has_call(self, serial: int) -> bool:
        return serial in self._calls

    def update(self, call: Call) -> None:
        """The legs of ``call`` have changed, or its state."""
        callee = call.callee
        if not (call.connections or call.forks or call.caller.flow.serial or (callee and callee.flow.serial)):
            return  # the usual case of calls over UDP
        legs = [call.caller, *call.forks]
        if callee is not None:
            legs.append(callee)
        serials = {leg.flow.serial for leg in legs} if call.state is not CallState.ENDED else set()
        serials.discard(0)
        before = call.connections
        if call.state is CallState.SETTING_UP and len(before) < limits.CONNECTIONS_OF_CALL:
            serials.update(before)
        for serial in serials - before:
            self._calls[serial] = self._calls.get(serial, 0) + 1
        for serial in before - serials:
            left = self._calls[serial] - 1
            if left:
                self._calls[serial] = left
            else:
                del self._calls[serial]
        call.connections = frozenset(serials)
