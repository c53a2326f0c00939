"""ContactTokens: the sealed tokens in our Contact and Path fields: makes them, and finds where they lead.

A token holds all that a request needs to find its way (:class:`edgesbc.signalling.tokens.RemoteTarget`), so that a
request inside a dialog can be routed without the call. It also says which requests may have it: those of its dialog,
from the peer that it was given to. That is the address of the peer (the /64 of IPv6), or its trunk, account or
destination set: a trunk has several addresses, and a phone may change its own. Servers on the private side continue
each other's dialogs, so that a token given to one is good for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from edgesbc.base.address import Flow, Listener, Zone
from edgesbc.base.prefixes import source_key
from edgesbc.screen.standing import Standing
from edgesbc.signalling import topology
from edgesbc.signalling.call import GivenToken, Leg, learn_target, remote_target, route_set
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.long_targets import LONG_TARGET, LongTargets
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.tokens import RemoteTarget, Sealer, TokenKind, dialog_digest, holder_digest
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Message, Request
from edgesbc.sip.uri import Param, Uri

__all__ = ["ContactTokens"]

_OF_DIALOGS: Final = frozenset({TokenKind.CALL, TokenKind.EVENT, TokenKind.REFERRED})


class ContactTokens:
    """Makes and opens the tokens. ``sealer`` encrypts them; ``flows`` has the connections that they may name;
    ``instead`` is :meth:`edgesbc.signalling.device_flows.DeviceFlows.instead`. ``live`` knows trunks and accounts;
    ``set_at`` gives the name of the destination set that has a flow's peer, "" for none."""

    __slots__ = ("_flows", "_instead", "_live", "_long", "_sealer", "_set_at")

    def __init__(
        self,
        flows: Flows,
        sealer: Sealer,
        instead: Callable[[int, float], Flow | None],
        live: LivePipeline,
        set_at: Callable[[Flow], str],
    ) -> None:
        self._flows = flows
        self._instead = instead
        self._live = live
        self._long = LongTargets()
        self._sealer = sealer
        self._set_at = set_at

    # --- tokens that are given out -----------------------------------------------------------------------

    def contact_for(self, leg: Leg, call_id: str, holder: Flow, now: float, call: int = 0) -> str:
        """The Contact value that stands for ``leg``'s peer in messages to the peer at ``holder``; "" while it has none.

        ``call`` is the number of the call, 0 for a dialog that belongs to none, such as that of SUBSCRIBE. The token is
        sealed again only when its content changes, so that a call has the same Contact in each answer.
        """
        if not leg.contact:
            return ""
        names = self._holder_names(holder, now)
        content = (leg.contact, leg.routes, leg.flow, leg.tag, holder.listener.id, names)
        given = leg.given
        if given is None or given.content != content:
            target = remote_target(leg, self._flows.epoch)
            target.kind = TokenKind.CALL if call else TokenKind.EVENT
            target.call = call
            target.dialog = dialog_digest(call_id, leg.tag)
            target.holders = tuple([holder_digest(word, name) for word, name in names])
            token = self._seal(target, leg, holder, now)
            contact = topology.contact(holder.listener, token)
            is_whole = target.uri == leg.contact  # and no text of it is kept in LongTargets
            given = leg.given = GivenToken(contact, token, content, leg.tag, target if is_whole else None)
        return given.contact

    def contact_for_sender(self, message: Message, sender: Flow, holder: Flow, now: float, call: int = 0) -> str:
        """The Contact value for the sender of a message that belongs to no call, or to another fork of one."""
        leg = Leg(sender)
        leg.tag = message.from_tag if isinstance(message, Request) else message.to_tag
        leg.routes = route_set(message)
        learn_target(leg, message)
        return self.contact_for(leg, message.call_id, holder, now, call)

    def referral(self, leg: Leg, uri: str, holder: Flow, call: int, until: int, now: float) -> str:
        """A token by which the peer at ``holder`` reaches ``uri`` through ``leg``'s peer, which has referred it there
        within the call with that number; ``until`` is its end (seconds, the plane's clock)."""
        target = remote_target(leg, self._flows.epoch)
        target.uri, target.routes = uri, ()
        target.kind, target.call, target.until = TokenKind.REFERRED, call, until
        target.holders = tuple([holder_digest(word, name) for word, name in self._holder_names(holder, now)])
        return self._seal(target, leg, holder, now)

    def _seal(self, target: RemoteTarget, leg: Leg, holder: Flow, now: float) -> str:
        """A token for the peer at ``holder``; texts of ``leg``'s peer that are too long for it are kept here."""
        if self._long.are_long(target.uri, target.routes):
            standings = self._live.standings
            has_account = standings.of(leg.flow, now) >= Standing.REGISTERED
            peer = standings.call_holder(leg.flow, True, now)
            target.uri, target.routes = self._long.keep(target.uri, target.routes, has_account, peer), ()
        return self._sealer.seal(target, holder.listener.zone)

    @staticmethod
    def uri_at(listener: Listener, user: str, params: Iterable[Param] = (), headers: str = "") -> Uri:
        """A URI of the edge for the peers of a listener."""
        own = parse_name_addr(topology.contact(listener, user)).uri
        return Uri(own.scheme, own.user, own.host, own.port, [*own.params, *params], headers)

    def _holder_names(self, holder: Flow, now: float) -> tuple[tuple[str, str], ...]:
        """What the peer at ``holder`` is known by: its address, and its trunk, account or destination set if it has
        one. Empty on the private side. A flow of several accounts has none here: it may be that of a proxy."""
        if holder.listener.zone is Zone.CORE:
            return ()
        address = ("address", source_key(holder.peer[0]))
        standings = self._live.standings
        trunk = standings.trunk(holder)
        if trunk is not None:
            return address, ("trunk", trunk)
        accounts = standings.accounts(holder, now)
        if len(accounts) == 1:
            return address, ("account", str(accounts[0]))
        set_name = self._set_at(holder)
        return (address, ("set", set_name)) if set_name else (address,)

    def path(self, request: Request, sender: Flow, listener: Listener) -> Fields:
        """The Path field that leads back to the flow of a REGISTER's sender (RFC 3327, RFC 5626), as ``listener``
        sends it, and *path* in Supported where it is missing."""
        target = RemoteTarget(sender.listener.name, sender.peer, sender.serial, self._flows.epoch, "")
        uri = topology.contact(listener, self._sealer.seal(target, listener.zone))
        fields = [("Path", f"{uri[:-1]};lr>")]
        if "path" not in (request.get("Supported") or "").replace(",", " ").split():
            fields.append(("Supported", "path"))
        return fields

    def binding(self, uri: str, sender: Flow) -> str:
        """The token of a Contact that a registrar binds in the place of ``uri``, that of a REGISTER's sender.

        Over UDP it is the same in each run of the edge; a connection ends with the run.
        """
        epoch = self._flows.epoch if sender.serial else ""
        target = RemoteTarget(sender.listener.name, sender.peer, sender.serial, epoch, uri, kind=TokenKind.BINDING)
        return self._sealer.seal(target, Zone.CORE)

    # --- tokens that come back ---------------------------------------------------------------------------

    def open(self, token: str, holder: Flow) -> RemoteTarget | None:
        """The target of a token that a peer at ``holder`` presents; None for a token that the edge has not made.

        Who may use it, and in which dialog, is another question: see :meth:`is_holder`.
        """
        return self._with_texts(self._sealer.open(token, holder.listener.zone))

    def _with_texts(self, target: RemoteTarget | None) -> RemoteTarget | None:
        """A target with the long texts that its token names; None where they are not kept any more."""
        if target is None or not target.uri.startswith(LONG_TARGET):
            return target
        texts = self._long.find(target.uri)
        if texts is None:
            return None
        target.uri, target.routes = texts[0], texts[1:]
        return target

    def is_at_edge(self, uri: Uri) -> bool:
        """Whether the host and port of a URI are those of a listener."""
        return self._flows.is_ours(uri.host, uri.port)

    def is_edge(self, flow: Flow) -> bool:
        """Whether messages by ``flow`` go to the edge itself: a server inside that is on the way of no dialog has shown
        each side a Contact of the edge."""
        return self._flows.is_ours(flow.peer.host, flow.peer.port)

    def is_holder(self, target: RemoteTarget, flow: Flow, now: float) -> bool:
        """Whether a token was given to the peer at ``flow``, or to none in particular."""
        holders = target.holders
        if not holders or holder_digest("address", source_key(flow.peer[0])) in holders:
            return True
        if len(holders) == 1:
            return False
        standings = self._live.standings
        trunk, set_name = standings.trunk(flow), self._set_at(flow)
        names = [("account", str(account)) for account in standings.accounts(flow, now)]
        names += [("trunk", trunk)] if trunk is not None else []
        names += [("set", set_name)] if set_name else []
        return any(holder_digest(word, name) in holders for word, name in names)

    def call_named_by(self, target: RemoteTarget | None) -> int:
        """The number of the call that a token names; 0 for none, and for a call of another run."""
        return target.call if target is not None and target.epoch == self._flows.epoch else 0

    def is_of_this_run(self, target: RemoteTarget) -> bool:
        """Whether a token was made since the edge started."""
        return target.epoch == self._flows.epoch

    def is_related(self, former: Flow, flow: Flow) -> bool:
        """Whether both flows are of one trunk, or of one account."""
        return self._live.standings.related(former, flow)

    def registered_target(self, request: Request, sender: Flow) -> RemoteTarget | None:
        """The registered flow that a request from the core names: in the Path value that it has as Route, or as
        Request-URI."""
        if sender.listener.zone is not Zone.CORE:
            return None
        route = request.get("Route")
        for uri in ([parse_name_addr(route).uri] if route else []) + [request.uri]:
            if uri.user and self._flows.is_ours(uri.host, uri.port):
                target = self._with_texts(self._sealer.open(uri.user, Zone.CORE))
                if target is not None:
                    return target
        return None

    def is_open(self, flow: Flow) -> bool:
        """Whether the connection of ``flow`` is open; over UDP nothing can close."""
        return self._flows.is_open(flow)

    def is_crowded(self, flow: Flow, has_account: bool) -> bool:
        """See :meth:`edgesbc.signalling.flows.Flows.is_crowded`."""
        return self._flows.is_crowded(flow, has_account)

    def is_now(self, former: Flow, flow: Flow, now: float) -> bool:
        """Whether the device that was reached by ``former`` has registered by ``flow`` since."""
        return self._instead(former.serial, now) == flow

    def target_of(self, leg: Leg) -> RemoteTarget:
        """Where requests to ``leg``'s peer go."""
        return remote_target(leg, self._flows.epoch)

    def flow_to(self, target: RemoteTarget, now: float) -> Flow | None:
        """The flow to a target; None where its connection, or its listener, is gone.

        A token of a registration never leads to another connection: the registrar has the token of the
        device's last registration, and a request for one that is lost is refused at once, so that it can try another
        binding (RFC 5626 section 5.3.1).
        """
        if target.kind is TokenKind.BINDING:
            return self._flows.of(target, again=False)
        if target.serial and target.uri and target.epoch == self._flows.epoch:
            flow = self._instead(target.serial, now)
            if flow is not None:
                return flow
        return self._flows.of(target)

    def next_hop(self, target: RemoteTarget, request: Request, now: float) -> NextHop | None:
        """The next hop of a request to a target; None where its connection, or its listener, is gone."""
        flow = self.flow_to(target, now)
        if flow is None:
            return None
        hop = NextHop(flow, target.uri or str(request.uri), target.routes)
        hop.of_dialog = target.kind in _OF_DIALOGS
        return hop
