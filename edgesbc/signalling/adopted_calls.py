"""Calls of an earlier run of signalling, whose media went on meanwhile: AdoptedCalls ends their media sessions.

Of such a call only its dialog is known, by the record that the media plane kept for signalling. Requests inside the
dialog go by their tokens, as those of any call from before a restart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from edgesbc.media.commands import Delete, Refresh
from edgesbc.media.session_journal import SessionCopy
from edgesbc.signalling.call import Call
from edgesbc.signalling.effect_queue import EffectQueue
from edgesbc.signalling.effects import Media
from edgesbc.sip.message import Request

__all__ = ["AdoptedCall", "AdoptedCalls", "record_of"]

_FORM = 1


def record_of(call: Call) -> bytes:
    """What the media plane keeps of a call that is answered: its dialog."""
    callee = "" if call.callee is None else call.callee.tag
    return json.dumps([_FORM, call.call_id, call.caller.tag, callee]).encode("ascii")


class AdoptedCall:
    """A call by its media session and its dialog; ``tags`` are those of caller and callee."""

    __slots__ = ("call_id", "media_id", "tags")

    def __init__(self, media_id: str, call_id: str, tags: tuple[str, str]) -> None:
        self.media_id = media_id
        self.call_id = call_id
        self.tags = tags


class AdoptedCalls:
    """At most as many as there are media sessions. They leave the table by :meth:`end` and :meth:`forget`."""

    __slots__ = ("_by_call_id", "_by_media_id", "_effects")

    def __init__(self, effects: EffectQueue) -> None:
        self._effects = effects
        self._by_media_id: dict[str, AdoptedCall] = {}
        self._by_call_id: dict[str, list[AdoptedCall]] = {}

    def __len__(self) -> int:
        return len(self._by_media_id)

    def adopt(self, copies: Iterable[SessionCopy]) -> None:
        """Take over the sessions of answered calls, and end those of calls that were being set up: nobody knows their
        transactions any more."""
        for copy in copies:
            call = _read(copy)
            if call is None:
                for tag in copy.tags[:1]:
                    self._effects.emit(Media(0, Delete(copy.session_id, tag)))
            elif copy.session_id not in self._by_media_id:
                self._by_media_id[copy.session_id] = call
                self._by_call_id.setdefault(call.call_id, []).append(call)

    def find(self, request: Request) -> AdoptedCall | None:
        """The call whose dialog a request belongs to."""
        tags = {request.from_tag, request.to_tag}
        for call in self._by_call_id.get(request.call_id, ()):
            if tags == set(call.tags):
                return call
        return None

    def refresh(self, call: AdoptedCall, tag: str) -> None:
        """A side has refreshed the call without a description (RFC 4028)."""
        self._effects.emit(Media(0, Refresh(call.media_id, tag)))

    def end(self, call: AdoptedCall) -> None:
        """The call was hung up: end its media session. A second time does nothing."""
        if self.forget(call.media_id):
            self._effects.emit(Media(0, Delete(call.media_id, call.tags[0])))

    def end_all(self) -> None:
        """End the media session of every call."""
        for call in tuple(self._by_media_id.values()):
            self.end(call)

    def forget(self, media_id: str) -> bool:
        """The media plane has ended the session; whether it was one of these."""
        call = self._by_media_id.pop(media_id, None)
        if call is None:
            return False
        same = self._by_call_id[call.call_id]
        same.remove(call)
        if not same:
            del self._by_call_id[call.call_id]
        return True


def _read(copy: SessionCopy) -> AdoptedCall | None:
    """The call of a session; None where it was not answered. Of a record in another form the dialog is not known."""
    if copy.establish is None:
        return None
    try:
        fields = json.loads(copy.establish.record)
    except ValueError:
        fields = None
    if isinstance(fields, list) and len(fields) == 4 and fields[0] == _FORM:
        _, call_id, caller, callee = fields
        if isinstance(call_id, str) and isinstance(caller, str) and isinstance(callee, str):
            return AdoptedCall(copy.session_id, call_id, (caller, callee))
    return AdoptedCall(copy.session_id, "", (copy.establish.tag, ""))
