"""Which media session a command is for: calls by Call-ID, each with a dialog for every branch that has media of its
own."""

from __future__ import annotations

from collections.abc import Iterator

from edgesbc.base import limits
from edgesbc.base.errors import WireError

__all__ = ["NgDialog", "NgDialogs"]


class NgDialog:
    """Two tags of a call, and the media session between them.

    ``tags`` are those of the side that offered first and of the other one, "" before it has answered. ``interfaces``
    and ``labels`` are by the index of the side.
    """

    __slots__ = (
        "answer", "answered", "call_id", "created", "due", "interfaces", "labels", "last_signal", "metadata",
        "protocols", "queued", "session_id", "tags", "via_branch",
    )  # fmt: skip

    def __init__(self, session_id: str, call_id: str, tags: tuple[str, str], via_branch: str, now: float) -> None:
        self.session_id = session_id
        self.call_id = call_id
        self.tags = tags
        self.via_branch = via_branch
        self.answered = False
        self.answer: tuple[str, str, bytes, bytes] | None = None
        """The last answer: the tags of offerer and answerer, the description, and that for the other side."""
        self.interfaces = ("", "")
        self.labels = ["", ""]
        self.metadata = ""
        self.protocols: list[str] = []
        """The profile of each section that the last offer was sent with, where the other side got another one."""
        self.created = self.last_signal = now
        self.due: float | None = None
        """When a delayed delete ends it (seconds)."""
        self.queued: float | None = None

    def side_of(self, tag: str) -> int:
        """The index of the side with that tag; that of the other side where no side has it."""
        return 0 if tag == self.tags[0] else 1

    def other(self, tag: str) -> str:
        """The tag of the other side."""
        return self.tags[1 - self.side_of(tag)]

    def is_of_branch(self, via_branch: str) -> bool:
        """Whether the Via branch of a request outside a dialog may be that of the offer that began this one."""
        return not via_branch or not self.via_branch or via_branch == self.via_branch


class NgDialogs:
    """All dialogs, by Call-ID."""

    __slots__ = ("_by_session", "_calls", "_number")

    def __init__(self) -> None:
        self._calls: dict[str, list[NgDialog]] = {}
        self._by_session: dict[str, NgDialog] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._by_session)

    def call_ids(self) -> Iterator[str]:
        """Each Call-ID once, the oldest first."""
        return iter(self._calls)

    def of_call(self, call_id: str) -> list[NgDialog]:
        """The dialogs of a call; those of none are an empty list."""
        return list(self._calls.get(call_id, ()))

    def of_session(self, session_id: str) -> NgDialog | None:
        """The dialog with that media session."""
        return self._by_session.get(session_id)

    def for_offer(self, call_id: str, offerer: str, answerer: str, via_branch: str) -> NgDialog | None:
        """The dialog that an offer changes, None where it begins one.

        Two tags name a dialog, whatever the branch: each request of it has one of its own.
        """
        dialogs = self._calls.get(call_id, ())
        if not answerer:
            own = (dialog for dialog in dialogs if offerer in dialog.tags and dialog.is_of_branch(via_branch))
            return next(own, None)
        for dialog in dialogs:
            if offerer in dialog.tags and answerer in dialog.tags:
                return dialog
        # One side has no tag yet: that of the offerer, or of a callee that offers in its response.
        half = [
            dialog for dialog in dialogs if "" in dialog.tags and (offerer in dialog.tags or answerer in dialog.tags)
        ]
        return next((dialog for dialog in half if dialog.via_branch == via_branch), half[0] if half else None)

    def for_answer(self, call_id: str, offerer: str, answerer: str, via_branch: str) -> NgDialog | None:
        """The dialog whose offer is answered. Another answerer than before is another fork of that branch."""
        dialogs = [dialog for dialog in self._calls.get(call_id, ()) if offerer in dialog.tags]
        for dialog in dialogs:
            if answerer in dialog.tags:
                return dialog
        for dialog in dialogs:
            if via_branch and dialog.via_branch == via_branch:
                return dialog
        own = (dialog for dialog in dialogs if dialog.is_of_branch(via_branch))
        return next(own, dialogs[0] if len(dialogs) == 1 else None)

    def to_end(self, call_id: str, tag: str, other: str, via_branch: str) -> list[NgDialog]:
        """The dialogs that a delete ends. Without a tag: all of the call. With a branch and one tag: those of the
        branch, and not one that another branch has answered."""
        return [
            dialog
            for dialog in self._calls.get(call_id, ())
            if (not tag or tag in dialog.tags)
            and (not other or other in dialog.tags or "" in dialog.tags)
            and ((tag and other) or dialog.is_of_branch(via_branch))
        ]

    def new(self, call_id: str, offerer: str, answerer: str, via_branch: str, now: float) -> NgDialog:
        """A dialog that is not in the table yet. Raises :class:`WireError` where the call has too many."""
        if len(self._calls.get(call_id, ())) >= limits.NG_DIALOGS_PER_CALL:
            raise WireError(f"more than {limits.NG_DIALOGS_PER_CALL} branches of one call")
        self._number += 1
        return NgDialog(f"{self._number}:{call_id}", call_id, (offerer, answerer), via_branch, now)

    def add(self, dialog: NgDialog) -> None:
        self._calls.setdefault(dialog.call_id, []).append(dialog)
        self._by_session[dialog.session_id] = dialog

    def remove(self, dialog: NgDialog) -> None:
        del self._by_session[dialog.session_id]
        dialogs = self._calls[dialog.call_id]
        dialogs.remove(dialog)
        if not dialogs:
            del self._calls[dialog.call_id]
