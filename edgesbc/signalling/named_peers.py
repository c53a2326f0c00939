"""NamedPeers: peers that a message names by a Contact of the edge outside the dialog of that Contact.

A Contact is good outside its dialog (RFC 3261 section 8.1.1.8): in a transfer, a REFER has it in Refer-To (RFC 3515),
and a new INVITE in its Request-URI, with Replaces (RFC 3891, RFC 5589). Each peer knows its own Contacts of the edge
only, so Refer-To and Referred-By are translated where they cross. Call-ID and tags in Replaces, Join and Target-Dialog
are the same on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.errors import WireError
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.screen.standing import Standing
from edgesbc.signalling.call import Call, Leg, learn_target, route_set
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.header_rules import FieldFilter
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.targets import NamedTarget, NextHop
from edgesbc.signalling.tokens import SHORTEST_TOKEN, RemoteTarget, TokenKind
from edgesbc.sip.grammar import CANONICAL
from edgesbc.sip.headers import NameAddr, parse_name_addr
from edgesbc.sip.message import Request, Response
from edgesbc.sip.uri import Param, Uri
from edgesbc.sip.values import parse_contact

__all__ = ["NamedPeers"]

_NAMING: Final = ("Refer-To", "Referred-By")
_OF_A_REQUEST: Final = frozenset({"method"})
"""A parameter that has no place in a Request-URI (RFC 3261 section 19.1.1, table 1): it stays outside the token."""
_OF_AN_ALTERNATIVE: Final = frozenset({"q", "expires"})
_OF_A_PLACE: Final = frozenset({"transport", "maddr", "ttl", "lr"})
_NOT_HONOURED: Final = frozenset({"From", "To", "Call-ID", "CSeq", "body"})
"""Header fields of a URI that its reader ignores (RFC 3261 section 19.1.5), and a body, which no media plane sees."""


class NamedPeers:
    """Finds the peers that requests name, and names them on the other side.

    ``is_inside`` is whether a host is of the private side: an address of it, or the name of a destination that no
    public peer knows as a domain.
    """

    __slots__ = ("_calls", "_dispatcher", "_is_inside", "_live", "_tokens")

    def __init__(
        self,
        tokens: ContactTokens,
        calls: Calls,
        live: LivePipeline,
        dispatcher: Dispatcher,
        is_inside: Callable[[str], bool],
    ) -> None:
        self._tokens = tokens
        self._calls = calls
        self._live = live
        self._dispatcher = dispatcher
        self._is_inside = is_inside

    # --- new requests ------------------------------------------------------------------------------------

    def target_of(self, request: Request, sender: Flow) -> RemoteTarget | None:
        """What the token leads to that a new request of the public side has in its Request-URI; None without one.

        Whether the sender may use it is another question: :meth:`may_reach`. REGISTER and PUBLISH name no peer.
        """
        user = request.uri.user or ""
        if len(user) < SHORTEST_TOKEN or request.method == "REGISTER" or request.method == "PUBLISH":
            return None
        return self._tokens.open(user, sender) if sender.listener.zone is Zone.PUBLIC else None

    def is_named(self, request: Request, sender: Flow) -> bool:
        """Whether the Request-URI has a token of the edge, which names another peer than the edge itself."""
        user = request.uri.user or ""
        return len(user) >= SHORTEST_TOKEN and self._tokens.open(user, sender) is not None

    def may_reach(self, target: RemoteTarget, sender: Flow, standing: Standing, now: float) -> bool:
        """Whether ``sender`` may send a new request to the peer that a token names.

        Trunks and registered users may call anybody whose Contact they have; others only those with whom they have a
        call. What a REFER named is for the peer that was referred to it alone, and for a while.
        """
        tokens = self._tokens
        if target.kind is TokenKind.FIRST_FORM:
            return False
        if target.kind is TokenKind.REFERRED:
            if not tokens.is_of_this_run(target) or now >= target.until or not tokens.is_holder(target, sender, now):
                return False
            return standing >= Standing.REGISTERED or self._calls.numbered(target.call) is not None
        if standing >= Standing.REGISTERED:
            return True
        return self._calls.numbered(tokens.call_named_by(target)) is not None and tokens.is_holder(target, sender, now)

    def hop_to(self, target: RemoteTarget, request: Request, standing: Standing, now: float) -> NamedTarget | None:
        """The hop of a new request to a server of the private side; None where its connection is gone, or as many
        requests wait for it as may.

        It takes a place there, as any other, if the server is a destination. The route set is that of the dialog: a
        proxy on it gets the request, and no Route, which it would refuse outside that dialog.
        """
        flow = self._tokens.flow_to(target, now)
        if flow is None or self._tokens.is_crowded(flow, standing >= Standing.REGISTERED):
            return None
        selection = SelectionRequest(call=request.method == "INVITE")
        return NamedTarget(NextHop(flow, target.uri), self._dispatcher, selection)

    # --- Refer-To and Referred-By ------------------------------------------------------------------------

    def translated(self, request: Request, sender: Flow, receiver: Flow, call: Call | None, now: float) -> Request:
        """``request`` as ``receiver`` gets it: it names peers as they are known on that side.

        Towards the private side, a token becomes the Contact that it stands for, if the sender may reach that. Towards
        the public side, what is inside becomes a token for the receiver, or an address of the edge if the URI names a
        user and no dialog there. Of the header fields in a URI those cross that would as fields of the message. Between
        the edge and itself all stays: the peers are both of the public side, and nobody inside has referred one to the
        other.
        """
        if self._tokens.is_edge(receiver):
            return request
        fields, leg = [], _sender_leg(request, sender, call)
        number = 0 if call is None else call.number
        for name, value in request.fields:
            translated = self._translate(value, leg, sender, receiver, number, now) if name in _NAMING else value
            if translated:
                fields.append((name, translated))
        return request.replace(fields=fields)

    def _translate(self, value: str, leg: Leg, sender: Flow, receiver: Flow, call: int, now: float) -> str:
        """A value for the side of ``receiver``; "" for one that cannot be read and could show what is inside."""
        outward = receiver.listener.zone is Zone.PUBLIC
        try:
            address = parse_name_addr(value)
            uri = address.uri
        except WireError:
            return "" if outward else value
        cleaned = self._cleaned(uri, sender, receiver, now)
        kept = uri if cleaned is None else cleaned
        other = self._outward(kept, leg, sender, receiver, call, now) if outward else self._inward(kept, sender, now)
        if other is None and cleaned is None:
            return value
        return str(NameAddr(address.display, str(other or kept), address.params))

    def _cleaned(self, uri: Uri, sender: Flow, receiver: Flow, now: float) -> Uri | None:
        """``uri`` without header fields that do not cross to ``receiver``, and outward without what names a host of the
        inside beside the host of the URI; None if that is all of it. Its reader puts the fields into a request of its
        own, where they would come past the edge."""
        outward = receiver.listener.zone is Zone.PUBLIC
        params, headers = uri.params, uri.headers
        if outward and any(name == "maddr" and self._is_inside(host or "") for name, host in params):
            params = tuple([pair for pair in params if pair[0] != "maddr"])
        if headers:
            crossing = self._live.crossing(self._live.standings.of(sender, now), receiver, now)
            kept = [pair for pair in headers.split("&") if self._crosses(*_header_field(pair), crossing, outward)]
            headers = "&".join(kept)
        if headers == uri.headers and params is uri.params:
            return None
        return Uri(uri.scheme, uri.user, uri.host, uri.port, params, headers, uri.opaque)

    def _crosses(self, name: str, value: str, crossing: FieldFilter, outward: bool) -> bool:
        """Whether a header field in a URI crosses."""
        if name in _NOT_HONOURED or not crossing.crossing([(name, value)]):
            return False
        if not outward:
            return True
        try:
            host = parse_name_addr(value).uri.host
        except WireError:
            return True  # it names no host, as Replaces
        return not self._is_inside(host)

    def _inward(self, uri: Uri, sender: Flow, now: float) -> Uri | None:
        """The Contact that a URI of the public side stands for; None to leave it."""
        target = self._tokens.open(uri.user, sender) if uri.user and len(uri.user) >= SHORTEST_TOKEN else None
        if target is None or not self.may_reach(target, sender, self._live.standings.of(sender, now), now):
            return None
        known = parse_name_addr(f"<{target.uri}>").uri
        return Uri(
            known.scheme, known.user, known.host, known.port, [*known.params, *_kept(uri)], uri.headers, known.opaque
        )

    def _outward(self, uri: Uri, leg: Leg, sender: Flow, receiver: Flow, call: int, now: float) -> Uri | None:
        """What stands on the public side for a URI that the peer of ``leg`` names; None to leave it."""
        if uri.opaque or not self._is_inside(uri.host):
            return None
        user = uri.user
        if user is not None and not uri.headers and self._tokens.open(user, sender) is None:
            params = [pair for pair in uri.params if pair[0] not in _OF_A_PLACE]
            return self._tokens.uri_at(receiver.listener, user, params)
        named = str(Uri(uri.scheme, user, uri.host, uri.port, _without_method(uri)))
        until = int(now + limits.REFERRED_SECONDS)
        token = self._tokens.referral(leg, named, receiver, call, until, now)
        return self._tokens.uri_at(receiver.listener, token, _kept(uri), uri.headers)

    # --- Contacts of redirections -------------------------------------------------------------------------

    def redirections(self, response: Response, sender: Flow, receiver: Flow, call: int, now: float) -> list[str]:
        """The Contact values of a 3xx or 485 (RFC 3261 sections 21.3 and 21.4.23) as ``receiver`` gets them; none of
        another refusal. ``call`` is the number of its call, 0 for none.

        The private side gets them all, to act on. A public peer gets them if the policy says so, translated as in
        Refer-To. A value is left out that cannot be read, or that has a token of the edge which leads nowhere.
        """
        outward = receiver.listener.zone is Zone.PUBLIC
        if response.status >= 400 and response.status != 485:
            return []
        if outward and self._live.standings.of(receiver, now) not in self._live.headers.redirected:
            return []
        values, leg = [], Leg(sender)
        for value in response.get_all("Contact")[: limits.REDIRECTIONS]:
            try:
                contact = parse_contact(value)
                uri = self._redirection(contact.uri, leg, sender, receiver, call, now)
            except WireError:
                continue
            if uri is not None:
                params = [pair for pair in contact.params if not outward or pair[0] in _OF_AN_ALTERNATIVE]
                values.append(str(NameAddr(contact.display, str(uri), params)))
        return values

    def _redirection(self, uri: Uri, leg: Leg, sender: Flow, receiver: Flow, call: int, now: float) -> Uri | None:
        """The URI of one alternative; None to leave it out."""
        outward = receiver.listener.zone is Zone.PUBLIC
        if outward and uri.opaque and uri.scheme != "tel":
            return None  # it may name a host of the inside
        user = uri.user or ""
        if len(user) >= SHORTEST_TOKEN and self._tokens.is_at_edge(uri) and self._tokens.open(user, sender) is None:
            return None
        if not outward:
            uri = self._cleaned(uri, sender, receiver, now) or uri
            target = self._inward(uri, sender, now)
            left = target is None and len(user) >= SHORTEST_TOKEN and self._tokens.is_at_edge(uri)
            return None if left else target or uri
        if uri.opaque:
            return uri
        params = [pair for pair in uri.params if pair[0] != "maddr"]
        plain = Uri(uri.scheme, uri.user, uri.host, uri.port, params)
        return self._outward(plain, leg, sender, receiver, call, now) or plain


def _header_field(pair: str) -> tuple[str, str]:
    """A header field of a URI, unescaped, by its usual name."""
    name, _, value = pair.partition("=")
    name = unquote(name)
    return CANONICAL.get(name) or CANONICAL.get(name.lower()) or name, unquote(value)


def _kept(uri: Uri) -> list[Param]:
    return [pair for pair in uri.params if pair[0] in _OF_A_REQUEST]


def _without_method(uri: Uri) -> list[Param]:
    return [pair for pair in uri.params if pair[0] not in _OF_A_REQUEST]


def _sender_leg(request: Request, sender: Flow, call: Call | None) -> Leg:
    """The sender of a request: its leg in the call, or what the request says of it."""
    legs = call.legs_of(request.from_tag, request.to_tag) if call is not None else None
    if legs is not None:
        return legs[0]
    leg = Leg(sender)
    leg.routes = route_set(request)
    learn_target(leg, request)
    return leg
