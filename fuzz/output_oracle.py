"""OutputOracle: what a sent message may contain: exact fields of the edge, and fields from messages that passed."""

from __future__ import annotations

import re

from edgesbc.base.address import Flow, Listener, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.signalling.media_client import has_sdp, hides_sdp
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Message, Request, Response
from edgesbc.sip.uri import Uri
from fuzz.environment import EDGE_HOSTS, LISTENERS

__all__ = ["OutputOracle"]

_NEGOTIATING = ("INVITE", "ACK", "UPDATE", "PRACK")
_MEMBER_HOSTS = ("10.0.0.11", "10.0.0.12", "10.0.0.13", "198.51.100.7")
_NEVER_CROSS = {"Via", "Route", "Record-Route", "Contact", "Path", "Service-Route", "Max-Forwards", "Max-Breadth"}
_TELLING = {"Server", "User-Agent", "Warning", "Call-Info", "Error-Info"}
_ASSERTED = {"P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"}
_NUMBER = re.compile(r"[0-9]{1,3}").fullmatch
_NONCE = re.compile(r'\b(?:nonce|opaque)="[^"]*"', re.IGNORECASE)
_EDGES_REASONS = {
    "BYE": re.compile(r'SIP;cause=200;text="[a-z-]+"').fullmatch,
    "CANCEL": re.compile(r'SIP;cause=(200;text="Call completed elsewhere"|6[0-9]{2})').fullmatch,
}


def _own(listener: Listener, end: str) -> re.Pattern[str]:
    secure = "ws" if listener.transport is Transport.WSS else listener.transport.value
    transport = "" if listener.transport is Transport.UDP else f";transport={secure}"
    return re.compile(rf"<sip:[A-Za-z0-9_-]{{48,}}@{re.escape(listener.host)}:{listener.port}{transport}{end}>")


_CONTACTS = {listener.id: _own(listener, "").fullmatch for listener in LISTENERS}
_PATHS = {listener.id: _own(listener, ";lr").fullmatch for listener in LISTENERS}
_VIAS = {
    listener.id: re.compile(
        rf"SIP/2\.0/{listener.transport.upper()} {re.escape(listener.host)}:{listener.port}"
        r";branch=z9hG4bK[0-9a-f]{24,36};rport"
    ).fullmatch
    for listener in LISTENERS
}


