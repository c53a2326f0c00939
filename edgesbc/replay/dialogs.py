"""The dialogs of a replay: captured requests inside a dialog get the tags and tokens of the replayed one."""

from __future__ import annotations

import re

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.parse import parse_message

__all__ = ["Dialogs"]

_CALL_ID = re.compile(rb"\n(?:call-id|i)[ \t]*:\s*(\S+)", re.IGNORECASE)


class Dialogs:
    """The dialogs that callers have begun at the replayed edge, by Call-ID and the caller's tag.

    A captured ACK or BYE has the callee's tag and the Contact of the capture. They are replaced by those of this
    replay, and Route is removed; all else stays as it was.
    """

    __slots__ = ("_call_ids", "_known", "fitted")

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, str]] = {}
        self._call_ids: dict[bytes, int] = {}
        """The number of dialogs by Call-ID: a message with another Call-ID, as in a flood, need not be parsed here."""
        self.fitted = 0
        """The number of requests that were changed."""

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, data: bytes) -> None:
        """Note the tag and Contact of a response that the core sends to the public side and that makes a dialog."""
        try:
            response = parse_message(data)
        except WireError:
            return  # the response to a malformed request need not be a valid message
        if not isinstance(response, Response) or response.cseq_method != "INVITE" or not 100 < response.status < 300:
            return
        contact = response.get("Contact")
        if contact is None or not response.to_tag:
            return
        key = (response.call_id, response.from_tag)
        if key not in self._known:
            if len(self._known) >= limits.REPLAY_DIALOGS:
                self._forget(next(iter(self._known)))
            name = _bytes(response.call_id)
            self._call_ids[name] = self._call_ids.get(name, 0) + 1
        self._known[key] = (response.to_tag, parse_name_addr(contact).uri_text)

    def _forget(self, key: tuple[str, str]) -> None:
        del self._known[key]
        name = _bytes(key[0])
        self._call_ids[name] -= 1
        if not self._call_ids[name]:
            del self._call_ids[name]

    def fit(self, data: bytes) -> bytes:
        """The message in ``data`` with the tag and Contact of this replay, or unchanged if it is in no dialog of it."""
        match = _CALL_ID.search(data)
        if match is None or match[1] not in self._call_ids or data[:4] == b"SIP/":
            return data
        try:
            request = parse_message(data)
            if not isinstance(request, Request) or not request.in_dialog:
                return data
            known = self._known.get((request.call_id, request.from_tag))
        except WireError:
            return data
        if known is None or not request.uri.scheme.startswith("sip"):
            return data
        tag, contact = known
        fields = [
            (name, value.replace(f"tag={request.to_tag}", f"tag={tag}") if name == "To" else value)
            for name, value in request.fields
            if name != "Route"
        ]
        self.fitted += 1
        return serialise(f"{request.method} {contact} SIP/2.0", fields, request.body)


def _bytes(call_id: str) -> bytes:
    return call_id.encode("utf-8", "surrogateescape")
