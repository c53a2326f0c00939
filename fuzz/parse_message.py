"""Fuzz target: one SIP message.

For any input:

- :func:`parse_message` returns a message or raises WireError, and nothing else; so does reading its URIs;
- the message can be serialised and parsed again, and is then the same: the next hop reads what was screened;
- no text in it has a control byte apart from tab, so that it cannot add a line when it is serialised;
- :func:`salvage` and :func:`salvage_response` never raise, and return such texts only; of a sound response, the latter
  has the same status, transaction and dialog.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message, salvage, salvage_response


def check(data: bytes) -> None:
    fields = salvage(data)
    if fields is not None:
        assert_clean(fields)
    rest = salvage_response(data)
    if rest is not None:
        assert_clean(rest.fields)
        assert rest.body == b""
    try:
        message = parse_message(data)
    except WireError:
        return
    assert_clean(message.fields)
    if isinstance(message, Response):
        assert rest is not None
        assert identity(rest) == identity(message)
    parsed_again = parse_message(bytes(message))
    assert comparable(parsed_again) == comparable(message)
    assert bytes(parsed_again) == bytes(message)
    for name in ("From", "To", "Contact", "Route", "Record-Route"):
        for value in message.get_all(name):
            with contextlib.suppress(WireError):
                str(parse_name_addr(value).uri)


def assert_clean(fields: Sequence[tuple[str, str]]) -> None:
    for name, value in fields:
        assert name.isascii()
        assert not any((character < " " and character != "\t") or character == "\x7f" for character in name + value)


def identity(response: Response) -> tuple[object, ...]:
    """What names the transaction and the dialog of a response."""
    return (
        response.status, response.via.branch, response.cseq, response.cseq_method, response.call_id, response.from_tag,
        response.to_tag,
    )  # fmt: skip


def comparable(message: Request | Response) -> tuple[object, ...]:
    return (
        type(message), message.fields, message.body, str(message.via), message.call_id, message.cseq,
        message.cseq_method, str(message.from_), str(message.to), message.from_tag, message.to_tag,
    )  # fmt: skip
