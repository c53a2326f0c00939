"""RtpengineClient: has rtpengines carry out the commands of signalling. Without I/O.

Each session is at one rtpengine, and gets its commands one after the other. A new one goes to another rtpengine where
the first does not reply or has no room. Nothing here waits: a command that nobody carries out gets a
:class:`MediaError`.

An rtpengine that has not replied for ``limits.NG_TRY_SECONDS`` is late: new sessions prefer others. One that has not
replied for ``limits.NG_GIVE_UP_SECONDS``, though the command was repeated, or whose machine says that nobody listens,
is down: new sessions do not go there. One reply that is late or lost must not refuse calls: a busy machine has such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.counts import Counts
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.base.errors import WireError
from edgesbc.media.commands import (
    Answer,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaTimeout,
    Offer,
    Refresh,
    Restore,
)
from edgesbc.media.interfaces import MediaInterface
from edgesbc.media.session_journal import SessionJournal
from edgesbc.ng.client_commands import (
    UNKNOWN_CALL,
    answer_command,
    checked_description,
    offer_command,
    reply_of,
)
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.settings import RtpengineSettings

__all__ = ["ClientEffect", "EngineReply", "RtpengineClient", "ToEngine"]


@attrs.frozen
class ToEngine:
    """Send a datagram to the rtpengine of that number."""

    engine: int
    data: bytes


@attrs.frozen
class EngineReply:
    """The reply to the command that signalling gave with that cookie."""

    cookie: int
    reply: MediaReply | MediaError


ClientEffect = ToEngine | EngineReply | MediaTimeout

_AGAIN: Final = 0
"""The cookie of descriptions that are applied again: signalling counts its own from 1, and waits for no reply."""


class _Engine:
    """One rtpengine: whether it replies, and when it is asked next."""

    __slots__ = ("_client", "due", "late", "number", "queued", "sessions", "settings", "up")

    def __init__(self, client: RtpengineClient, number: int, settings: RtpengineSettings) -> None:
        self._client = client
        self.number = number
        self.settings = settings
        self.up = True
        self.late = False
        self.sessions = 0
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        self._client.ping(self, now)


class _Session:
    """One call's media: where it is, what is agreed on, and the commands that wait."""

    __slots__ = ("_client", "busy", "due", "engine", "journal", "queue", "queued", "record", "session_id", "tried")

    def __init__(self, client: RtpengineClient, session_id: str) -> None:
        self._client = client
        self.session_id = session_id
        self.engine: _Engine | None = None
        self.tried: set[int] = set()
        self.journal = SessionJournal()
        self.queue: deque[tuple[int, MediaCommand]] = deque()
        self.busy: _EngineRequest | None = None
        self.record = b""
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        self._client.check(self, now)


class _EngineRequest:
    """A command that an rtpengine has not replied to. ``command`` is that of signalling, None for a ping or a query;
    ``cookie`` is 0 where signalling waits for no reply."""

    __slots__ = (
        "_client", "command", "cookie", "data", "due", "engine", "gives_up_at", "moves_at", "name", "pause",
        "queued", "sections", "session",
    )  # fmt: skip

    def __init__(
        self,
        client: RtpengineClient,
        engine: _Engine,
        session: _Session | None,
        command: MediaCommand | None,
        cookie: int,
        sections: int,
        now: float,
    ) -> None:
        self._client = client
        self.engine = engine
        self.session = session
        self.command = command
        self.cookie = cookie
        self.sections = sections
        self.moves_at = now + limits.NG_TRY_SECONDS
        self.gives_up_at = now + limits.NG_GIVE_UP_SECONDS
        self.name = b""
        self.data = b""
        self.pause = limits.NG_RETRY_SECONDS
        self.due: float | None = None
        self.queued: float | None = None

    def expire(self, now: float) -> None:
        self._client.not_replied(self, now)


