"""Builders of requests and responses, from parts and from the message that they belong to.

=========================  ==========================================================
:func:`request`            any request, from its parts (RFC 3261 section 8.1.1)
:func:`response_to`        the response to a request (section 8.2.6)
:func:`ack_for`            the ACK of a refusal, in its transaction (section 17.1.1.3)
:func:`cancel_for`         the CANCEL of a request (section 9.1)
=========================  ==========================================================

Requests inside a dialog, its ACK and BYE among them, are built by :class:`~edgesbc.sip.dialog.Dialog`. What takes
text as an argument raises :class:`WireError` where the text could not stand on the wire. Branches and tags are made
from ``entropy``: random bytes that the caller draws, 8 or more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgesbc.sip.fields import Field, Fields
from edgesbc.sip.headers import NameAddr, Via
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.parse import salvage
from edgesbc.sip.phrases import phrase as phrase_of
from edgesbc.sip.uri import Uri, parse_uri

__all__ = [
    "COOKIE", "ack_for", "cancel_for", "new_branch", "new_tag", "request", "request_fields", "response_fields",
    "response_to", "response_to_malformed",
]  # fmt: skip

COOKIE: Final = "z9hG4bK"
"""The begin of every branch that was made after RFC 3261 (section 8.1.1.7)."""
MAX_FORWARDS: Final = 70
SDP: Final = "application/sdp"


def new_branch(entropy: bytes) -> str:
    """A branch for a Via (RFC 3261 section 8.1.1.7)."""
    return COOKIE + entropy.hex()


def new_tag(entropy: bytes) -> str:
    """A tag for From or To (RFC 3261 section 19.3); it also serves as a Call-ID."""
    return entropy.hex()


def request(
    method: str,
    uri: Uri | str,
    *,
    via: Via | str,
    from_: NameAddr | str,
    to: NameAddr | str,
    call_id: str,
    cseq: int,
    routes: Iterable[str] = (),
    max_forwards: int = MAX_FORWARDS,
    contact: NameAddr | str = "",
    fields: Iterable[Field] = (),
    body: bytes = b"",
    content_type: str = SDP,
) -> Request:
    """A request from its parts (RFC 3261 section 8.1.1).

    ``via``, ``from_``, ``to``, ``routes`` and ``contact`` are whole values of their fields, parameters included.
    ``fields`` are further fields and come last. ``content_type`` is written if there is a body.
    """
    head = request_fields(method, str(via), str(from_), str(to), call_id, cseq, routes, max_forwards)
    _append(head, str(contact), fields, body, content_type)
    return Request(method, parse_uri(uri) if isinstance(uri, str) else uri, head, body)


def response_to(
    request: Request,
    status: int,
    *,
    phrase: str | None = None,
    tag: str = "",
    source: tuple[str, int] | None = None,
    contact: NameAddr | str = "",
    fields: Iterable[Field] = (),
    body: bytes = b"",
    content_type: str = SDP,
) -> Response:
    """The response to ``request`` (RFC 3261 section 8.2.6).

    ``tag`` goes into To, unless To has one or the status is 100; every response but 100 needs one, the same in all
    responses to one request. ``source`` is the address that the request came from: *received* and, if asked for,
    *rport* of the topmost Via are set to it (section 18.2.1, RFC 3581). Record-Route is copied into what may establish
    a dialog (section 12.1.1). ``fields`` are further fields and come last. ``content_type`` is written if there is a
    body.
    """
    vias: list[Field] | None = None
    if source is not None:
        vias = [("Via", value) for value in request.get_all("Via")]
        vias[0] = ("Via", str(request.via.received_from(*source)))
    head = response_fields(request, status, tag, vias)
    _append(head, str(contact), fields, body, content_type)
    return Response(status, head, body, phrase)


def ack_for(request: Request, response: Response) -> Request:
    """The ACK of ``response``, a refusal of the INVITE ``request``, in its transaction (RFC 3261 section 17.1.1.3).

    Raises ``ValueError`` for a response below 300: a 2xx is acknowledged by a request of its dialog.
    """
    if response.status < 300:
        raise ValueError(f"only a response from 300 on has an ACK in its transaction: found {response.status}")
    return _in_transaction("ACK", request, response.get("To") or "", ())


def cancel_for(request: Request, *, fields: Iterable[Field] = ()) -> Request:
    """The CANCEL of ``request`` (RFC 3261 section 9.1); ``fields`` may hold Reason (RFC 3326).

    It is to be sent only after a provisional response, and where that came from.
    """
    return _in_transaction("CANCEL", request, request.get("To") or "", fields)


def _in_transaction(method: str, request: Request, to: str, fields: Iterable[Field]) -> Request:
    """A request with the Via, Request-URI and route set of another, for the next hop to match them."""
    head = request_fields(
        method,
        request.get("Via") or "",
        request.get("From") or "",
        to,
        request.call_id,
        request.cseq,
        request.get_all("Route"),
    )
    return Request(method, request.uri, [*head, *fields])


def response_to_malformed(data: bytes, status: int) -> bytes | None:
    """A response to what ``parse_message`` refused, None where none may be sent; see ``salvage``.

    The result is bytes: it repeats fields that are malformed.
    """
    fields = salvage(data)
    return None if fields is None else serialise(f"SIP/2.0 {status} {phrase_of(status)}", fields, b"")


def request_fields(
    method: str,
    via: str,
    from_: str,
    to: str,
    call_id: str,
    cseq: int,
    routes: Iterable[str] = (),
    max_forwards: int = MAX_FORWARDS,
) -> Fields:
    """The fields that every request has, for ``serialise``; the text is not checked."""
    fields: Fields = [("Via", via), ("Max-Forwards", str(max_forwards))]
    fields += [("Route", route) for route in routes]
    fields.append(("From", from_))
    fields.append(("To", to))
    fields.append(("Call-ID", call_id))
    fields.append(("CSeq", f"{cseq} {method}"))
    return fields


def response_fields(request: Request, status: int, tag: str, vias: Iterable[Field] | None = None) -> Fields:
    """The fields that a response repeats of its request (RFC 3261 section 8.2.6.2), for ``serialise``.

    ``vias`` stand in for the Via fields of the request, where ``received`` and ``rport`` were filled in.
    """
    fields: Fields = [] if vias is None else list(vias)
    for name, value in request.fields:
        if name == "To":
            tagged = not tag or status == 100 or request.to.tag != ""
            fields.append((name, value if tagged else f"{value};tag={tag}"))
        elif name in _REPEATED or (name in _REPEATED_IN_SOME and _repeats(name, request, status, vias is None)):
            fields.append((name, value))
    return fields


_REPEATED = frozenset({"From", "Call-ID", "CSeq"})
_REPEATED_IN_SOME = frozenset({"Via", "Record-Route", "Timestamp"})
_CREATING = frozenset({"INVITE", "SUBSCRIBE", "REFER"})
"""Methods whose success sets up a dialog (RFC 3261 section 12.1, RFC 6665 section 4.4.1, RFC 3515 section 2.4.4)."""


def _repeats(name: str, request: Request, status: int, via: bool) -> bool:
    if name == "Via":
        return via
    if name == "Timestamp":
        return status == 100  # section 8.2.6.1
    return 100 < status < 300 and not request.in_dialog and request.method in _CREATING  # section 12.1.1


def _append(head: Fields, contact: str, fields: Iterable[Field], body: bytes, content_type: str) -> None:
    if contact:
        head.append(("Contact", contact))
    head += fields
    if body:
        head.append(("Content-Type", content_type))
