"""REGISTER, from its arrival to its answer: Path with a sealed flow token (RFC 3327, RFC 5626), and what it proves.

A sender that is not registered does not learn from the answer which users exist: a refusal looks like a challenge, and
takes as long.
Wrong passwords are counted by the stage ``guess`` (``screen/stages/guess.py``); the registrar inside checks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone
from edgesbc.base.errors import WireError
from edgesbc.screen.standing import Standing
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.context_parts import ContextParts
from edgesbc.signalling.device_flows import DeviceFlows
from edgesbc.signalling.edge_contacts import EdgeContacts, RegisteredContact
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.keep_alives import KeepAlives
from edgesbc.signalling.live_pipeline import LivePipeline
from edgesbc.signalling.named_peers import NamedPeers
from edgesbc.signalling.out_of_dialog import OutOfDialogAdmission
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.signalling.targets import NextHop
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.digest import credentials_of, is_stale, parse_digest, renewed
from edgesbc.sip.headers import NameAddr, parse_name_addr
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.phrases import phrase
from edgesbc.sip.uri import are_equivalent

__all__ = ["ChallengeMemory", "RegisterPeers", "RegisterRequests", "registered_seconds"]

_SHOWS_WHETHER_USER_EXISTS = frozenset({403, 404, 410, 604})
_OF_EACH = frozenset({"Via", "From", "To", "Call-ID", "CSeq", "Date"})
"""Fields of a response that belong to its request, or to its time."""
_DIGITS, _LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
_HEX = "0123456789abcdef"
_WORD = re.compile(r"[0-9A-Za-z]+")


class ChallengeMemory:
    """Which destination sets have challenged, and the last challenges (401) of each.

    A request for a user that does not exist gets one like it each time, as a user that exists does for a wrong
    password. Where the realm of a registrar is the domain that it is asked for, so is that of the disguise: otherwise a
    sender that had itself challenged for another domain could tell the two apart. ``entropy`` gives n random bytes.
    """

    __slots__ = ("_challenging", "_entropy", "_last")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._challenging: set[str] = set()
        self._last: dict[str, dict[_Domains, Response]] = {}
        """By set and by what the request named, the latest last."""

    def note(self, set_name: str, response: Response) -> None:
        """Record an answer of ``set_name`` to a REGISTER."""
        if response.status == 401 and set_name not in self._challenging:
            for value in response.get_all("WWW-Authenticate"):
                if _is_challenge(value):
                    self._challenging.add(set_name)

    def assume(self, set_names: Iterable[str]) -> None:
        """Take these sets to challenge."""
        self._challenging.update(set_names)

    @property
    def sets(self) -> frozenset[str]:
        """The sets that have challenged."""
        return frozenset(self._challenging)

    def challenges(self, set_name: str) -> bool:
        """Whether ``set_name`` has asked for a password: otherwise its acceptance of one shows nothing."""
        return set_name in self._challenging

    def disguise(self, set_name: str, request: Request, response: Response) -> Response:
        """The answer of ``set_name`` to a REGISTER of a sender that is not registered. A 401 is remembered, and
        replaces 403, 404, 410 and 604; before the first 401, these become 403. One that calls a nonce stale is not
        remembered: a user that exists gets none in answer to a first request."""
        challenge = response.get("WWW-Authenticate")
        if response.status == 401 and challenge is not None:
            if not is_stale(challenge):
                self._remember(set_name, _domains(request), response)
            return response
        if response.status not in _SHOWS_WHETHER_USER_EXISTS:
            return response
        known = self._last.get(set_name)
        if not known:
            fields = [pair for pair in response.fields if pair[0] in _OF_EACH]
            return response.replace(status=403, phrase=phrase(403), fields=fields, body=b"")
        domains = _domains(request)
        last, realm = known.get(domains), ""
        if last is None:
            last, realm = next(reversed(known.values())), _realm_for(domains, known)
        fields = [pair for pair in response.fields if pair[0] == "Via"]
        for name, value in last.fields:
            if name == "WWW-Authenticate":
                fields.append((name, renewed(value, self._random_like, realm)))
            elif name not in _OF_EACH and name != "Contact":
                fields.append((name, value))
            elif name != "Via" and (own := response.get(name)) is not None:
                fields.append((name, own))
        return response.replace(status=last.status, phrase=last.phrase, fields=fields, body=b"")

    def _remember(self, set_name: str, domains: _Domains, response: Response) -> None:
        known = self._last.setdefault(set_name, {})
        known.pop(domains, None)
        known[domains] = response
        if len(known) > limits.CHALLENGED_DOMAINS:
            del known[next(iter(known))]

    def _random_like(self, sample: str) -> str:
        """A random text of the same length and form. A word of hex digits becomes another one; in other words digits
        replace digits and letters replace letters. The characters between words stay."""
        entropy = iter(self._entropy(len(sample)))
        return _WORD.sub(lambda match: _random_word(match[0], entropy), sample)


_Domains = tuple[str, str, str]
"""The domains that a REGISTER names, as the registrar sees them: those of its Request-URI, To and From."""


def _domains(request: Request) -> _Domains:
    return request.uri.host, _written_host(request.to), _written_host(request.from_)


def _written_host(address: NameAddr) -> str:
    """The host as it is written, since some registrars repeat it so."""
    try:
        host = address.uri.host
    except WireError:
        return ""  # the registrar has answered all the same
    rest = address.uri_text.rpartition("@" if "@" in address.uri_text else ":")[2]
    written = rest[: len(host)]
    return written if written.lower() == host else host


def _realm_for(domains: _Domains, known: dict[_Domains, Response]) -> str:
    """The realm that the registrar gives to these domains, if its challenges so far show that this is one of them as it
    is written, or in lower case; otherwise "": it is that of all challenges."""
    realms = [(named, _realm(response)) for named, response in known.items()]
    for place in range(3):
        if len({named[place].lower() for named, _ in realms}) < 2:
            continue
        if all(realm == named[place] for named, realm in realms):
            return domains[place]
        if all(realm == named[place].lower() for named, realm in realms):
            return domains[place].lower()
    return ""


def _realm(response: Response) -> str:
    try:
        return parse_digest(response.get("WWW-Authenticate") or "").text("realm") or ""
    except WireError:
        return ""


def _is_challenge(value: str) -> bool:
    try:
        return bool(parse_digest(value).text("nonce"))
    except WireError:
        return False


def _random_word(word: str, entropy: Iterator[int]) -> str:
    if all(sign in _HEX for sign in word) and not word.isdigit():
        return "".join(_HEX[next(entropy) % 16] for _ in word)
    alphabets = (_DIGITS if sign.isdigit() else _LOWER if sign.islower() else _LOWER.upper() for sign in word)
    return "".join(alphabet[next(entropy) % len(alphabet)] for alphabet in alphabets)


class RegisterRequests:
    """The path of a REGISTER."""

    __slots__ = ("_admission", "_challenges", "_device_flows", "_keep_alives", "_parts", "contact")

    def __init__(
        self,
        parts: ContextParts,
        admission: OutOfDialogAdmission,
        challenges: ChallengeMemory,
        device_flows: DeviceFlows,
        keep_alives: KeepAlives,
    ) -> None:
        self._keep_alives = keep_alives
        self.contact = RegisteredContact.PATH
        """What registrars bind."""
        self._parts = parts
        self._admission = admission
        self._challenges = challenges
        self._device_flows = device_flows

    def forward(self, incoming: Incoming, now: float) -> None:
        """Send the request to its registrar, unless it is refused."""
        targets = self._admission.admit(incoming, now)
        if targets is None:
            return
        parts = self._parts
        server = parts.responder.open_transaction(incoming, now)
        contacts = None
        if self.contact is RegisteredContact.EDGE:
            contacts = EdgeContacts(parts.tokens, incoming.message, incoming.flow)
        peers = RegisterPeers(
            parts.tokens,
            parts.named_peers,
            parts.live,
            self._challenges,
            self._device_flows,
            self._keep_alives,
            server,
            now,
            contacts,
        )
        context = ResponseContext(
            parts,
            server,
            targets,
            peers,
            incoming.subject.standing,
            mark=self._admission.loop_marks(incoming),
            evidence=incoming.subject.standing >= Standing.REGISTERED,
            on_completed=peers.on_completed,
        )
        context.start(now)


class RegisterPeers:
    """The two sides of one REGISTER. ``began`` is when the request came (seconds, the plane's clock). ``contacts`` are
    those of the edge, where the registrar is to bind these; None: it gets the phone's, and Path."""

    __slots__ = (
        "_account", "_began", "_challenges", "_contacts", "_device_flows", "_keep_alives", "_live", "_named",
        "_proven_at",
        "_request", "_seconds", "_server", "_tokens",
    )  # fmt: skip

    def __init__(
        self,
        tokens: ContactTokens,
        named: NamedPeers,
        live: LivePipeline,
        challenges: ChallengeMemory,
        device_flows: DeviceFlows,
        keep_alives: KeepAlives,
        server: ServerTransaction,
        began: float,
        contacts: EdgeContacts | None = None,
    ) -> None:
        self._contacts = contacts
        self._device_flows = device_flows
        self._keep_alives = keep_alives
        self._proven_at: float | None = None  # when the answer proved the flow, as this account, for so many seconds
        self._account = 0
        self._seconds = 0
        self._tokens = tokens
        self._named = named
        self._live = live
        self._challenges = challenges
        self._server = server
        self._request = server.request
        self._began = began

    def request_for(self, receiver: Flow, now: float) -> Request:
        request = self._request
        if request.get("Refer-To") is None and request.get("Referred-By") is None:
            return request
        # They mean nothing here, and must not show what is inside either.
        return self._named.translated(request, self._server.source, receiver, None, now)

    def request_fields(self, receiver: Flow, now: float) -> Fields:
        """What the registrar binds: the Contacts as they came and the Path that leads to their flow, or Contacts of the
        edge."""
        if self._contacts is not None:
            return self._contacts.fields(receiver.listener)
        fields = [pair for pair in self._request.fields if pair[0] == "Contact"]
        return fields + self._tokens.path(self._request, self._server.source, receiver.listener)

    def learn(self, hop: NextHop, response: Response) -> None:
        """Do nothing: a registrar is no side of a dialog."""

    def translate(self, hop: NextHop, response: Response, now: float) -> tuple[Response, Sequence[str], float]:
        if self._contacts is not None:
            response = self._contacts.restored(response)
        if hop.lease is not None:
            set_name = hop.lease.member.set_name
            self._challenges.note(set_name, response)
            if self._challenges.challenges(set_name):
                self._note_standing(response, now)
        if response.status < 300:
            if self._proven_at is not None:
                return *_shortened(self._request, response), now
            return response, contacts_of_sender(self._request, response), now
        if hop.lease is None or not self._must_hide_users(now):
            return response, (), now
        disguised = self._challenges.disguise(hop.lease.member.set_name, self._request, response)
        return disguised, (), self._began + limits.REGISTER_ANSWER_SECONDS

    def _note_standing(self, response: Response, now: float) -> None:
        """Update the standing of the request's sender by the answer.

        A 2xx to a request with complete credentials proves the flow, where the registrar is one that asks for them. The
        account is that of the credentials, which the registrar has checked, and not the user in To, which can be
        written in many ways. A request without a Contact, which asks for the bindings, changes nothing. Neither does an
        answer to a connection that has closed, a trunk's: its entry would stay until it expires.
        """
        request, flow = self._request, self._server.source
        credentials = credentials_of(request.get_all("Authorization"))
        if not 200 <= response.status < 300 or credentials is None or not self._tokens.is_open(flow):
            return
        account = credentials.account
        seconds = registered_seconds(request, response)
        standings = self._live.standings
        if seconds:
            shown = standings.has_shown(flow, request)
            if standings.prove(flow, Standing.REGISTERED, now, seconds, account, credentials.proof, shown):
                self._proven_at, self._account, self._seconds = now, account, seconds
        elif request.get("Contact") is not None:
            standings.deregister(flow, account, now)
            self._device_flows.deregistered(flow, account, request, now)

    def on_completed(self, status: int, now: float) -> None:
        """The sender has its answer: what waits for its device follows it."""
        if self._proven_at is not None:
            flow, proven_at = self._server.source, self._proven_at
            self._device_flows.registered(flow, self._account, self._request, self._seconds, proven_at)
            self._keep_alives.registered(flow, self._request, now)

    def _must_hide_users(self, now: float) -> bool:
        """Whether the sender is on the public side, is not registered, and may not learn which users exist."""
        source = self._server.source
        if source.listener.zone is not Zone.PUBLIC or not self._live.pipeline.same_answer:
            return False
        return self._live.standings.of(source, now) < Standing.REGISTERED


def contacts_of_sender(request: Request, response: Response) -> list[str]:
    """The Contacts of a registrar's answer that the request itself named.

    The registrar lists every binding of the address-of-record (RFC 3261 section 10.3); those of phones on the private
    side would reveal addresses there.
    """
    named = [parse_name_addr(value) for value in request.get_all("Contact") if value != "*"]
    texts = {contact.uri_text for contact in named}
    return [
        value
        for value in response.get_all("Contact")
        if value != "*" and _is_one_of(parse_name_addr(value), texts, named)
    ]


def _is_one_of(contact: NameAddr, texts: set[str], named: Sequence[NameAddr]) -> bool:
    """Whether a registrar's binding is one of the Contacts of a REGISTER, by the comparison of RFC 3261 section
    19.1.4: registrars write some of their own parameters, in another order and with other escapes."""
    return contact.uri_text in texts or any(are_equivalent(contact.uri, other.uri) for other in named)


def _shortened(request: Request, response: Response) -> tuple[Response, list[str]]:
    """The answer to a REGISTER, and the Contacts of its sender, with no longer time than the edge counts it for.

    A phone that was told more would not register again before its flow has lost its standing.
    """
    longest, contacts = limits.REGISTERED_SECONDS, contacts_of_sender(request, response)
    for place, value in enumerate(contacts):
        contact = parse_name_addr(value)
        if _bound_seconds(contact, request, response) > longest:
            params = [pair for pair in contact.params if pair[0] != "expires"]
            contacts[place] = str(NameAddr(contact.display, contact.uri_text, [*params, ("expires", str(longest))]))
    expires = response.get("Expires")
    if expires is not None and _number(expires) > longest:
        fields = [(name, str(longest) if name == "Expires" else text) for name, text in response.fields]
        response = response.replace(fields=fields)
    return response, contacts


def _bound_seconds(contact: NameAddr, request: Request, response: Response) -> int:
    """For how many seconds the answer binds ``contact``; 0 where it says it in no number."""
    return _number(contact.param("expires") or response.get("Expires") or request.get("Expires") or "3600")


def _number(text: str) -> int:
    """A number of seconds, 0 if it is none. A phone may write thousands of digits, which Python does not convert."""
    if not (text.isascii() and text.isdigit()):
        return 0
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= 10 else 10**10


def registered_seconds(request: Request, response: Response) -> int:
    """For how many seconds the answer to a REGISTER binds the sender; 0 where it removed a binding, or says it in no
    number."""
    longest = 0
    for value in contacts_of_sender(request, response):
        seconds = _bound_seconds(parse_name_addr(value), request, response)
        longest = max(longest, min(seconds, limits.REGISTERED_SECONDS))
    return longest
