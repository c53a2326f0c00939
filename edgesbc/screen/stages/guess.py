"""Stage ``guess``: who tries passwords or names is refused after some tries. Knows no password: it hears answers.

What unknown users are answered, ``same_answer``, is the signalling core's part: see ``signalling.registrations``.
"""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.base.prefixes import source_key
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import between, positive
from edgesbc.screen.attempt_counter import AttemptCounter
from edgesbc.screen.rejection import reject_with_retry_after
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.digest import is_stale, parse_digest
from edgesbc.sip.message import Request, Response

__all__ = ["BruteForceGuard", "GuessSettings"]

_CREDENTIALS = ("Authorization", "Proxy-Authorization")
_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
_WRONG_PASSWORD = frozenset({401, 403, 407})
_NO_SUCH_USER = frozenset({403, 404, 410, 604})
_GO_ON = frozenset({"ACK", "BYE", "CANCEL"})
_RETRY_SECONDS = 10

_tries = between(1, limits.GUESS_TRIES)


@attrs.frozen
class GuessSettings:
    """``[screen.guess]``: a try is a request whose credentials the inside refused, unless it says that only the
    nonce was old; and a REGISTER or INVITE of who is not registered, for a user or number that it is told is
    refused or not known. What is answered as if there were such a user is no try: it teaches nothing.

    A success takes back what the same source has tried on the same user before. Trunks are not asked.
    """

    tries: int = attrs.field(default=10, validator=_tries)
    """Of one source in the window: an unproven address, or a proven flow."""
    window: float = attrs.field(default=60.0, validator=positive)
    """In seconds."""
    address_tries: int = attrs.field(default=100, validator=_tries)
    """Of one address, or of one /64, over all of its connections, where they are not registered."""
    user_tries: int = attrs.field(default=30, validator=_tries)
    """On one user, from everywhere; over it, sources that are not registered are put off. What came in datagrams of
    unproven sources counts for such sources alone."""
    ban: float = attrs.field(default=60.0, validator=positive)
    """How long a source that has no try left is banned, in seconds; at most 60 where its address may be forged."""
    same_answer: bool = True
    """Whether a REGISTER for a user whom the inside refuses or does not know is answered as one with a wrong
    password is, and at the same time."""


class BruteForceGuard:
    name = "guess"
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: GuessSettings, standings: Standings) -> None:
        keys, window = limits.GUESS_KEYS, settings.window
        self._settings = settings
        self._strangers = AttemptCounter(settings.tries, window, keys)  # apart: their keys can be made up
        self._proven = AttemptCounter(settings.tries, window, keys)
        self._addresses = AttemptCounter(settings.address_tries, window, keys)
        self._users = AttemptCounter(settings.user_tries, window, keys)
        self._users_of_proven = AttemptCounter(settings.user_tries, window, keys)
        """The same without what may be forged: datagrams of nobody knows whom put off nobody who is there."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, standing = subject.request, subject.standing
        if standing is Standing.TRUNK or request is None:
            return PASS
        source = subject.source
        sources = self._strangers if standing is Standing.UNPROVEN else self._proven
        known = source in sources
        if not (known or request.method == "REGISTER" or _has_credentials(request)):
            return PASS  # as nearly always
        if request.in_dialog or request.method in _GO_ON:
            return PASS
        if known and sources.over(source, now):
            return self._bar(subject, request, sources.first_told(source))
        if standing is Standing.REGISTERED or not _tries_something(request):
            return PASS
        settings, host = self._settings, source_key(subject.flow.peer[0])
        if subject.flow.serial and self._addresses.over(host, now):
            return reject_with_retry_after(
                subject, Reason.GUESS, _RETRY_SECONDS, settings.address_tries, detail="address"
            )
        users = self._users if standing is Standing.UNPROVEN else self._users_of_proven
        if len(users) and users.over(_user(request), now):
            return reject_with_retry_after(subject, Reason.GUESS, _RETRY_SECONDS, settings.user_tries, detail="user")
        return PASS

    def _bar(self, subject: Subject, request: Request, first: bool) -> Verdict:
        limit, ban = self._settings.tries, self._settings.ban if first else 0.0
        if subject.standing is Standing.REGISTERED:  # its calls go on
            if not _tries_something(request):
                return PASS
            return reject_with_retry_after(subject, Reason.GUESS, _RETRY_SECONDS, limit, detail="source")
        return Drop(Reason.GUESS, limit, limit, ban=ban, quiet=not first, detail="source")

    def answered(self, subject: Subject, response: Response, now: float) -> None:
        request, standing = subject.request, subject.standing
        if standing is Standing.TRUNK or request is None:
            return
        status, with_password = response.status, _has_credentials(request)
        sources = self._strangers if standing is Standing.UNPROVEN else self._proven
        if 200 <= status < 300:
            if with_password:
                user = _user(request)
                sources.forgive(subject.source, user)
                self._users.forgive(user, hash(subject.source))
                self._users_of_proven.forgive(user, hash(subject.source))
                self._addresses.forgive(source_key(subject.flow.peer[0]), user)
            return
        if with_password and status in _WRONG_PASSWORD:
            if any(is_stale(value) for name in _CHALLENGES for value in response.get_all(name)):
                return
        elif (
            status not in _NO_SUCH_USER
            or standing is Standing.REGISTERED
            or request.method not in ("REGISTER", "INVITE")
            or request.in_dialog
        ):
            return
        user = _user(request)
        sources.add(subject.source, user, now)
        self._users.add(user, hash(subject.source), now)
        if standing is not Standing.UNPROVEN:
            self._users_of_proven.add(user, hash(subject.source), now)
        if subject.flow.serial and standing is not Standing.REGISTERED:
            self._addresses.add(source_key(subject.flow.peer[0]), user, now)


def _has_credentials(request: Request) -> bool:
    return request.get("Authorization") is not None or request.get("Proxy-Authorization") is not None


def _tries_something(request: Request) -> bool:
    return request.method == "REGISTER" or _has_credentials(request)


def _user(request: Request) -> int:
    """Whom the request would be: the name and realm of its credentials, which cannot be varied without being
    wrong, otherwise the address in To. Hashed, so that its size is not the peer's choice."""
    for name in _CREDENTIALS:
        value = request.get(name)
        if value is not None:
            try:
                found = parse_digest(value)
            except WireError:
                continue
            if (name_there := found.text("username")) is not None:
                return hash((name_there, found.text("realm")))
    uri = request.to.uri
    return hash((uri.user, uri.host.lower(), uri.opaque))
