"""Memory: the messages that the peers of a program have sent and received."""

from __future__ import annotations

from typing import TypeVar

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.effects import Effect, Send
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Message, Request, Response
from fuzz.reading import read

__all__ = ["Dialog", "Memory", "latest"]


_Thing = TypeVar("_Thing")


class Dialog:
    """What one side knows of a dialog: how it names both ends, and the Contact that the edge has shown it."""

    def __init__(self, flow: Flow, call_id: str, local: str, remote: str, target: str, cseq: int) -> None:
        self.flow = flow
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.cseq = self.invite = cseq


class Memory:
    """Everybody's: a letter may give one party what another has seen.

    ``history`` is all that was sent to the edge, ``requests`` what of it was a request and no ACK or CANCEL;
    ``asked`` are the edge's own requests, ``told`` its last answers by the branch that they answer, ``path`` the
    Path it has shown last.
    """

    def __init__(self) -> None:
        self.history: list[tuple[Flow, bytes]] = []
        self.requests: list[tuple[Flow, Request]] = []
        self.asked: list[tuple[Flow, Request]] = []
        self.told: dict[str, Response] = {}
        self.path = ""
        self._dialogs: list[Dialog] = []

    def keep(self, flow: Flow, data: bytes) -> None:
        """Somebody sends this to the edge."""
        self.history.append((flow, data))
        message = read(data)
        if isinstance(message, Request) and message.method not in ("ACK", "CANCEL"):
            self.requests.append((flow, message))

    def saw(self, effects: list[Effect]) -> None:
        """Somebody reads what the edge has sent."""
        for effect in effects:
            if isinstance(effect, Send):
                self._read(effect.flow, effect.data)

    def _read(self, flow: Flow, data: bytes) -> None:
        message = read(data)
        if message is None:
            return
        if isinstance(message, Request):
            if message.method != "ACK":
                self.asked.append((flow, message))
            self.path = message.get("Path") or self.path
        else:
            self.told[message.via.branch] = message
            if 100 < message.status < 300 and message.to_tag and message.get("Contact"):
                self.remember(flow, message, "From", "To", message.cseq)

    def remember(self, flow: Flow, message: Message, local: str, remote: str, cseq: int, tag: str = "") -> None:
        mine, others = message.get(local) or "", message.get(remote) or ""
        target = (message.get("Contact") or "").strip("<>")
        mine = f"{mine};tag={tag}" if tag else mine
        for dialog in self._dialogs:
            if (dialog.flow, dialog.call_id, dialog.local, dialog.remote) == (flow, message.call_id, mine, others):
                dialog.target = target
                return
        self._dialogs.append(Dialog(flow, message.call_id, mine, others, target, cseq))

    def dialog_of(self, party: Source, which: int, others: bool) -> Dialog | None:
        own = [dialog for dialog in self._dialogs if (dialog.flow.peer == party) is not others]
        chosen = own or self._dialogs
        return chosen[len(chosen) - 1 - which % len(chosen)] if chosen else None

    def target(self, dialog: Dialog, token: str) -> str:
        """The Contact that the edge showed; ``f`` a bit of it flipped, ``k`` cut, ``l`` longer, ``u`` the URI first
        called, ``p`` the last Path, ``z`` a Contact that the other side was shown."""
        user, at, rest = dialog.target.partition("@")
        if token == "f":
            return f"{user[:-5]}{'A' if user[-5:-4] != 'A' else 'B'}{user[-4:]}{at}{rest}"
        if token == "k":
            return f"{user[: len(user) // 2]}{at}{rest}"
        if token == "l":
            return f"{user}AAAA{at}{rest}"
        if token == "u":
            uri = parse_name_addr(dialog.remote).uri_text
            return uri if uri.startswith("sip") else dialog.target
        if token == "p":
            return self.path.strip("<>").removesuffix(";lr") or dialog.target
        if token == "z":
            zone = dialog.flow.listener.zone
            return next((d.target for d in self._dialogs if d.flow.listener.zone is not zone), dialog.target)
        return dialog.target


def latest(things: list[_Thing], which: int) -> _Thing | None:
    """The last of them, or one so many before it."""
    return things[len(things) - 1 - which % len(things)] if things else None
