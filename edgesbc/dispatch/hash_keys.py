"""The key of a request for the algorithm ``hash``, by the set's ``hash_on``."""

from __future__ import annotations

from edgesbc.base.address import Source
from edgesbc.sip.field_lookup import field_value
from edgesbc.sip.message import Request
from edgesbc.sip.user_part import address_of_record, plain_user

__all__ = ["hash_key"]


def hash_key(hash_on: str, request: Request, source: Source) -> str:
    """The part of the request named by ``hash_on``: requests with the same text go to one member. Empty where the
    request has no such part.

    ``hash_on`` is ``call-id``, ``from-uri``, ``to-uri``, ``request-user``, ``source`` or ``header:NAME``,
    as :class:`~edgesbc.dispatch.settings.SetSettings` has checked it. Raises :class:`WireError` when the URI in From
    or To is used and malformed.
    """
    match hash_on:
        case "call-id":
            return request.call_id
        case "from-uri":
            return address_of_record(request.from_.uri)
        case "to-uri":
            return address_of_record(request.to.uri)
        case "request-user":
            return plain_user(request.uri)
        case "source":
            return source.host  # without the port, which changes behind NAT and with each connection
        case _:
            return field_value(request, hash_on.removeprefix("header:")) or ""