class RtpengineClient:
    """Drives the rtpengines ``engines``.

    ``interfaces`` are those by which the addresses in descriptions are judged. ``cookies`` is the beginning of each
    cookie: nobody else may know or guess it, because a reply counts by its cookie. ``random`` gives floats in
    [0, 1). Each answered session is looked up every ``check_seconds``: a session that its rtpengine has ended, because
    it was silent, gives a :class:`MediaTimeout`. ``counts`` are commands by (rtpengine, outcome).
    """

    def __init__(
        self,
        engines: Sequence[RtpengineSettings],
        interfaces: Mapping[Zone, Sequence[MediaInterface]],
        cookies: bytes,
        random: Callable[[], float],
        check_seconds: float,
        now: float,
    ) -> None:
        self._engines = [_Engine(self, number, settings) for number, settings in enumerate(engines)]
        self._interfaces = interfaces
        self._prefix = cookies
        self._random = random
        self._check_seconds = check_seconds
        self._number = 0
        self._own: set[str] = set()
        """The addresses of the rtpengines' interfaces, as their descriptions have shown them so far."""
        self._requests: dict[bytes, _EngineRequest] = {}
        self._sessions: dict[str, _Session] = {}
        self._deadlines: Deadlines[Expiring] = Deadlines()
        self._effects: list[ClientEffect] = []
        self.counts = Counts()
        for engine in self._engines:
            self._deadlines.schedule(engine, now)

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._sessions)

    @property
    def waiting(self) -> int:
        """Number of commands that were not replied to yet."""
        return len(self._requests)

    @property
    def up(self) -> bool:
        """Whether an rtpengine replies."""
        return any(engine.up for engine in self._engines)

    def is_up(self, engine: int) -> bool:
        """Whether the rtpengine of that number replies."""
        return self._engines[engine].up

    def sessions_at(self, engine: int) -> int:
        """Number of sessions at the rtpengine of that number."""
        return self._engines[engine].sessions

    # --- what comes in ------------------------------------------------------------------------------------

    def carry_out(self, cookie: int, command: MediaCommand, now: float) -> list[ClientEffect]:
        """Have a command carried out; the reply to an offer or answer is an effect, now or later."""
        if isinstance(command, Restore):
            self._reply(cookie, MediaError(500, "an rtpengine keeps its sessions itself"))
            return self._take_effects()
        if isinstance(command, Refresh):
            return []  # it tells nothing to an rtpengine, whose time-outs know no session timer
        session = self._sessions.get(command.session_id)
        if session is None:
            if not isinstance(command, Offer):
                if isinstance(command, Answer):
                    self._reply(cookie, MediaError(481, "an answer to an offer that was not made"))
                return self._take_effects()
            session = self._sessions[command.session_id] = _Session(self, command.session_id)
        if isinstance(command, Delete):
            self._refuse_queued(session)
        elif len(session.queue) >= limits.PENDING_MEDIA and not isinstance(command, Establish):
            # A rollback beyond the bound takes back an offer that was refused here.
            if isinstance(command, Offer | Answer):
                self._reply(cookie, MediaError(503, "too many descriptions of one call wait"))
            return self._take_effects()
        session.queue.append((cookie, command))
        self._go_on(session, now)
        return self._take_effects()

    def receive(self, engine: int, data: bytes, now: float) -> list[ClientEffect]:
        """A datagram of the rtpengine of that number. Raises nothing for what is in it."""
        try:
            name, reply = parse_frame(data)
        except WireError:
            self._count(self._engines[engine], "junk")
            return []
        request = self._requests.get(name)
        if request is None or request.engine.number != engine:
            if request is None and name.startswith(self._prefix + b"_"):
                self._mark_up(self._engines[engine], now)  # a late reply: it is there nevertheless
            return []
        self._mark_up(request.engine, now)
        self._finish(request)
        self._replied(request, reply, now)
        return self._take_effects()

    def unreachable(self, engine: int, now: float) -> list[ClientEffect]:
        """The kernel says that nobody listens at the rtpengine of that number: new calls go to another one at once.

        It is pinged at once: an ICMP error may be forged, or come from before a restart.
        """
        if not self._engines[engine].up:
            return []
        self._mark_down(self._engines[engine], now)
        self._deadlines.schedule(self._engines[engine], now)
        for request in [one for one in self._requests.values() if one.engine.number == engine]:
            if self._is_new(request) and self._choose(request.session) is not None:
                self._finish(request)
                self._try_next(request, now)
        return self._take_effects()

    def deadline(self) -> float | None:
        """When :meth:`expire` is next to be called (seconds), or None."""
        return self._deadlines.next()

    def expire(self, now: float) -> list[ClientEffect]:
        """Repeat, give up and check what is due."""
        for item in self._deadlines.pop_due(now):
            item.expire(now)
        return self._take_effects()

    # --- called at deadlines ------------------------------------------------------------------------------

    def ping(self, engine: _Engine, now: float) -> None:
        """Ask an rtpengine whether it is there."""
        self._deadlines.schedule(engine, now + (limits.NG_PING_SECONDS if engine.up else limits.NG_RECHECK_SECONDS))
        self._send(_EngineRequest(self, engine, None, None, 0, 0, now), {"command": "ping"}, now)

    def check(self, session: _Session, now: float) -> None:
        """Ask whether an answered session is still there."""
        self._deadlines.schedule(session, now + self._check_seconds)
        if session.engine is None or session.busy is not None or not session.engine.up:
            return
        session.busy = _EngineRequest(self, session.engine, session, None, 0, 0, now)
        self._send(session.busy, {"command": "query", "call-id": session.session_id}, now)

    def not_replied(self, request: _EngineRequest, now: float) -> None:
        """No reply has come so far: repeat the command, or give up."""
        if now >= request.moves_at:
            request.engine.late = True
            if self._is_new(request) and self._choose(request.session, request.engine) is not None:
                self._finish(request)
                self._count(request.engine, "timeout")
                self._try_next(request, now)
                return
        if now < request.gives_up_at:
            self._effects.append(ToEngine(request.engine.number, request.data))
            request.pause = 2 * limits.NG_RETRY_SECONDS
            self._schedule(request, now)
            return
        self._mark_down(request.engine, now)
        self._finish(request)
        self._count(request.engine, "timeout")
        is_change = isinstance(request.command, Offer) and request.cookie != _AGAIN
        agreed = None if request.session is None or not is_change else _agreed(request.session)
        if request.session is not None and agreed is not None:
            self._apply_again(request.session, agreed)  # it may have applied the offer, and its reply was lost
        self._end_request(
            request, MediaError(503, f"the rtpengine at {request.engine.settings.address} does not reply"), now
        )

    # --- one session --------------------------------------------------------------------------------------

    def _go_on(self, session: _Session, now: float) -> None:
        """Carry out the commands that wait, until one has to wait for an rtpengine."""
        while session.busy is None and session.queue:
            cookie, command = session.queue.popleft()
            if isinstance(command, Offer | Answer):
                self._describe(session, cookie, command, now)
            elif isinstance(command, Delete):
                self._end(session, command, now)
                break
            else:
                self._note(session, command, now)
        if session.busy is None and not session.queue and not len(session.journal):
            self._forget(session)

    def _describe(self, session: _Session, cookie: int, command: Offer | Answer, now: float) -> None:
        try:
            checked = checked_description(command, self._zone_of(session, command), self._interfaces, self._own)
        except WireError as error:
            self._reply(cookie, MediaError(error.status_hint, error.reason))
            return
        engine = session.engine or self._choose(session)
        if engine is None:
            self._reply(cookie, MediaError(503, "no rtpengine replies"))
            return
        self._place(session, engine)
        session.journal.sent(cookie, command)
        request = session.busy = _EngineRequest(self, engine, session, command, cookie, checked.sections, now)
        if isinstance(command, Offer):
            body = offer_command(command, checked, engine.settings, session.record)
        else:
            body = answer_command(command, checked)
        self._send(request, body, now)

    def _zone_of(self, session: _Session, command: Offer | Answer) -> Zone:
        """The side of the sender of a description."""
        if isinstance(command, Offer):
            return command.offerer_zone
        copy = session.journal.copy_of(session.session_id)
        if copy is None or copy.exchanges[-1].offer.offerer != command.offerer:
            raise WireError("an answer to an offer that was not made", 481)
        return copy.exchanges[-1].offer.answerer_zone

    def _note(self, session: _Session, command: MediaCommand, now: float) -> None:
        """A command that rtpengine has no word for: what it changes is known here, or by commands that it knows."""
        before = session.journal.copy_of(session.session_id)
        session.journal.sent(0, command)
        if isinstance(command, Establish):
            session.record = command.record
            self._deadlines.schedule(session, now + self._check_seconds)
            return
        after = session.journal.copy_of(session.session_id)
        if before is not None and after is not None and len(after.exchanges) < len(before.exchanges):
            # A rollback: rtpengine has applied the offer, and applies what was agreed on before it again.
            self._apply_again(session, after.exchanges[-1])

    def _apply_again(self, session: _Session, agreed: Restore) -> None:
        """Have the exchange that is agreed on applied once more, before the commands that wait. The offer names both
        sides: one without the tag of the answerer would begin a further branch of the call."""
        if agreed.answer is None:
            return
        session.queue.appendleft((_AGAIN, agreed.answer))
        session.queue.appendleft((_AGAIN, attrs.evolve(agreed.offer, answerer=agreed.answer.answerer)))

    def _refuse_queued(self, session: _Session) -> None:
        """The commands that wait are not carried out: the session ends."""
        for cookie, command in session.queue:
            if cookie != _AGAIN and isinstance(command, Offer | Answer):
                self._reply(cookie, MediaError(481, "the media session has ended"))
        session.queue.clear()

    def _end(self, session: _Session, command: Delete, now: float) -> None:
        self._refuse_queued(session)
        session.journal = SessionJournal()
        if session.engine is None:
            return
        # The whole call: each of the edge's has an identifier of its own, and may have had several callees.
        body = {"command": "delete", "call-id": command.session_id, "delete-delay": 0}
        session.busy = _EngineRequest(self, session.engine, session, command, 0, 0, now)
        self._send(session.busy, body, now)

    def _forget(self, session: _Session) -> None:
        if self._sessions.get(session.session_id) is session:
            del self._sessions[session.session_id]
        self._deadlines.schedule(session, None)
        self._place(session, None)

    # --- replies --------------------------------------------------------------------------------------------

    def _replied(self, request: _EngineRequest, reply: Mapping[str, Any], now: float) -> None:
        session, command = request.session, request.command
        self._count(request.engine, "ok" if reply.get("result") in ("ok", "pong") else "error")
        if session is None:
            return
        if isinstance(command, Offer | Answer):
            outcome, address = reply_of(reply, request.sections)
            if address and len(self._own) < limits.NG_ENGINE_ADDRESSES:
                self._own.add(address)
            if isinstance(outcome, MediaError) and outcome.status == 503 and self._is_new(request):
                session.tried.add(request.engine.number)
                if self._choose(session) is not None:
                    self._try_next(request, now)
                    return
            self._end_request(request, outcome, now)
            return
        if command is None and str(reply.get("error-reason")) in UNKNOWN_CALL:
            copy = session.journal.copy_of(session.session_id)
            tags = () if copy is None else copy.tags
            session.journal = SessionJournal()
            self._refuse_queued(session)
            self._effects.append(MediaTimeout(session.session_id, tags))
        session.busy = None
        self._go_on(session, now)

    def _end_request(self, request: _EngineRequest, outcome: MediaReply | MediaError, now: float) -> None:
        """The end of a request: signalling gets the outcome, and the session goes on."""
        session, command = request.session, request.command
        if session is None:
            return
        session.busy = None
        if isinstance(command, Offer | Answer):
            session.journal.replied(request.cookie, outcome)
            if request.cookie != _AGAIN:
                self._reply(request.cookie, outcome)
            elif isinstance(command, Offer) and isinstance(outcome, MediaError):
                _drop_again(session)  # the answer to it
            if not len(session.journal):
                self._abandon(session)
        self._go_on(session, now)

    def _try_next(self, request: _EngineRequest, now: float) -> None:
        """A new session at another rtpengine than the one that had its chance."""
        session, command = request.session, request.command
        if session is None or not isinstance(command, Offer):
            return
        session.tried.add(request.engine.number)
        engine = self._choose(session)
        if engine is None:
            return
        self._abandon(session)
        self._place(session, engine)
        checked = checked_description(command, command.offerer_zone, self._interfaces)  # it was judged before
        again = session.busy = _EngineRequest(self, engine, session, command, request.cookie, checked.sections, now)
        again.gives_up_at = request.gives_up_at
        self._send(again, offer_command(command, checked, engine.settings, session.record), now)

    def _abandon(self, session: _Session) -> None:
        """The session is not at its rtpengine any more, which may have opened it nevertheless: it is told so once."""
        if session.engine is not None:
            self._number += 1
            data = frame(self._cookie(), {"command": "delete", "call-id": session.session_id, "delete-delay": 0})
            self._effects.append(ToEngine(session.engine.number, data))
            self._place(session, None)

    def _is_new(self, request: _EngineRequest) -> bool:
        """Whether the request is the first offer of a session, which may go to any rtpengine."""
        session = request.session
        return session is not None and isinstance(request.command, Offer) and not len(session.journal)

    # --- rtpengines ------------------------------------------------------------------------------------------

    def _choose(self, session: _Session | None, other_than: _Engine | None = None) -> _Engine | None:
        """An rtpengine for a new session, at random by weight, of those that reply and were not tried; one that is late
        only if there is no other."""
        tried = set() if session is None else session.tried
        usable = [
            engine for engine in self._engines if engine.up and engine.number not in tried and engine is not other_than
        ]
        usable = [engine for engine in usable if not engine.late] or usable
        point = self._random() * sum(engine.settings.weight for engine in usable)
        for engine in usable:
            point -= engine.settings.weight
            if point < 0:
                return engine
        return usable[-1] if usable else None

    def _place(self, session: _Session, engine: _Engine | None) -> None:
        if session.engine is engine:
            return
        if session.engine is not None:
            session.engine.sessions -= 1
        session.engine = engine
        if engine is not None:
            engine.sessions += 1

    def _mark_up(self, engine: _Engine, now: float) -> None:
        engine.late = False
        if not engine.up:
            engine.up = True
            self._deadlines.schedule(engine, now + limits.NG_PING_SECONDS)

    def _mark_down(self, engine: _Engine, now: float) -> None:
        if engine.up:
            engine.up = False
            self._deadlines.schedule(engine, now + limits.NG_RECHECK_SECONDS)

    # --- sending ----------------------------------------------------------------------------------------------

    def _cookie(self) -> bytes:
        return b"%b_%d" % (self._prefix, self._number)

    def _send(self, request: _EngineRequest, body: Mapping[str, Any], now: float) -> None:
        self._number += 1
        request.name = self._cookie()
        request.data = frame(request.name, body)
        self._requests[request.name] = request
        self._schedule(request, now)
        self._effects.append(ToEngine(request.engine.number, request.data))

    def _schedule(self, request: _EngineRequest, now: float) -> None:
        """The next time to look at a request, after ``now``."""
        turns = request.moves_at, request.gives_up_at
        self._deadlines.schedule(request, min([now + request.pause, *(turn for turn in turns if turn > now)]))

    def _finish(self, request: _EngineRequest) -> None:
        self._deadlines.schedule(request, None)
        del self._requests[request.name]

    def _reply(self, cookie: int, reply: MediaReply | MediaError) -> None:
        self._effects.append(EngineReply(cookie, reply))

    def _count(self, engine: _Engine, outcome: str) -> None:
        self.counts.add(str(engine.settings.address), outcome)

    def _take_effects(self) -> list[ClientEffect]:
        effects, self._effects = self._effects, []
        return effects


def _agreed(session: _Session) -> Restore | None:
    """The exchange that both sides of a session have agreed on."""
    copy = session.journal.copy_of(session.session_id)
    first = None if copy is None else copy.exchanges[0]
    return first if first is not None and first.answer is not None and first.answer.final else None


def _drop_again(session: _Session) -> None:
    if session.queue and session.queue[0][0] == _AGAIN:
        session.queue.popleft()
