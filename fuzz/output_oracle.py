"""Checks the content of the messages of the edge: its own header fields, and fields that passed the screen."""

from __future__ import annotations

import re

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.screen.standing import Standing
from edgesbc.sip.grammar import CANONICAL
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Message, Request, Response
from edgesbc.sip.uri import Uri
from fuzz.environment import EDGE_HOSTS, LISTENERS

__all__ = ["OutputOracle"]

_DESCRIPTION = re.compile(rb"(?:^|[\r\n])v=0[\r\n]").search
_NEGOTIATING = ("INVITE", "ACK", "UPDATE", "PRACK")
_MEMBER_HOSTS = ("10.0.0.11", "10.0.0.12", "10.0.0.13", "198.51.100.7")
_TRUNK_HOSTS = ("198.51.100.7", "198.51.100.8")
_NEVER_CROSS = {"Via", "Route", "Record-Route", "Contact", "Path", "Service-Route", "Max-Forwards", "Max-Breadth"}
_REVEALING = {"Server", "User-Agent", "Warning", "Call-Info", "Error-Info"}
_ASSERTED = {"P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"}
_NOT_OF_STRANGERS = {"Alert-Info", "Call-Info", "Error-Info", "Answer-Mode", "Priv-Answer-Mode", "Geolocation"}
_NAMING = {"Refer-To", "Referred-By"}
_NUMBER = re.compile(r"[0-9]{1,3}").fullmatch
_NONCE = re.compile(r'\b(?:nonce|opaque)="[^"]*"', re.IGNORECASE)
_REASONS_OF_EDGE = {
    "BYE": re.compile(r'SIP;cause=200;text="[a-z-]+"').fullmatch,
    "CANCEL": re.compile(r'SIP;cause=(200;text="Call completed elsewhere"|6[0-9]{2})').fullmatch,
}


def _transport_parameter(listener: Listener) -> str:
    """What a URI of the edge says of the transport of a listener (RFC 7118 section 5.2: ``ws`` for WSS too)."""
    if listener.transport is Transport.UDP:
        return ""
    return ";transport=ws" if listener.transport is Transport.WSS else f";transport={listener.transport.value}"


def _own_uri(listener: Listener, end: str) -> re.Pattern[str]:
    own = rf"{re.escape(listener.host)}:{listener.port}{_transport_parameter(listener)}{end}"
    return re.compile(rf"<sip:[A-Za-z0-9_-]{{48,}}@{own}>")


_CONTACTS = {listener.id: _own_uri(listener, "").fullmatch for listener in LISTENERS}
_PATHS = {listener.id: _own_uri(listener, ";lr").fullmatch for listener in LISTENERS}
_VIAS = {
    listener.id: re.compile(
        rf"SIP/2\.0/{listener.transport.upper()} {re.escape(listener.host)}:{listener.port}"
        rf";branch=z9hG4bK[0-9a-f]{{24}}([0-9a-f]{{12}}){{0,{limits.LOOP_MARKS}}};rport"
    ).fullmatch
    for listener in LISTENERS
}


