"""UnreadableResponse: a response that cannot be parsed, as far as its branch has to know it."""

from __future__ import annotations

from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.signalling.call import check_dialog_fields
from edgesbc.signalling.null_tags import named_tags_of_response
from edgesbc.sip.message import Response
from edgesbc.sip.parse import salvage_response

__all__ = ["UnreadableResponse", "read_what_is_left"]


_ASKING_FOR_FIELDS = frozenset({401, 407, 415, 420, 421, 422, 423, 489, 494})
"""Challenges, and refusals that list what the sender is to use instead."""


class UnreadableResponse(Response):
    """It is never forwarded: it ends its branch, and what it has set up is ended. ``reason`` is what is wrong with it.

    It has its status and the fields that name its transaction, its dialog and the way to its sender, and no others.
    """

    __slots__ = ("reason",)

    def __init__(self, response: Response, reason: str) -> None:
        super().__init__(response.status, response.fields, b"", None, True, response.from_tag, response.to_tag)
        self.reason = reason

    def without_fields(self) -> Response:
        """The refusal to forward in its place: its own status, or 502 where that asks for fields of the response."""
        status = 502 if self.status < 400 or self.status in _ASKING_FOR_FIELDS else self.status
        return Response(status, self.fields, b"", None, True, self.from_tag, self.to_tag)


def read_what_is_left(data: bytes, reason: str, zone: Zone) -> UnreadableResponse | None:
    """What can be read of ``data`` from ``zone``, which cannot be parsed for that reason; None if it does not name its
    transaction and its dialog."""
    response = salvage_response(data)
    if response is None:
        return None
    try:
        check_dialog_fields(response)
    except WireError:  # the ACK then goes where the request went
        fields = [pair for pair in response.fields if pair[0] not in ("Contact", "Record-Route")]
        response = Response(response.status, fields, b"", None, True)
    return UnreadableResponse(named_tags_of_response(response, zone), reason)
