"""The inside of a replay: what stands in for the policy's destinations, and answers or does not."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, host_port
from edgesbc.base.counts import Counts
from edgesbc.base.errors import WireError
from edgesbc.signalling import topology
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["MOODS", "Answers", "SimulatedDestinations"]

MOODS = ("obliging", "captured", "silent")
"""``obliging``: INVITE gets 180 and 200, others 200, at once. ``captured``: what the capture shows, when it shows it.
``silent``: nothing."""

Answers = list[tuple[Flow, bytes]]
_Key = tuple[str, str, int, str]
"""Call-ID, From tag, and the two parts of CSeq: they pass the edge as they are."""
_TOLD = frozenset({"Contact", "Expires", "Min-Expires", "WWW-Authenticate", "Proxy-Authenticate", "Retry-After"})
"""What a captured answer hands down besides its status."""


class SimulatedDestinations:
    """Takes what the signalling core sends inward, and says what comes back.

    A REGISTER is always answered as the capture shows, in every mood but ``silent``: whoever it makes a
    registered user of must have been one.
    """

    __slots__ = ("_mood", "_pending", "_tags", "forwarded")

    def __init__(self, mood: str) -> None:
        self._mood = mood
        self._tags = 0
        self._pending: dict[_Key, list[tuple[Flow, Request]]] = {}
        self.forwarded = Counts()
        """Requests taken, by (destination, method)."""

    def take(self, flow: Flow, data: bytes) -> Answers:
        """What comes back at once for a message that the signalling core sends to ``flow``."""
        try:
            message = parse_message(data)
        except WireError:
            self.forwarded.add(str(flow.peer), "what the inside could not read")
            return []
        if not isinstance(message, Request):
            return []
        self.forwarded.add(str(flow.peer), message.method)
        if message.method == "ACK" or self._mood == "silent":
            return []
        if message.method == "CANCEL":
            return [(flow, self._answer(flow, message, 200)), *self._cancelled(message)]
        if message.method == "REGISTER" or (self._mood == "captured" and not message.in_dialog):
            self._keep(flow, message)
            return [(flow, self._answer(flow, message, 100))]
        statuses = (180, 200) if message.method == "INVITE" and not message.in_dialog else (200,)
        tag = self._tag()
        return [(flow, self._answer(flow, message, status, tag)) for status in statuses]

    def captured(self, response: Response) -> Answers:
        """The capture shows an answer that went outward: what waits for it gets the same."""
        if not self._pending or response.status == 100:
            return []
        key = _key(response)
        waiting = self._pending.get(key)
        if waiting is None:
            return []
        if response.status >= 200:
            del self._pending[key]
        extra = [pair for pair in response.fields if pair[0] in _TOLD]
        tag = response.to_tag or self._tag()
        return [(flow, self._answer(flow, request, response.status, tag, extra)) for flow, request in waiting]

    def _cancelled(self, cancel: Request) -> Answers:
        key = (cancel.call_id, cancel.from_tag, cancel.cseq, "INVITE")
        waiting = self._pending.get(key, [])
        mine = [each for each in waiting if each[1].via.branch == cancel.via.branch]
        for each in mine:
            waiting.remove(each)
        return [(flow, self._answer(flow, request, 487)) for flow, request in mine]

    def _keep(self, flow: Flow, request: Request) -> None:
        key = _key(request)
        if key not in self._pending and len(self._pending) >= limits.REPLAY_PENDING:
            del self._pending[next(iter(self._pending))]
        waiting = self._pending.setdefault(key, [])
        if len(waiting) < limits.FORK_BRANCHES:
            waiting.append((flow, request))

    def _tag(self) -> str:
        self._tags += 1
        return f"inside-{self._tags:x}"

    def _answer(self, flow: Flow, request: Request, status: int, tag: str = "", extra: Fields | None = None) -> bytes:
        fields = list(extra or ())
        if request.method != "REGISTER":
            fields = [pair for pair in fields if pair[0] != "Contact"]
            if 100 < status < 300:
                fields.append(("Contact", f"<sip:inside@{host_port(*flow.peer)}>"))
        vias = [("Via", value) for value in request.get_all("Via")]
        return topology.answer(request, vias, status, tag or self._tag(), fields)


def _key(message: Request | Response) -> _Key:
    return message.call_id, message.from_tag, message.cseq, message.cseq_method