class OutputOracle:
    """The header fields and descriptions that each side received, and checks that messages contain no others.

    ``anchor``: session descriptions pass through the media plane, and only those in its replies may be sent.
    """

    def __init__(self, anchor: bool) -> None:
        self._anchor = anchor
        self._fields: dict[Zone, set[tuple[str, str]]] = {zone: set() for zone in Zone}
        self._addresses: set[str] = set()  # From and To of either side, since a BYE may swap them
        self._call_ids: set[str] = set()
        self._numbers: set[int] = set()  # of CSeq
        self._uris: set[str] = set()
        self._relayed: dict[Zone, set[bytes]] = {zone: set() for zone in Zone}
        self._of_accounts: set[tuple[str, str]] = set()  # from peers with an account
        self._asserted: set[tuple[str, str]] = set()  # by trunks

    def learn(self, flow: Flow, message: Message, standing: Standing) -> None:
        """Record a message that passed the screen, from a sender of that standing."""
        if standing >= Standing.REGISTERED:
            self._of_accounts.update(message.fields)
        if flow.listener.zone is Zone.PUBLIC and standing is Standing.TRUNK:
            self._asserted.update(pair for pair in message.fields if pair[0] in _ASSERTED)
        self._fields[flow.listener.zone].update(message.fields)
        self._addresses.update((message.get("From") or "", message.get("To") or ""))
        self._call_ids.add(message.call_id)
        self._numbers.add(message.cseq)
        if isinstance(message, Request):
            self._uris.add(str(message.uri))
        for value in [*message.get_all("Contact"), message.get("From") or ""]:
            self._learn_uri(value)

    def _learn_uri(self, value: str) -> None:
        try:
            address = parse_name_addr(value)
            uri = address.uri
        except WireError:
            return
        self._uris.add(address.uri_text)
        self._uris.add(str(Uri(uri.scheme, uri.user, uri.host, uri.port, uri.params)))

    def relay(self, zone: Zone, sdp: bytes) -> None:
        """Record a description that the media plane gave for a zone."""
        self._relayed[zone].add(sdp)

    # --- requests ----------------------------------------------------------------------------------------

    def check_request(self, flow: Flow, request: Request) -> None:
        for name, value in request.fields:
            assert self._may_contain(flow, request, name, value), f"{name}: {value} in {request!r} to {flow!r}"
        assert len(request.get_all("Via")) == 1, f"several Vias in {request!r}"
        assert len(request.get_all("Contact")) < 2 or request.method == "REGISTER", f"Contacts in {request!r}"
        assert self._knows_uri(request.uri), f"{request!r} has an unknown Request-URI"
        self._check_body(flow, request, request.method, False)

    def _may_contain(self, flow: Flow, request: Request, name: str, value: str) -> bool:
        listener, method = flow.listener, request.method
        zone = listener.zone
        if name == "Via":
            return _VIAS[listener.id](value) is not None
        if name in ("Max-Forwards", "Max-Breadth"):
            return _NUMBER(value) is not None
        if (name, value) == ("Content-Type", "application/sdp"):
            return True  # of a description that stood in a multipart body
        if name == "Route":  # from the receiver's own side
            return ("Record-Route", value) in self._fields[zone]
        if name == "Contact":
            registers = method == "REGISTER" and ("Contact", value) in self._fields[zone.other]
            own = f"<{request.from_.uri_text}{_transport_parameter(listener)}>"
            probes = _is_health_check(request) and value == own
            return registers or probes or _CONTACTS[listener.id](value) is not None
        if name == "Path":
            return method == "REGISTER" and _PATHS[listener.id](value) is not None
        if name in ("From", "To"):
            return value in self._addresses or _is_health_check(request)
        if name == "Call-ID":
            return value in self._call_ids or _is_health_check(request)
        if name == "CSeq":
            is_next = method == "BYE" and (request.cseq == 1 or request.cseq - 1 in self._numbers)
            known = request.cseq in self._numbers or is_next
            return known or _is_health_check(request)
        if (name, value) == ("Supported", "path") and method == "REGISTER":
            return True
        if name == "Reason" and method in _REASONS_OF_EDGE and _REASONS_OF_EDGE[method](value):
            return True
        if name in _NAMING:
            return self._names_peer(flow, name, value)
        if name in ("Accept", "Allow") and _is_health_check(request):
            return True  # of the policy
        return self._crosses(flow, name, value)

    def _names_peer(self, flow: Flow, name: str, value: str) -> bool:
        """Whether a field may name that peer to the receiver: as it came, unless it is of the other side only; by the
        edge's own address there; or by a URI of the receiver's side."""
        crosses = self._crosses(flow, name, value)
        try:
            uri = parse_name_addr(value).uri
        except WireError:
            return crosses and flow.listener.zone is Zone.CORE
        if flow.listener.zone is Zone.PUBLIC:
            return uri.host in EDGE_HOSTS[Zone.PUBLIC] or (crosses and not uri.host.startswith("10.0.0."))
        return crosses or self._knows_uri(Uri(uri.scheme, uri.user, uri.host, uri.port, uri.params))

    def _crosses(self, flow: Flow, name: str, value: str) -> bool:
        """Whether a field may cross from the other side to ``flow``, see docs/reference/deviations.md."""
        zone = flow.listener.zone
        if name in _ASSERTED:  # from a trunk, or to one
            if zone is Zone.CORE:
                return (name, value) in self._asserted
            return flow.peer.host in _TRUNK_HOSTS and (name, value) in self._fields[Zone.CORE]
        if name in _NEVER_CROSS or name[1:2] == "-":
            return False
        if name in _REVEALING and zone is Zone.PUBLIC:
            return False
        if "_" in name and name.replace("_", "-").lower() in CANONICAL:  # another spelling of a known field
            return False
        if name in _NOT_OF_STRANGERS and zone is Zone.CORE and (name, value) not in self._of_accounts:
            return False
        return (name, value) in self._fields[zone.other]

    def _knows_uri(self, uri: Uri) -> bool:
        return str(uri) in self._uris or uri.host in _MEMBER_HOSTS

    # --- responses ---------------------------------------------------------------------------------------

    def check_given(self, flow: Flow, response: Response, request: Request) -> None:
        """Check a response that a destination gave, as the sender of ``request`` gets it."""
        registers = request.method == "REGISTER"
        assert response.get_all("Record-Route") == ([] if registers else request.get_all("Record-Route"))
        for name, value in response.fields:
            if name in ("Via", "Record-Route"):
                continue
            if name == "Contact":
                is_registered = registers and value.partition(";expires")[0] in map(_bare, request.get_all("Contact"))
                redirects = 300 <= response.status < 400 or response.status == 485
                inward = redirects and flow.listener.zone is Zone.CORE
                allowed = is_registered or inward or _CONTACTS[flow.listener.id](value) is not None
            elif name in ("From", "To", "Call-ID", "CSeq"):
                allowed = (name, value) in self._fields[flow.listener.zone.other]
            else:
                alone = (name, value) == ("Content-Type", "application/sdp")  # it stood in a multipart body
                allowed = alone or self._crosses(flow, name, value)
            assert allowed, f"{name}: {value} in {response!r} to {flow!r}"
        self._check_body(flow, response, request.method, response.status >= 300)

    def is_new_challenge(self, flow: Flow, response: Response) -> bool:
        """Whether a challenge of the response is none that came from the other side."""
        known = self._fields[flow.listener.zone.other]
        return any(("WWW-Authenticate", value) not in known for value in response.get_all("WWW-Authenticate"))

    def check_disguised(self, flow: Flow, response: Response) -> None:
        """Check a response to REGISTER that replaces one of the inside, and equals another but for nonce and opaque."""
        inside = flow.listener.zone.other
        challenges = {_NONCE.sub("", value) for name, value in self._fields[inside] if name == "WWW-Authenticate"}
        for name, value in response.fields:
            if name == "WWW-Authenticate":
                allowed = _NONCE.sub("", value) in challenges
            elif name in ("Via", "From", "To", "Call-ID", "CSeq"):
                allowed = name == "Via" or (name, value) in self._fields[inside]
            else:
                allowed = self._crosses(flow, name, value)
            assert allowed, f"{name}: {value} in {response!r} to {flow!r}"
        assert not response.body

    def check_own(self, flow: Flow, response: Response, request: Request) -> None:
        """Check a response that the edge generated itself (RFC 3261 section 8.2.6)."""
        to = request.get("To") or ""
        for name, value in response.fields:
            if name in ("From", "Call-ID", "CSeq") or (name == "Timestamp" and response.status == 100):
                allowed = request.get(name) == value
            elif name == "To":
                tagged = re.fullmatch(re.escape(to) + ";tag=[0-9a-f]{16}", value)
                allowed = value == to if request.to_tag or response.status == 100 else tagged is not None
            elif name == "Unsupported":
                allowed = value in ", ".join(request.get_all("Proxy-Require") + request.get_all("Require")).lower()
            else:
                warned = name == "Warning" and response.status in (400, 415, 488, 513)  # RFC 3261 section 21.4.26
                allowed = warned or name in ("Via", "Allow", "Accept", "Supported", "Retry-After")
            assert allowed, f"{name}: {value} in {response!r} to {flow!r}"
        assert not response.body

    # --- bodies ------------------------------------------------------------------------------------------

    def _check_body(self, flow: Flow, message: Message, method: str, refuses: bool) -> None:
        if not self._anchor:
            return
        content_type = "".join((message.get("Content-Type") or "").split()).lower()
        assert message.body or "multipart" not in content_type, f"a multipart body without parts: {message!r}"
        relayed = self._relayed[flow.listener.zone]
        if content_type.startswith("application/sdp") and message.body:
            known = method in _NEGOTIATING and not refuses and message.body in relayed
            assert known, f"a description that the media plane did not give: {message!r} to {flow!r}"
        elif "multipart" in content_type or (method in _NEGOTIATING and not content_type):
            # Whatever reader the receiver has: no description begins in it but those that were given.
            rest = message.body
            for sdp in sorted(relayed, key=len, reverse=True):
                rest = rest.replace(sdp, b"")
            assert not _DESCRIPTION(rest), f"a hidden description: {message!r} to {flow!r}"


def _bare(value: str) -> str:
    return value.partition(";expires")[0]


def _is_health_check(request: Request) -> bool:
    """Whether it is a health check: OPTIONS from the edge's own address."""
    return request.method == "OPTIONS" and any(
        f"<sip:edge@{host}:" in str(request.from_) for host in EDGE_HOSTS.values()
    )
