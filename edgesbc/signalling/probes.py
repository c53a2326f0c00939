"""Health checks on the wire: OPTIONS to destinations, and what their answers say (RFC 3261 section 11)."""

from __future__ import annotations

from edgesbc.base.address import Zone, host_port
from edgesbc.dispatch.health_monitor import Probe
from edgesbc.signalling import topology
from edgesbc.signalling.dispatched_targets import listener_for
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.transactions import ClientTransaction
from edgesbc.sip.build import request_fields
from edgesbc.sip.message import Response, serialise

__all__ = ["send_probe"]


class _ProbeTransaction:
    """The user of one OPTIONS."""

    __slots__ = ("_board", "_probe")

    def __init__(self, board: Switchboard, probe: Probe) -> None:
        self._board = board
        self._probe = probe

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status >= 200:
            self._board.dispatcher.watch.probe_answered(self._probe, response.status, now)

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        self._board.dispatcher.watch.probe_failed(self._probe, now)


def send_probe(board: Switchboard, probe: Probe, now: float) -> None:
    """Ask a member whether it is alive. Its branch and tag cannot be guessed, so an answer cannot be forged."""
    member = probe.member
    listener = listener_for(board, member, Zone.CORE) or listener_for(board, member, Zone.PUBLIC)
    if listener is None:
        board.dispatcher.watch.probe_failed(probe, now)
        return
    where = host_port(listener.advertise_host, listener.advertise_port)
    branch = board.new_branch()
    uri = member.settings.uri
    from_ = f"<sip:edge@{where}>;tag={board.new_tag()}"
    fields = request_fields("OPTIONS", topology.via(listener, branch), from_, f"<{uri}>", board.new_tag(), 1)
    fields.append(("Accept", "application/sdp"))
    if board.server:
        fields.append(("User-Agent", board.server))
    data = serialise(f"OPTIONS {uri} SIP/2.0", fields, b"")
    flow = board.flows.to(listener, member.target, member.tls_name)
    timeout = member.health.settings.timeout
    board.transactions.open_client(branch, "OPTIONS", flow, data, _ProbeTransaction(board, probe), now, timeout=timeout)
