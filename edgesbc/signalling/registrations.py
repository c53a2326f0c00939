"""REGISTER on its way inward: Path with a sealed flow token (RFC 3327, RFC 5626), and what comes back.

Strangers are not told which users there are: what the inside refuses looks, and takes as long, as what it
challenges. It checks no password and counts no tries: see ``screen.stages.guess``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from edgesbc.base.address import Flow, Listener, Zone
from edgesbc.screen.standing import Standing, Standings
from edgesbc.signalling import topology
from edgesbc.signalling.switchboard import Switchboard
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.signalling.transactions import ServerTransaction
from edgesbc.sip.digest import renewed
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.phrases import phrase
from edgesbc.sip.transaction import TransactionState

__all__ = [
    "ChallengeMemory",
    "DelayedResponse",
    "contacts_of_sender",
    "deliver_at",
    "from_stranger",
    "note_registration",
    "path_value",
]

_TELLS_OF_USERS = frozenset({403, 404, 410, 604})
_OF_EACH = frozenset({"Via", "From", "To", "Call-ID", "CSeq", "Date"})
"""Fields of a response that belong to its request, or to its time."""
_DIGITS, _LOWER = "0123456789", "abcdefghijklmnopqrstuvwxyz"
_HEX = "0123456789abcdef"
_WORD = re.compile(r"[0-9A-Za-z]+")


def path_value(board: Switchboard, request: Request, sender: Flow, listener: Listener) -> Fields:
    """The Path field that leads back to the sender's flow, and *path* in Supported where it is missing."""
    target = RemoteTarget(sender.listener.name, sender.peer, sender.serial, board.flows.epoch, "")
    uri = topology.contact(listener, board.sealer.seal(target, listener.zone))
    fields = [("Path", f"{uri[:-1]};lr>")]
    if "path" not in (request.get("Supported") or "").replace(",", " ").split():
        fields.append(("Supported", "path"))
    return fields


def contacts_of_sender(request: Request, response: Response) -> list[str]:
    """Those Contacts of a registrar's answer that the request itself named.

    The registrar lists every binding of the address-of-record (RFC 3261 section 10.3); those of phones
    inside would show the inside.
    """
    named = {_uri_text(value) for value in request.get_all("Contact")}
    return [value for value in response.get_all("Contact") if _uri_text(value) in named]


def _uri_text(value: str) -> str:
    return "" if value == "*" else parse_name_addr(value).uri_text


def registered_seconds(request: Request, response: Response) -> int:
    """For how long the answer to a REGISTER binds the sender; 0 where it took a binding away."""
    longest = 0
    for value in contacts_of_sender(request, response):
        expires = parse_name_addr(value).param("expires") or response.get("Expires") or request.get("Expires") or "3600"
        if expires.isascii() and expires.isdigit():
            longest = max(longest, min(int(expires), 7200))
    return longest


def note_registration(standings: Standings, flow: Flow, request: Request, response: Response, now: float) -> None:
    """Take from the answer to a REGISTER what its sender has proven by it, or proves no longer.

    Credentials were accepted on the flow; a registrar that asks for none proves nothing. Who asks what bindings
    there are, without a Contact, changes nothing.
    """
    if not 200 <= response.status < 300 or request.get("Authorization") is None:
        return
    uri = request.to.uri
    account = hash((uri.user, uri.host.lower(), uri.opaque))  # a text would be as long as the peer likes
    seconds = registered_seconds(request, response)
    if seconds:
        standings.prove(flow, Standing.REGISTERED, now, seconds, account)
    elif request.get("Contact") is not None:
        standings.deregister(flow, account, now)


def from_stranger(board: Switchboard, server: ServerTransaction, now: float) -> bool:
    """Whether a REGISTER came from somebody on the public side who is not to learn which users there are."""
    source = server.source
    if source.listener.zone is not Zone.PUBLIC or not board.pipeline.same_answer:
        return False
    return board.standings.of(source, now) < Standing.REGISTERED


class ChallengeMemory:
    """How each destination set asks for a password: its last 401, a memory of one message a set.

    A user that is not there gets the like of it, again and again, as one that is there does with a wrong
    password.
    """

    __slots__ = ("_entropy", "_last")

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._last: dict[str, Response] = {}

    def disguise(self, set_name: str, response: Response) -> Response:
        """The answer of ``set_name`` to a REGISTER as a stranger may see it: a 401 is remembered, and stands in for
        403, 404, 410 and 604. Before there was one, these are all 403."""
        if response.status == 401 and response.get("WWW-Authenticate") is not None:
            self._last[set_name] = response
            return response
        if response.status not in _TELLS_OF_USERS:
            return response
        last = self._last.get(set_name)
        if last is None:
            fields = [pair for pair in response.fields if pair[0] in _OF_EACH]
            return response.replace(status=403, phrase=phrase(403), fields=fields, body=b"")
        fields = [pair for pair in response.fields if pair[0] == "Via"]
        for name, value in last.fields:
            if name == "WWW-Authenticate":
                fields.append((name, renewed(value, self._fresh)))
            elif name not in _OF_EACH and name != "Contact":
                fields.append((name, value))
            elif name != "Via" and (own := response.get(name)) is not None:
                fields.append((name, own))
        return response.replace(status=last.status, phrase=last.phrase, fields=fields, body=b"")

    def _fresh(self, like: str) -> str:
        """A text of the same length and kind: in each word of it hex digits for a word in hex, otherwise digits for
        digits and letters for letters, and the signs between the words where they were."""
        chance = iter(self._entropy(len(like)))
        return _WORD.sub(lambda match: _another(match[0], chance), like)


def _another(word: str, chance: Iterator[int]) -> str:
    if all(sign in _HEX for sign in word) and not word.isdigit():
        return "".join(_HEX[next(chance) % 16] for _ in word)
    alphabets = (_DIGITS if sign.isdigit() else _LOWER if sign.islower() else _LOWER.upper() for sign in word)
    return "".join(alphabet[next(chance) % len(alphabet)] for alphabet in alphabets)


class DelayedResponse:
    """An answer that waits until it has taken as long as any other. Held in the deadlines alone."""

    __slots__ = ("_board", "_data", "_server", "_status", "due", "queued")

    def __init__(self, board: Switchboard, server: ServerTransaction, status: int, data: bytes) -> None:
        self._board = board
        self._server = server
        self._status = status
        self._data = data
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        if self._server.state is not TransactionState.TERMINATED:  # its connection may be gone
            self._board.deliver(self._server, self._status, self._data, now)


def deliver_at(board: Switchboard, server: ServerTransaction, status: int, data: bytes, due: float, now: float) -> None:
    """Send an answer, but not before ``due``."""
    if due <= now:
        board.deliver(server, status, data, now)
    else:
        board.deadlines.schedule(DelayedResponse(board, server, status, data), due)