class OutputOracle:
    """What was read on each side in messages that passed, and whether what is written comes from there.

    ``anchor``: session descriptions go through the media plane, and only what it gave may be written.
    """

    def __init__(self, anchor: bool) -> None:
        self._anchor = anchor
        self._read: dict[Zone, set[tuple[str, str]]] = {zone: set() for zone in Zone}
        self._addresses: set[str] = set()  # From and To: of whichever side, since BYE may turn them round
        self._call_ids: set[str] = set()
        self._numbers: set[int] = set()  # of CSeq
        self._uris: set[str] = set()
        self._relayed: dict[Zone, set[bytes]] = {zone: set() for zone in Zone}
        self._asserted: set[tuple[str, str]] = set()  # by trunks

    def learn(self, flow: Flow, message: Message, trunk: bool) -> None:
        """A message has passed the screen."""
        if trunk:
            self._asserted.update(pair for pair in message.fields if pair[0] in _ASSERTED)
        self._read[flow.listener.zone].update(message.fields)
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
        """The media plane gave this description for that side."""
        self._relayed[zone].add(sdp)

    # --- requests ----------------------------------------------------------------------------------------

    def check_request(self, flow: Flow, request: Request) -> None:
        for name, value in request.fields:
            assert self._may_stand(flow, request, name, value), f"{name}: {value} in {request!r} to {flow!r}"
        assert len(request.get_all("Via")) == 1, f"Vias of others in {request!r}"
        assert len(request.get_all("Contact")) < 2 or request.method == "REGISTER", f"Contacts in {request!r}"
        assert self._knows_uri(request.uri), f"{request!r} names a URI of nobody's"
        self._check_body(flow, request, request.method, False)

    def _may_stand(self, flow: Flow, request: Request, name: str, value: str) -> bool:
        listener, method = flow.listener, request.method
        zone = listener.zone
        if name == "Via":
            return _VIAS[listener.id](value) is not None
        if name in ("Max-Forwards", "Max-Breadth"):
            return _NUMBER(value) is not None
        if name == "Route":  # of the receiver's own side
            return ("Record-Route", value) in self._read[zone]
        if name == "Contact":
            registers = method == "REGISTER" and ("Contact", value) in self._read[zone.other]
            return registers or _CONTACTS[listener.id](value) is not None
        if name == "Path":
            return method == "REGISTER" and _PATHS[listener.id](value) is not None
        if name in ("From", "To"):
            return value in self._addresses or _asks_of_itself(request)
        if name == "Call-ID":
            return value in self._call_ids or _asks_of_itself(request)
        if name == "CSeq":
            next_one = method == "BYE" and (request.cseq == 1 or request.cseq - 1 in self._numbers)
            known = request.cseq in self._numbers or next_one
            return known or _asks_of_itself(request)
        if (name, value) == ("Supported", "path") and method == "REGISTER":
            return True
        if name == "Reason" and method in _EDGES_REASONS and _EDGES_REASONS[method](value):
            return True
        if (name, value) == ("Accept", "application/sdp") and _asks_of_itself(request):
            return True
        if name in _ASSERTED:  # from a trunk, or to a destination outside
            told = zone is Zone.PUBLIC and flow.peer.host in _MEMBER_HOSTS and (name, value) in self._read[Zone.CORE]
            return told or (zone is Zone.CORE and (name, value) in self._asserted)
        return self._crosses(zone, name, value)

    def _crosses(self, zone: Zone, name: str, value: str) -> bool:
        """Whether a field may cross from the other side to ``zone``: the table is in docs/reference/deviations.md."""
        if name in _NEVER_CROSS or name in _ASSERTED or name[1:2] == "-":
            return False
        if name in _TELLING and zone is Zone.PUBLIC:
            return False
        return (name, value) in self._read[zone.other]

    def _knows_uri(self, uri: Uri) -> bool:
        return str(uri) in self._uris or uri.host in _MEMBER_HOSTS

    # --- answers -----------------------------------------------------------------------------------------

    def check_given(self, flow: Flow, response: Response, request: Request) -> None:
        """An answer that a destination gave, as the sender of ``request`` gets it."""
        registers = request.method == "REGISTER"
        assert response.get_all("Record-Route") == ([] if registers else request.get_all("Record-Route"))
        for name, value in response.fields:
            if name in ("Via", "Record-Route"):
                continue
            if name == "Contact":
                named = registers and value.partition(";expires")[0] in map(_bare, request.get_all("Contact"))
                fine = named or _CONTACTS[flow.listener.id](value) is not None
            elif name in ("From", "To", "Call-ID", "CSeq"):
                fine = (name, value) in self._read[flow.listener.zone.other]
            else:
                fine = self._crosses(flow.listener.zone, name, value)
            assert fine, f"{name}: {value} in {response!r} to {flow!r}"
        self._check_body(flow, response, request.method, response.status >= 300)

    def check_disguised(self, flow: Flow, response: Response) -> None:
        """An answer to a REGISTER that looks like another one of the inside, but for nonce and opaque."""
        inside = flow.listener.zone.other
        asked = {_NONCE.sub("", value) for name, value in self._read[inside] if name == "WWW-Authenticate"}
        for name, value in response.fields:
            if name == "WWW-Authenticate":
                fine = _NONCE.sub("", value) in asked
            elif name in ("Via", "From", "To", "Call-ID", "CSeq"):
                fine = name == "Via" or (name, value) in self._read[inside]
            else:
                fine = self._crosses(flow.listener.zone, name, value)
            assert fine, f"{name}: {value} in {response!r} to {flow!r}"
        assert not response.body

    def check_own(self, flow: Flow, response: Response, request: Request) -> None:
        """An answer of the edge's own making (RFC 3261 section 8.2.6)."""
        to = request.get("To") or ""
        for name, value in response.fields:
            if name in ("From", "Call-ID", "CSeq") or (name == "Timestamp" and response.status == 100):
                fine = request.get(name) == value
            elif name == "To":
                tagged = re.fullmatch(re.escape(to) + ";tag=[0-9a-f]{16}", value)
                fine = value == to if request.in_dialog or response.status == 100 else tagged is not None
            elif name == "Unsupported":
                fine = value in ", ".join(request.get_all("Proxy-Require") + request.get_all("Require")).lower()
            else:
                fine = name in ("Via", "Allow", "Accept", "Supported", "Retry-After")
            assert fine, f"{name}: {value} in {response!r} to {flow!r}"
        assert not response.body

    # --- bodies ------------------------------------------------------------------------------------------

    def _check_body(self, flow: Flow, message: Message, method: str, refuses: bool) -> None:
        if not self._anchor:
            return
        if has_sdp(message):
            known = method in _NEGOTIATING and not refuses and message.body in self._relayed[flow.listener.zone]
            assert known, f"a description that the media plane did not make: {message!r} to {flow!r}"
        assert method not in _NEGOTIATING or not hides_sdp(message), f"a hidden description: {message!r} to {flow!r}"


def _bare(value: str) -> str:
    return value.partition(";expires")[0]


def _asks_of_itself(request: Request) -> bool:
    """Whether it is a health check: OPTIONS from the edge's own address."""
    return request.method == "OPTIONS" and any(
        f"<sip:edge@{host}:" in str(request.from_) for host in EDGE_HOSTS.values()
    )
