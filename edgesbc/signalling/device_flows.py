"""DeviceFlows: when the connection of a registered device closes, what is meant for it waits for its next one.

A phone that changes its network, and a browser whose WebSocket breaks, connect and register again within seconds. Until
then the transactions of the lost connection are kept, and requests inside a dialog are added to them; the new
registration moves them to its flow. If none comes in time, they fail as they do when any other connection closes.

A new flow gets what was meant for a lost connection only if *every* device that had registered by that connection has
registered by the new flow: others may share a connection, such as users behind one proxy, and none of them gets
messages of another.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.reasons import Reason
from edgesbc.screen.standing import Standing
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.devices import DeviceKey, DeviceName, Devices
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.transactions import Transactions
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Request
from edgesbc.sip.transaction import ClientTransaction, ServerTransaction, Transaction

__all__ = ["DeviceFlows"]

_UNANSWERED = (TransactionState.CALLING, TransactionState.TRYING, TransactionState.PROCEEDING)


class _LostFlow:
    """A connection that its devices have lost, or have left for another flow.

    ``closed`` is whether it has closed here too; ``until`` is how long its devices are then waited for (seconds, the
    plane's clock). ``acks`` are kept meanwhile: an ACK of a 2xx has no transaction that would send it again.
    """

    __slots__ = ("acks", "closed", "due", "flow", "keys", "owner", "queued", "size", "until")

    def __init__(self, owner: DeviceFlows, flow: Flow, keys: tuple[DeviceKey, ...]) -> None:
        self.owner = owner
        self.flow = flow
        self.keys = keys
        self.closed = False
        self.until = 0.0
        self.acks: list[bytes] = []
        self.size = 0
        self.due: float | None = None
        self.queued: float | None = None

    def keep(self, data: bytes) -> None:
        """A message is sent while the devices are waited for; all but an ACK are kept by their transactions."""
        if data.startswith(b"ACK "):
            self.owner.keep_ack(self, data)

    def expire(self, now: float) -> None:
        self.owner.give_up(self, now)


class DeviceFlows:
    """Where registered devices are reached. ``wait`` is how many seconds the devices of a closed connection are waited
    for; 0: not at all."""

    __slots__ = (
        "_ack_bytes", "_deadlines", "_devices", "_effects", "_flows", "_live", "_lost", "_transactions", "wait",
    )  # fmt: skip

    def __init__(
        self,
        flows: Flows,
        transactions: Transactions,
        effects: EffectQueue,
        deadlines: Deadlines[Expiring],
        live: LivePipeline,
        wait: float,
    ) -> None:
        self._flows = flows
        self._transactions = transactions
        self._effects = effects
        self._deadlines = deadlines
        self._live = live
        self._devices = Devices()
        self._lost: dict[int, _LostFlow] = {}  # by the serial of the connection
        self._ack_bytes = 0
        self.wait = wait

    @property
    def waiting(self) -> int:
        """The number of closed connections for whose devices messages are kept."""
        return len(self._effects.held)

    def __len__(self) -> int:
        """The number of devices that are known."""
        return len(self._devices)

    # --- registrations -----------------------------------------------------------------------------------

    def registered(self, flow: Flow, account: int, request: Request, seconds: float, now: float) -> None:
        """A device has registered by ``flow`` for ``seconds``. If its connection was another, what waits moves here."""
        if flow.listener.zone is not Zone.PUBLIC:
            return
        name = DeviceName(account, request)
        device = self._devices.find(name.key)
        before = device.flow if device is not None else flow
        # Without both, two windows of a browser may have the same instance, and a connection each.
        same_agent = bool(name.reg_id) or (device is not None and device.call_id == name.call_id)
        for removed in self._devices.add(name, flow, now + seconds, now):
            self._forget(removed.former, now)
        lost = self._lost.get(flow.serial)
        if lost is not None and not lost.closed:
            del self._lost[flow.serial]  # the device is back on a connection that it had left
        if device is None or before == flow:
            return
        if same_agent and before.serial and self._flows.is_open(before) and before.serial not in self._lost:
            # The edge learns late that the connection of a device that has changed its network is lost.
            keys = self._devices.on(before.serial)
            if self._all_are_on(flow, keys, now):
                self._lose(before, keys, now)
        for serial in tuple(device.former):
            self._move(serial, now)

    def deregistered(self, flow: Flow, account: int, request: Request, now: float) -> None:
        """A device has removed its registration; with the Contact "*", all devices of the account on ``flow`` have."""
        keys = [DeviceName(account, request).key]
        if request.get("Contact") == "*":
            keys = self._devices.registered_by(flow, account)
        for key in keys:
            device = self._devices.remove(key)
            if device is not None:
                self._forget(device.former, now)

    # --- connections -------------------------------------------------------------------------------------

    def closed(self, flow: Flow, now: float) -> bool:
        """A connection has closed: whether its transactions wait for its devices, or have moved.

        To be called while the flow still has its standing. A trunk's connection is opened anew from here instead.
        REGISTER does not wait, since the device sends another.
        """
        keys = self._devices.leave(flow.serial)
        lost = self._lost.get(flow.serial)
        if lost is None:
            registered = self._live.standings.of(flow, now) is Standing.REGISTERED
            if not keys or not registered or self.wait <= 0 or not self._all_live(keys, now):
                return False
            lost = self._lose(flow, keys, now)
        elif lost.closed:
            return True
        else:
            self._transactions.suspend_connection(flow.serial)
        lost.closed = True
        lost.until = now + self.wait
        self._transactions.fail_connection(flow.serial, now, method="REGISTER")
        if self._move(flow.serial, now):
            return True
        if self._transactions.on_connection(flow.serial):
            self._hold(lost)
        return True

    def instead(self, serial: int, now: float) -> Flow | None:
        """The flow for a request inside a dialog whose peer was reached by that connection; None if no device of it is
        known to be elsewhere, or is waited for."""
        lost = self._lost.get(serial)
        if lost is None:
            return None
        flow = self._flow_of_all(lost, now)
        if flow is not None and flow != lost.flow:
            if self._flows.is_open(flow):
                return flow
            lost = self._lost.get(flow.serial)
        if lost is None or not lost.closed or lost.until <= now or not self._all_live(lost.keys, now):
            return None
        self._hold(lost)
        return lost.flow

    def _lose(self, flow: Flow, keys: tuple[DeviceKey, ...], now: float) -> _LostFlow:
        self._transactions.suspend_connection(flow.serial)
        lost = self._lost[flow.serial] = _LostFlow(self, flow, keys)
        for key in keys:
            device = self._devices.find(key)
            if device is not None:
                device.former.append(flow.serial)
                self._forget(device.former[: -limits.FORMER_CONNECTIONS], now)
                del device.former[: -limits.FORMER_CONNECTIONS]
        return lost

    def _forget(self, serials: list[int], now: float) -> None:
        for serial in serials:
            lost = self._lost.pop(serial, None)
            if lost is not None and serial in self._effects.held:
                self.give_up(lost, now)

    def _all_live(self, keys: tuple[DeviceKey, ...], now: float) -> bool:
        devices = [self._devices.find(key) for key in keys]
        return all(device is not None and device.until > now for device in devices)

    def _all_are_on(self, flow: Flow, keys: tuple[DeviceKey, ...], now: float) -> bool:
        devices = [self._devices.find(key) for key in keys]
        return all(device is not None and device.until > now and device.flow == flow for device in devices)

    def _flow_of_all(self, lost: _LostFlow, now: float) -> Flow | None:
        """The flow by which all devices of a connection have registered last; None if they have none in common."""
        first = self._devices.find(lost.keys[0])
        if first is None or not self._all_are_on(first.flow, lost.keys, now):
            return None
        return first.flow

    # --- what waits --------------------------------------------------------------------------------------

    def _hold(self, lost: _LostFlow) -> None:
        held = self._effects.held
        if lost.flow.serial not in held:
            held[lost.flow.serial] = lost
            self._deadlines.schedule(lost, lost.until)

    def keep_ack(self, lost: _LostFlow, data: bytes) -> None:
        """Keep an ACK within the bounds: beyond them it is lost, as all are whose connection has closed."""
        size = len(data)
        if (
            len(lost.acks) < limits.AWAITED_ACKS
            and lost.size + size <= limits.AWAITED_ACK_BYTES
            and self._ack_bytes + size <= limits.AWAITED_ACK_BYTES_IN_ALL
        ):
            lost.acks.append(data)
            lost.size += size
            self._ack_bytes += size

    def _release(self, lost: _LostFlow) -> list[bytes]:
        """Send to the flow as to any other from now on; the ACKs that were kept."""
        self._effects.held.pop(lost.flow.serial, None)
        self._deadlines.schedule(lost, None)
        acks, lost.acks = lost.acks, []
        self._ack_bytes -= lost.size
        lost.size = 0
        return acks

    def _move(self, serial: int, now: float) -> bool:
        """Move what waits for the devices of a connection to the flow that all of them use now, if there is one."""
        lost = self._lost.get(serial)
        flow = self._flow_of_all(lost, now) if lost is not None else None
        if lost is None or flow is None or flow == lost.flow or not self._flows.is_open(flow):
            return False
        for data in self._release(lost):
            self._effects.send(flow, data)
        call_ids = _call_ids(self._transactions.on_connection(serial))
        for transaction in self._transactions.move_connection(serial, flow, now):
            if isinstance(transaction, ClientTransaction) and isinstance(transaction.user, Branch):
                transaction.user.redirect(flow)
        for call_id in call_ids:
            detail = f"from {lost.flow.peer}, listener {lost.flow.listener.name}"
            self._effects.record(now, Reason.FLOW_MOVED, flow, call_id, detail)
        return True

    def give_up(self, lost: _LostFlow, now: float) -> None:
        """The devices have not come back in time: what waited for them fails."""
        self._release(lost)
        lost.until = now
        for call_id in _call_ids(self._transactions.on_connection(lost.flow.serial)):
            detail = "its device has not registered by a new connection in time"
            self._effects.record(now, Reason.FLOW_GONE, lost.flow, call_id, detail)
        self._transactions.fail_connection(lost.flow.serial, now)


def _call_ids(transactions: tuple[Transaction[Flow], ...]) -> list[str]:
    """The Call-ID of each request of a device that has a response to get, and of each that it has not answered."""
    call_ids: dict[str, None] = {}
    for transaction in transactions:
        if isinstance(transaction, ServerTransaction):
            if not transaction.answered or transaction.data:
                call_ids[transaction.request.call_id] = None
        elif isinstance(transaction, ClientTransaction) and transaction.state in _UNANSWERED:
            user = transaction.user
            if isinstance(user, Branch):
                call_ids[user.call_id] = None
    return list(call_ids)
