"""ContactTokens: the sealed tokens in our Contact and Path fields: makes them, and finds where they lead.

A token holds all that a request needs to find its way (:class:`edgesbc.signalling.tokens.RemoteTarget`), so that a
request inside a dialog can be routed without the call.
"""

from __future__ import annotations

from collections.abc import Callable

from edgesbc.base.address import Flow, Listener, Zone
from edgesbc.signalling import topology
from edgesbc.signalling.call import Leg, learn_target, remote_target, route_set
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.tokens import RemoteTarget, Sealer
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Message, Request

__all__ = ["ContactTokens"]


class ContactTokens:
    """Makes and opens the tokens. ``sealer`` encrypts them; ``flows`` has the connections that they may name;
    ``instead`` is :meth:`edgesbc.signalling.device_flows.DeviceFlows.instead`."""

    __slots__ = ("_flows", "_instead", "_sealer")

    def __init__(self, flows: Flows, sealer: Sealer, instead: Callable[[int, float], Flow | None]) -> None:
        self._flows = flows
        self._instead = instead
        self._sealer = sealer

    # --- tokens that are given out -----------------------------------------------------------------------

    def contact_for(self, leg: Leg, holder: Flow) -> str:
        """The Contact value that stands for ``leg``'s peer in messages to the peer at ``holder``; "" while it has none.

        It is sealed again only when its content changes, so that a call has the same Contact in each answer.
        """
        if not leg.contact:
            return ""
        content = (leg.contact, leg.routes, leg.flow, holder.listener.id)
        if leg.token_for != content:
            token = self._sealer.seal(remote_target(leg, self._flows.epoch), holder.listener.zone)
            leg.token = topology.contact(holder.listener, token)
            leg.token_for = content
        return leg.token

    def contact_for_sender(self, message: Message, sender: Flow, holder: Flow) -> str:
        """The Contact value for the sender of a message that belongs to no call, such as SUBSCRIBE."""
        leg = Leg(sender)
        leg.routes = route_set(message)
        learn_target(leg, message)
        return self.contact_for(leg, holder)

    def path(self, request: Request, sender: Flow, listener: Listener) -> Fields:
        """The Path field that leads back to the flow of a REGISTER's sender (RFC 3327, RFC 5626), as ``listener``
        sends it, and *path* in Supported where it is missing."""
        target = RemoteTarget(sender.listener.name, sender.peer, sender.serial, self._flows.epoch, "")
        uri = topology.contact(listener, self._sealer.seal(target, listener.zone))
        fields = [("Path", f"{uri[:-1]};lr>")]
        if "path" not in (request.get("Supported") or "").replace(",", " ").split():
            fields.append(("Supported", "path"))
        return fields

    # --- tokens that come back ---------------------------------------------------------------------------

    def open(self, token: str, holder: Flow) -> RemoteTarget | None:
        """The target of a token that a peer at ``holder`` presents; None for a token that the edge has not made."""
        return self._sealer.open(token, holder.listener.zone)

    def registered_target(self, request: Request, sender: Flow) -> RemoteTarget | None:
        """The registered flow that a request from the core names: in the Path value that it has as Route, or as
        Request-URI."""
        if sender.listener.zone is not Zone.CORE:
            return None
        route = request.get("Route")
        for uri in ([parse_name_addr(route).uri] if route else []) + [request.uri]:
            if uri.user and self._flows.is_ours(uri.host, uri.port):
                target = self._sealer.open(uri.user, Zone.CORE)
                if target is not None:
                    return target
        return None

    def is_open(self, flow: Flow) -> bool:
        """Whether the connection of ``flow`` is open; over UDP nothing can close."""
        return self._flows.is_open(flow)

    def is_now(self, former: Flow, flow: Flow, now: float) -> bool:
        """Whether the device that was reached by ``former`` has registered by ``flow`` since."""
        return self._instead(former.serial, now) == flow

    def target_of(self, leg: Leg) -> RemoteTarget:
        """Where requests to ``leg``'s peer go."""
        return remote_target(leg, self._flows.epoch)

    def flow_to(self, target: RemoteTarget, now: float) -> Flow | None:
        """The flow to a target; None where its connection, or its listener, is gone.

        A token of Path, which has no URI, never leads to another connection: the registrar has the token of the
        device's last registration, and a request for one that is lost is refused at once, so that it can try another
        binding (RFC 5626 section 5.3.1).
        """
        if target.serial and target.uri and target.epoch == self._flows.epoch:
            flow = self._instead(target.serial, now)
            if flow is not None:
                return flow
        return self._flows.of(target)

    def next_hop(self, target: RemoteTarget, request: Request, now: float) -> NextHop | None:
        """The next hop of a request to a target; None where its connection, or its listener, is gone."""
        flow = self.flow_to(target, now)
        return NextHop(flow, target.uri or str(request.uri), target.routes) if flow is not None else None
