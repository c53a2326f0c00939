"""The messages that the peers of a program have sent and received, from which later messages are built."""

from __future__ import annotations

from typing import TypeVar

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.effects import Effect, Send
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Message, Request, Response
from fuzz.reading import read

__all__ = ["Dialog", "MessageHistory", "latest"]


_Item = TypeVar("_Item")


class Dialog:
    """One side of a dialog: its From and To, and the Contact that the edge gave it."""

    def __init__(self, flow: Flow, call_id: str, local: str, remote: str, target: str, cseq: int) -> None:
        self.flow = flow
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.cseq = self.invite = cseq


class MessageHistory:
    """The messages of all peers, since a program may have one peer use what another received.

    ``sent`` has all messages to the edge, ``requests`` those of them that are requests other than ACK and CANCEL.
    ``edge_requests`` has the requests of the edge, ``edge_responses`` its last responses by branch, ``path`` its
    last Path.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Flow, bytes]] = []
        self.requests: list[tuple[Flow, Request]] = []
        self.edge_requests: list[tuple[Flow, Request]] = []
        self.edge_responses: dict[str, Response] = {}
        self.path = ""
        self._dialogs: list[Dialog] = []

    def record_sent(self, flow: Flow, data: bytes) -> None:
        """Record a message to the edge."""
        self.sent.append((flow, data))
        message = read(data)
        if isinstance(message, Request) and message.method not in ("ACK", "CANCEL"):
            self.requests.append((flow, message))

    def record_effects(self, effects: list[Effect]) -> None:
        """Record the messages that the edge sends."""
        for effect in effects:
            if isinstance(effect, Send):
                self._read(effect.flow, effect.data)

    def _read(self, flow: Flow, data: bytes) -> None:
        message = read(data)
        if message is None:
            return
        if isinstance(message, Request):
            if message.method != "ACK":
                self.edge_requests.append((flow, message))
            self.path = message.get("Path") or self.path
        else:
            self.edge_responses[message.via.branch] = message
            if 100 < message.status < 300 and message.to_tag and message.get("Contact"):
                self.record_dialog(flow, message, "From", "To", message.cseq)

    def record_dialog(self, flow: Flow, message: Message, local: str, remote: str, cseq: int, tag: str = "") -> None:
        """Record a dialog, or its new remote target; ``local`` and ``remote`` are "From" and "To" or the reverse."""
        own_address, remote_address = message.get(local) or "", message.get(remote) or ""
        target = (message.get("Contact") or "").strip("<>")
        own_address = f"{own_address};tag={tag}" if tag else own_address
        for dialog in self._dialogs:
            if (dialog.flow, dialog.call_id, dialog.local, dialog.remote) == (
                flow,
                message.call_id,
                own_address,
                remote_address,
            ):
                dialog.target = target
                return
        self._dialogs.append(Dialog(flow, message.call_id, own_address, remote_address, target, cseq))

    def dialog_of(self, address: Source, index: int, of_others: bool) -> Dialog | None:
        """A dialog of the peer at ``address``, or with ``of_others`` of another peer; 0 is the latest."""
        matching = [dialog for dialog in self._dialogs if (dialog.flow.peer == address) is not of_others]
        chosen = matching or self._dialogs
        return chosen[len(chosen) - 1 - index % len(chosen)] if chosen else None

    def target(self, dialog: Dialog, token: str) -> str:
        """The Contact that the edge gave, changed by ``token``.

        ``f`` flips a bit, ``k`` cuts it, ``l`` makes it longer, ``u`` takes the URI that was called first, ``p`` the
        last Path, ``z`` a Contact of the other side.
        """
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


def latest(items: list[_Item], index: int) -> _Item | None:
    """The last item, or the one ``index`` before it; None if there is none."""
    return items[len(items) - 1 - index % len(items)] if items else None
