"""ByeSender: ends dialogs from here: BYE to one side, or ACK and BYE for a 2xx that came too late."""

from __future__ import annotations

from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.signalling import topology
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.leg import Leg, learn_target, route_set
from edgesbc.signalling.request_sender import RequestSender
from edgesbc.sip.build import request_fields
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.transactions import NOBODY

__all__ = ["ByeSender"]


class ByeSender:
    """Sends BYE in the name of one side to the other (RFC 3261 section 15.1.1)."""

    __slots__ = ("_effects", "_sender", "_tokens")

    def __init__(self, effects: EffectQueue, sender: RequestSender, tokens: ContactTokens) -> None:
        self._effects = effects
        self._sender = sender
        self._tokens = tokens

    def bye(self, call_id: str, sender: Leg, receiver: Leg, reason: Reason, now: float) -> None:
        """A BYE to ``receiver`` in the name of ``sender``."""
        flow = self._tokens.flow_to(self._tokens.target_of(receiver))
        if flow is None:
            return
        branch = self._sender.new_branch()
        via, cseq = topology.via(flow.listener, branch), sender.cseq + 1
        fields = request_fields("BYE", via, sender.address, receiver.address, call_id, cseq, receiver.routes)
        fields.append(("Reason", f'SIP;cause=200;text="{reason.code}"'))
        data = serialise(f"BYE {receiver.contact} SIP/2.0", fields, b"")
        self._sender.send(branch, "BYE", flow, data, NOBODY, now, in_dialog=True)

    def acknowledge(self, request: Request, flow: Flow, uri: str, response: Response, bye: bool, now: float) -> None:
        """Acknowledge a 2xx that no caller waits for, and if ``bye``, end its dialog (RFC 3261 section 13.2.2.4).

        ``request`` is the INVITE as it came in; it was forwarded to ``flow`` with the Request-URI ``uri``.
        """
        callee, caller = Leg(flow), Leg(flow)
        callee.address = response.get("To") or ""
        callee.contact = uri
        callee.routes = route_set(response)
        learn_target(callee, response)
        via = topology.via(flow.listener, self._sender.new_branch())
        self._effects.send(flow, topology.refusal_ack(callee.contact, callee.routes, via, request, response))
        if bye:
            caller.address = request.get("From") or ""
            caller.cseq = request.cseq
            self.bye(request.call_id, caller, callee, Reason.SET_UP_TIMEOUT, now)
