"""What ``hash`` goes by: the key of a request, by the set's ``hash_on``. Reads the request only."""

from __future__ import annotations

from edgesbc.base.address import Source
from edgesbc.sip.field_lookup import field_value
from edgesbc.sip.message import Request
from edgesbc.sip.uri import Uri

__all__ = ["hash_key"]


def hash_key(hash_on: str, request: Request, source: Source) -> str:
    """The text that keeps requests alike on one member; empty where the request has no such thing.

    ``hash_on`` is ``call-id``, ``from-uri``, ``to-uri``, ``request-user``, ``source`` or ``header:NAME``,
    as :class:`~edgesbc.dispatch.settings.SetSettings` has checked it. Raises WireError when the URI in From
    or To is looked at and malformed.
    """
    match hash_on:
        case "call-id":
            return request.call_id
        case "from-uri":
            return _address_of_record(request.from_.uri)
        case "to-uri":
            return _address_of_record(request.to.uri)
        case "request-user":
            return request.uri.user or ""
        case "source":
            return source.host  # without the port: it changes behind NAT and with each connection
        case _:
            return field_value(request, hash_on.removeprefix("header:")) or ""


def _address_of_record(uri: Uri) -> str:
    """User and host without password, port and parameters, which one caller may write in several ways."""
    return f"{(uri.user or '').partition(':')[0]}@{uri.host or uri.opaque}"
