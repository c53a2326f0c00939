"""HealthProbes: OPTIONS to members, and what their answers say of their health (RFC 3261 section 11)."""

from __future__ import annotations

from edgesbc.base.address import Zone, host_port
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health_monitor import Probe
from edgesbc.signalling import topology
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.identifiers import Identifiers
from edgesbc.signalling.request_sender import RequestSender
from edgesbc.signalling.targets import listener_for
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.sip.build import request_fields
from edgesbc.sip.message import Response, serialise

__all__ = ["HealthProbes"]


class HealthProbes:
    """Sends the probes that are due. ``server_name`` is the value of User-Agent in them, "" for none."""

    __slots__ = ("_dispatcher", "_flows", "_identifiers", "_sender", "_server_name")

    def __init__(
        self,
        dispatcher: Dispatcher,
        flows: Flows,
        sender: RequestSender,
        identifiers: Identifiers,
        server_name: str,
    ) -> None:
        self._dispatcher = dispatcher
        self._flows = flows
        self._sender = sender
        self._identifiers = identifiers
        self._server_name = server_name

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called."""
        return self._dispatcher.health_monitor.deadline()

    def expire(self, now: float) -> None:
        """Send what is due at ``now``."""
        for probe in self._dispatcher.health_monitor.expire(now):
            self._send(probe, now)

    def _send(self, probe: Probe, now: float) -> None:
        """Ask a member whether it is alive. Branch and tag cannot be guessed, so that an answer cannot be forged."""
        member = probe.member
        listener = listener_for(self._flows, member, Zone.CORE) or listener_for(self._flows, member, Zone.PUBLIC)
        if listener is None:
            self._dispatcher.health_monitor.probe_failed(probe, now)
            return
        where = host_port(listener.advertise_host, listener.advertise_port)
        branch, uri = self._sender.new_branch(), member.settings.uri
        from_, call_id = f"<sip:edge@{where}>;tag={self._identifiers.new_tag()}", self._identifiers.new_tag()
        fields = request_fields("OPTIONS", topology.via(listener, branch), from_, f"<{uri}>", call_id, 1)
        fields.append(("Accept", "application/sdp"))
        if self._server_name:
            fields.append(("User-Agent", self._server_name))
        data = serialise(f"OPTIONS {uri} SIP/2.0", fields, b"")
        flow = self._flows.to(listener, member.target, member.tls_name)
        user = _ProbeTransaction(self._dispatcher, probe)
        self._sender.send(branch, "OPTIONS", flow, data, user, now, timeout=member.health.settings.timeout)


class _ProbeTransaction:
    """The user of the client transaction of one OPTIONS."""

    __slots__ = ("_dispatcher", "_probe")

    def __init__(self, dispatcher: Dispatcher, probe: Probe) -> None:
        self._dispatcher = dispatcher
        self._probe = probe

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status >= 200:
            self._dispatcher.health_monitor.probe_answered(self._probe, response.status, now)

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        self._dispatcher.health_monitor.probe_failed(self._probe, now)
