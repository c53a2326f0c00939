"""Which dialog of the replay a captured request belongs to: tags and tokens differ from those of the capture."""

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
    """The dialogs that the replayed edge has let callers begin, by Call-ID and the caller's tag.

    A captured ACK or BYE names a dialog by the tag that somebody else's callee had, and goes to the Contact
    that another edge gave out. It gets those of this replay in their place, and loses its Route; all else of it
    stays as it was.
    """

    __slots__ = ("_call_ids", "_known", "fitted")

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, str]] = {}
        self._call_ids: dict[bytes, int] = {}
        """How many of them have a Call-ID: what has none of these, a flood say, need not be read twice."""
        self.fitted = 0
        """Requests that were changed so."""

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, data: bytes) -> None:
        """An answer that the core sends to the outside: where it says how the dialog is named, remember that."""
        try:
            response = parse_message(data)
        except WireError:
            return  # the answer to something malformed has what could be saved of it, which need not be a message
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
        """``data`` as it would have been in this replay; as it is, where it belongs to no dialog of it."""
        found = _CALL_ID.search(data)
        if found is None or found[1] not in self._call_ids or data[:4] == b"SIP/":
            return data
        try:
            request = parse_message(data)
            if not isinstance(request, Request) or not request.in_dialog:
                return data
            known = self._known.get((request.call_id, request.from_tag))
        except WireError:
            return data  # as broken as it came
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
