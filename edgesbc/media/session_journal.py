"""What signalling keeps of each media session, so that a media plane that is started again can restore it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import attrs

from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    Offer,
    Refresh,
    RelayLayout,
    Restore,
    Rollback,
)

__all__ = ["SessionCopy", "SessionJournal"]


@attrs.frozen
class SessionCopy:
    """One session as commands: the exchange of offer and answer that is agreed on and the one that has no final answer,
    where there are such, and that the call is answered."""

    session_id: str
    exchanges: tuple[Restore, ...]
    establish: Establish | None = None

    @property
    def commands(self) -> list[MediaCommand]:
        """The commands that restore it, in order."""
        return [*self.exchanges] if self.establish is None else [*self.exchanges, self.establish]

    @property
    def tags(self) -> tuple[str, ...]:
        """The dialog tags of its sides."""
        last = self.exchanges[-1]
        tags = (last.offer.offerer, last.offer.answerer if last.answer is None else last.answer.answerer)
        return tuple(tag for tag in tags if tag)


class _Entry:
    """One session: ``agreed`` is the exchange by which media is relayed, ``pending`` the one without a final answer."""

    __slots__ = ("agreed", "establish", "pending", "tags")

    def __init__(self) -> None:
        self.agreed: Restore | None = None
        self.pending: Restore | None = None
        self.establish: Establish | None = None
        self.tags: tuple[str, str] = ("", "")

    def has(self, tag: str) -> bool:
        return tag in self.tags or (self.pending is not None and self.pending.offer.offerer == tag)


class SessionJournal:
    """Follows the commands that are sent to a media plane and its replies: :meth:`sent` and :meth:`replied` are called
    in their order. A session is known by its identifier alone: each call has one.

    The media plane carries out commands in the order in which they are sent: a command without a reply that was sent
    after an offer counts once that is replied to.
    """

    __slots__ = ("_entries", "_unanswered")

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._unanswered: deque[tuple[int, MediaCommand]] = deque()

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._entries)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._entries

    def sent(self, cookie: int, command: MediaCommand) -> None:
        """A command was sent; ``cookie`` identifies its reply, if it has one."""
        if self._unanswered or isinstance(command, Offer | Answer | Restore):
            self._unanswered.append((cookie, command))
        else:
            self._carry_out(command)

    def replied(self, cookie: int, reply: MediaReply | MediaError) -> None:
        """The reply to the command with that cookie came; a reply that was not awaited is ignored."""
        if not any(one == cookie for one, _ in self._unanswered):
            return
        while self._unanswered:
            sent, command = self._unanswered[0]
            if isinstance(command, Offer | Answer | Restore):
                if sent != cookie:
                    break
                if isinstance(reply, MediaReply):
                    self._apply(command, reply.layout)
            else:
                self._carry_out(command)
            self._unanswered.popleft()

    def ended(self, session_id: str) -> None:
        """The media plane has ended the session."""
        self._entries.pop(session_id, None)

    def fail_unanswered(self) -> list[int]:
        """The media plane is gone: what it has not replied to was not carried out. Returns the cookies of these
        commands."""
        cookies = []
        while self._unanswered:
            cookie, command = self._unanswered.popleft()
            if isinstance(command, Offer | Answer | Restore):
                cookies.append(cookie)
            else:
                self._carry_out(command)
        return cookies

    def take_over(self, copy: SessionCopy) -> None:
        """Keep a session that another journal kept."""
        for exchange in copy.exchanges:
            self._apply(exchange, exchange.layout)
        entry = self._entries.get(copy.session_id)
        if entry is not None:
            entry.establish = copy.establish

    def copies(self) -> Iterator[SessionCopy]:
        """Every session but those whose only offer was taken back."""
        for session_id in self._entries:
            copy = self.copy_of(session_id)
            if copy is not None:
                yield copy

    def copy_of(self, session_id: str) -> SessionCopy | None:
        """The session with that identifier, None where there is none or its only offer was taken back."""
        entry = self._entries.get(session_id)
        if entry is None:
            return None
        exchanges = tuple(exchange for exchange in (entry.agreed, entry.pending) if exchange is not None)
        return SessionCopy(session_id, exchanges, entry.establish) if exchanges else None

    # --- what changes a session --------------------------------------------------------------------------

    def _apply(self, command: Offer | Answer | Restore, layout: RelayLayout) -> None:
        """The media plane has carried out a command, and has the relay as ``layout`` says."""
        if isinstance(command, Offer):
            self._offer(command, layout)
        elif isinstance(command, Answer):
            self._answer(command, layout)
        else:
            self._offer(command.offer, layout)
            if command.answer is not None:
                self._answer(command.answer, layout)

    def _offer(self, offer: Offer, layout: RelayLayout) -> None:
        entry = self._entries.get(offer.session_id)
        if entry is None:
            entry = self._entries[offer.session_id] = _Entry()
            entry.tags = (offer.offerer, offer.answerer)
        before = entry.pending
        if before is not None and before.answer is not None:
            # The provisional answer stays in force (SessionTable does the same).
            entry.agreed = attrs.evolve(before, answer=attrs.evolve(before.answer, final=True))
        entry.pending = Restore(offer, layout)

    def _answer(self, answer: Answer, layout: RelayLayout) -> None:
        entry = self._entries.get(answer.session_id)
        exchange = None if entry is None else entry.pending or entry.agreed
        if entry is None or exchange is None:
            return
        answered = Restore(exchange.offer, layout, answer)
        if entry.pending is None:
            entry.agreed = attrs.evolve(answered, answer=attrs.evolve(answer, final=True))
        elif answer.final:
            entry.agreed, entry.pending = answered, None
        else:
            entry.pending = answered
        entry.tags = (answer.offerer, answer.answerer)

    def _carry_out(self, command: MediaCommand) -> None:
        """The media plane carries out a command that has no reply."""
        entry = self._entries.get(command.offer.session_id if isinstance(command, Restore) else command.session_id)
        if entry is None:
            return
        if isinstance(command, Rollback):
            self._roll_back(entry, command)
        elif isinstance(command, Offer | Answer | Restore | Refresh) or not entry.has(command.tag):
            pass
        elif isinstance(command, Delete):
            del self._entries[command.session_id]
        elif isinstance(command, Establish):
            entry.establish = command
        else:
            self._acknowledge(entry, command)

    def _roll_back(self, entry: _Entry, command: Rollback) -> None:
        if entry.pending is None or entry.pending.offer.offerer != command.offerer:
            return
        entry.pending = None
        if entry.agreed is None:
            return  # the session stays without ports, and it may be that of a call that is answered
        answer = entry.agreed.answer
        entry.tags = (entry.agreed.offer.offerer, "" if answer is None else answer.answerer)

    def _acknowledge(self, entry: _Entry, command: Acknowledge) -> None:
        entry.agreed = entry.agreed and _unlimited(entry.agreed, command.tag)
        entry.pending = entry.pending and _unlimited(entry.pending, command.tag)


def _unlimited(exchange: Restore, tag: str) -> Restore:
    """``exchange`` after the side with that tag has acknowledged."""
    offer, answer = exchange.offer, exchange.answer
    if offer.offerer == tag:
        offer = attrs.evolve(offer, consent=Consent.ANY)
    if answer is not None and answer.answerer == tag:
        answer = attrs.evolve(answer, consent=Consent.ANY)
    return attrs.evolve(exchange, offer=offer, answer=answer)
