"""Stage ``guess``: refuses sources that guess passwords or user names, after a number of failed attempts.

Failures are read from the private side's responses. The response for unknown users (``same_answer``) is made in
``signalling.registrations``.
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
from edgesbc.sip.digest import account_of, credentials_of, is_stale, parse_digest
from edgesbc.sip.message import Request, Response
from edgesbc.sip.user_part import plain_user

__all__ = ["BruteForceGuard", "GuessSettings"]

_CREDENTIALS = ("Authorization", "Proxy-Authorization")
_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")
_WRONG_PASSWORD = frozenset({401, 403, 407})
_NO_SUCH_USER = frozenset({403, 404, 410, 604})
_NEVER_REFUSED = frozenset({"ACK", "BYE", "CANCEL"})
_RETRY_SECONDS = 10

_number_of_attempts = between(1, limits.GUESS_TRIES)


@attrs.frozen
class GuessSettings:
    """``[screen.guess]``: an attempt is a request whose credentials the private side refused, unless only the
    nonce was stale; and a REGISTER or INVITE of a source that is not registered, for a user or number that the
    response shows to be refused or unknown. A request that gets the same response as for a known user is no attempt,
    because the source learns nothing from it.

    The use of a token that was made for another peer or dialog is an attempt as well.

    A success for which the password was checked takes back the attempts of the same source on the same user: that of a
    REGISTER, or of a request of a flow that is registered as this user. A REGISTER whose digest response has been
    used by too many flows is an attempt, although the registrar accepts it: it is a recording. Trunks are not judged.
    """

    tries: int = attrs.field(default=10, validator=_number_of_attempts)
    """Attempts of one source in the window: of an unproven address, or of a proven flow."""
    window: float = attrs.field(default=60.0, validator=positive)
    """The window, in seconds."""
    address_tries: int = attrs.field(default=100, validator=_number_of_attempts)
    """Attempts of one address, or of one /64, over all of its connections that are not registered."""
    user_tries: int = attrs.field(default=30, validator=_number_of_attempts)
    """Attempts on one user, from all sources: on the user of any of its credentials, and of its To. Over it, sources
    that are not registered are rejected for a while. Datagrams of unproven sources count for such sources only."""
    ban: float = attrs.field(default=60.0, validator=positive)
    """Seconds of the ban on a source that has no attempt left; at most 60 where its address may be forged."""
    same_answer: bool = True
    """Whether a REGISTER for a user that the private side refuses or does not know gets the same response as one with a
    wrong password, and after the same time."""


class BruteForceGuard:
    name = "guess"
    judges_trunks = False
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: GuessSettings, standings: Standings) -> None:
        keys, window = limits.GUESS_KEYS, settings.window
        self._settings = settings
        self._standings = standings
        self._unproven = AttemptCounter(settings.tries, window, keys)  # separate: its keys can be forged
        self._proven = AttemptCounter(settings.tries, window, keys)
        self._addresses = AttemptCounter(settings.address_tries, window, keys)
        self._users = AttemptCounter(settings.user_tries, window, keys)
        self._users_of_proven = AttemptCounter(settings.user_tries, window, keys)
        """The same without datagrams of unproven sources: a forged source must not get a proven one rejected."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request, standing = subject.request, subject.standing
        if standing is Standing.TRUNK or request is None:
            return PASS
        source = subject.source
        sources = self._unproven if standing is Standing.UNPROVEN else self._proven
        known = source in sources
        if not (known or request.method == "REGISTER" or _has_credentials(request)):
            return PASS  # the usual case
        if request.method in _NEVER_REFUSED or (subject.in_call and not _has_credentials(request)):
            return PASS
        if known and sources.over(source, now):
            return self._refuse(subject, request, sources.first_report(source))
        if standing is Standing.REGISTERED or not _is_attempt(request):
            return PASS
        settings, host = self._settings, source_key(subject.flow.peer[0])
        if subject.flow.serial and self._addresses.over(host, now):
            return reject_with_retry_after(
                subject, Reason.GUESS, _RETRY_SECONDS, settings.address_tries, detail="address"
            )
        users = self._users if standing is Standing.UNPROVEN else self._users_of_proven
        if len(users) and any(users.over(user, now) for user in _users(request)):
            return reject_with_retry_after(subject, Reason.GUESS, _RETRY_SECONDS, settings.user_tries, detail="user")
        return PASS

    def _refuse(self, subject: Subject, request: Request, first: bool) -> Verdict:
        limit, ban = self._settings.tries, self._settings.ban if first else 0.0
        if subject.standing is Standing.REGISTERED:  # its calls must still work
            if not _is_attempt(request):
                return PASS
            return reject_with_retry_after(subject, Reason.GUESS, _RETRY_SECONDS, limit, detail="source")
        return Drop(Reason.GUESS, limit, limit, ban=ban, quiet=not first, detail="source")

    def token_misused(self, subject: Subject, now: float) -> Verdict:
        """The source has used a token that was made for another peer or dialog, and was refused: it is an attempt on
        the call that the request names."""
        request, standing = subject.request, subject.standing
        if standing is Standing.TRUNK or request is None:
            return PASS
        source = subject.source
        sources = self._unproven if standing is Standing.UNPROVEN else self._proven
        sources.add(source, hash(request.call_id), now)
        return self._refuse(subject, request, sources.first_report(source)) if sources.over(source, now) else PASS

    def answered(self, subject: Subject, response: Response, now: float) -> None:
        request, standing = subject.request, subject.standing
        if standing is Standing.TRUNK or request is None:
            return
        status, with_password = response.status, _has_credentials(request)
        sources = self._unproven if standing is Standing.UNPROVEN else self._proven
        if 200 <= status < 300 and not self._is_recording(request):
            if with_password and self._has_checked(subject, request, now):
                self._take_back(subject, request)
            return
        if 200 <= status < 300:
            pass  # a recording
        elif with_password and status in _WRONG_PASSWORD:
            if any(is_stale(value) for name in _CHALLENGES for value in response.get_all(name)):
                return
        elif (
            status not in _NO_SUCH_USER
            or standing is Standing.REGISTERED
            or request.method not in ("REGISTER", "INVITE")
            or request.in_dialog
        ):
            return
        users = _users(request)
        sources.add(subject.source, users[0], now)
        for user in users:
            self._users.add(user, hash(subject.source), now)
            if standing is not Standing.UNPROVEN:
                self._users_of_proven.add(user, hash(subject.source), now)
        if subject.flow.serial and standing is not Standing.REGISTERED:
            self._addresses.add(source_key(subject.flow.peer[0]), users[0], now)

    def _has_checked(self, subject: Subject, request: Request, now: float) -> bool:
        """Whether a success shows that the password was right: the registrar has looked at it, or the flow is
        registered as its user. Servers accept other requests without a look at what stands in them."""
        fields = _credentials(request)
        if len(fields) != 1:
            return False  # one would not know which of them was accepted
        if request.method == "REGISTER":
            return True
        return _account(fields[0]) in self._standings.accounts(subject.flow, now)

    def _take_back(self, subject: Subject, request: Request) -> None:
        users, source = _users(request), subject.source
        sources = self._unproven if subject.standing is Standing.UNPROVEN else self._proven
        sources.take_back(source, users[0])
        self._addresses.take_back(source_key(subject.flow.peer[0]), users[0])
        for user in users:
            self._users.take_back(user, hash(source))
            self._users_of_proven.take_back(user, hash(source))

    def _is_recording(self, request: Request) -> bool:
        if request.method != "REGISTER":
            return False
        credentials = credentials_of(request.get_all("Authorization"))
        return credentials is not None and self._standings.is_worn(credentials.proof)


def _has_credentials(request: Request) -> bool:
    return request.get("Authorization") is not None or request.get("Proxy-Authorization") is not None


def _is_attempt(request: Request) -> bool:
    return request.method == "REGISTER" or _has_credentials(request)


def _credentials(request: Request) -> list[str]:
    return [value for name in _CREDENTIALS for value in request.get_all(name)]


def _account(credentials: str) -> int | None:
    try:
        return account_of(parse_digest(credentials))
    except WireError:
        return None


def _users(request: Request) -> list[int]:
    """The users that the request may claim to be: the name and realm of each of its credentials, of which the server
    chooses one, and the address in To, since a server may leave out a part of the name. Hashes, so that their size does
    not depend on the peer's text."""
    accounts = [_account(value) for value in _credentials(request)]
    uri = request.to.uri
    return list(dict.fromkeys([*[one for one in accounts if one is not None], hash((plain_user(uri), uri.host))]))
