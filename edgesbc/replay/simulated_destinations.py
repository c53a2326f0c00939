"""The simulated destinations of a replay, which respond to the requests that the core sends to the private side."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import Flow, host_port
from edgesbc.base.counts import Counts
from edgesbc.base.errors import WireError
from edgesbc.signalling import topology
from edgesbc.sip.message import Fields, Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["MODES", "Answers", "SimulatedDestinations"]

MODES = ("obliging", "captured", "silent")
"""``obliging``: INVITE gets 180 and 200, other requests 200, at once. ``captured``: the responses of the capture, at
their times. ``silent``: no responses."""

Answers = list[tuple[Flow, bytes]]
_Key = tuple[str, str, int, str]
"""Call-ID, From tag, and the two parts of CSeq, which the edge does not change."""
_COPIED = frozenset({"Contact", "Expires", "Min-Expires", "WWW-Authenticate", "Proxy-Authenticate", "Retry-After"})
"""Header fields that are copied from a captured response."""


class SimulatedDestinations:
    """Takes the messages that the signalling core sends to the private side, and returns the responses.

    In every mode but ``silent``, a REGISTER gets the response of the capture, so that only sources that were registered
    in it become registered.
    """

    __slots__ = ("_mode", "_pending", "_tags", "forwarded")

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._tags = 0
        self._pending: dict[_Key, list[tuple[Flow, Request]]] = {}
        self.forwarded = Counts()
        """The number of requests by (destination, method)."""

    def take(self, flow: Flow, data: bytes) -> Answers:
        """The immediate responses to a message that the signalling core sends to ``flow``."""
        try:
            message = parse_message(data)
        except WireError:
            self.forwarded.add(str(flow.peer), "what the inside could not read")
            return []
        if not isinstance(message, Request):
            return []
        self.forwarded.add(str(flow.peer), message.method)
        if message.method == "ACK" or self._mode == "silent":
            return []
        if message.method == "CANCEL":
            return [(flow, self._answer(flow, message, 200)), *self._cancelled(message)]
        if message.method == "REGISTER" or (self._mode == "captured" and not message.in_dialog):
            self._keep(flow, message)
            return [(flow, self._answer(flow, message, 100))]
        statuses = (180, 200) if message.method == "INVITE" and not message.in_dialog else (200,)
        tag = self._tag()
        return [(flow, self._answer(flow, message, status, tag)) for status in statuses]

    def captured(self, response: Response) -> Answers:
        """The capture has this response to the public side: the requests that wait for it get the same."""
        if not self._pending or response.status == 100:
            return []
        key = _key(response)
        waiting = self._pending.get(key)
        if waiting is None:
            return []
        if response.status >= 200:
            del self._pending[key]
        extra = [pair for pair in response.fields if pair[0] in _COPIED]
        tag = response.to_tag or self._tag()
        return [(flow, self._answer(flow, request, response.status, tag, extra)) for flow, request in waiting]

    def _cancelled(self, cancel: Request) -> Answers:
        key = (cancel.call_id, cancel.from_tag, cancel.cseq, "INVITE")
        waiting = self._pending.get(key, [])
        cancelled = [entry for entry in waiting if entry[1].via.branch == cancel.via.branch]
        for entry in cancelled:
            waiting.remove(entry)
        return [(flow, self._answer(flow, request, 487)) for flow, request in cancelled]

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
