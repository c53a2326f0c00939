"""Tags in the place of those that peers of RFC 2543 leave out (RFC 3261 sections 12.1.1 and 12.1.2).

A missing tag counts as a tag of its own, the *null tag*. Inside the core it has a name by the side of its peer, since
the two sides of a call are on different sides of the edge: so calls, tokens and media sessions tell the two sides of
such a dialog apart as those of any other. On the wire the tag stays missing.
"""

from __future__ import annotations

from typing import Final

from edgesbc.base.address import Zone
from edgesbc.signalling.calls import Calls
from edgesbc.sip.message import Request, Response

__all__ = ["is_null", "named_tags_of_request", "named_tags_of_response"]

_NULL_TAGS: Final = {Zone.PUBLIC: "?public", Zone.CORE: "?core"}
"""No tag on the wire can be one of these: a question mark is none of the characters of a token."""
_MARK: Final = "?"
_OUTSIDE_DIALOGS: Final = frozenset({"REGISTER", "PUBLISH"})


def is_null(tag: str) -> bool:
    """Whether it is the name of a null tag, which everybody knows: it proves nothing."""
    return tag.startswith(_MARK)


def named_tags_of_request(request: Request, zone: Zone, calls: Calls) -> Request:
    """A request from ``zone`` with a name for each null tag. To has one only where the request belongs to a dialog."""
    from_tag = request.from_tag or _NULL_TAGS[zone]
    to_tag = request.to_tag
    if not to_tag and request.method not in _OUTSIDE_DIALOGS:
        null = _NULL_TAGS[zone.other]
        if calls.continues(request, from_tag, null, zone):
            to_tag = null
    if from_tag is request.from_tag and to_tag is request.to_tag:
        return request
    return request.with_tags(from_tag, to_tag)


def named_tags_of_response(response: Response, zone: Zone) -> Response:
    """A response from ``zone`` with a name for each null tag. A 100 belongs to no dialog."""
    if response.from_tag and (response.to_tag or response.status == 100):
        return response
    to_tag = response.to_tag or ("" if response.status == 100 else _NULL_TAGS[zone])
    return response.with_tags(response.from_tag or _NULL_TAGS[zone.other], to_tag)
