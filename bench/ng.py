"""The commands of ``bench relay``, which controls the edge's media plane and rtpengine by the same datagrams of the NG
protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Answer, MediaError, MediaReply, Offer

__all__ = ["answer", "offer", "ping", "read_command", "write_reply"]


def ping() -> dict[str, Any]:
    """A ``ping``; the reply is ``{"result": "pong"}``."""
    return {"command": "ping"}


def offer(call_id: str, from_tag: str, sdp: str, direction: tuple[str, str]) -> dict[str, Any]:
    """An ``offer`` command (RFC 3264 section 5).

    ``from_tag`` is the dialog tag of the offerer, ``direction`` the interfaces of the offerer and of the other side.
    """
    return _with_sdp("offer", call_id, from_tag, sdp) | {"direction": list(direction)}


def answer(call_id: str, from_tag: str, to_tag: str, sdp: str) -> dict[str, Any]:
    """An ``answer`` command (RFC 3264 section 6).

    As in rtpengine, ``from_tag`` is the dialog tag of the offerer and ``to_tag`` that of the answerer.
    """
    return _with_sdp("answer", call_id, from_tag, sdp) | {"to-tag": to_tag}


def _with_sdp(command: str, call_id: str, from_tag: str, sdp: str) -> dict[str, Any]:
    return {
        "command": command,
        "call-id": call_id,
        "from-tag": from_tag,
        "sdp": sdp,
        "replace": ["origin", "session-connection"],
    }


def read_command(command: Mapping[str, Any]) -> Offer | Answer:
    """The media command of a dictionary of :func:`offer` or :func:`answer`.

    Raises :class:`WireError` for any other dictionary.
    """
    try:
        sdp = command["sdp"].encode("utf-8", "surrogateescape")
        if command["command"] == "offer":
            offerer_zone, answerer_zone = (Zone(name) for name in command["direction"])
            return Offer(command["call-id"], command["from-tag"], "", sdp, offerer_zone, answerer_zone)
        if command["command"] == "answer":
            return Answer(command["call-id"], command["from-tag"], command["to-tag"], sdp)
    except (KeyError, AttributeError, TypeError, ValueError):
        pass
    raise WireError("expected an offer or an answer with sdp, call-id, from-tag and direction or to-tag")


def write_reply(reply: MediaReply | MediaError) -> dict[str, Any]:
    """The dictionary of a reply."""
    if isinstance(reply, MediaError):
        return {"result": "error", "error-reason": reply.reason}
    return {"result": "ok", "sdp": reply.sdp}
