"""Fuzz target: one SIP message.

For whatever bytes come:

- :func:`parse_message` returns a message or raises WireError, and nothing else; so does reading its URIs;
- what it returns can be written and read again, and says the same then: the far side reads what was screened;
- no text in it holds a control byte apart from tab, so that nothing written from it has a line more;
- :func:`salvage` never raises, and gives only such texts too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message, salvage


def check(data: bytes) -> None:
    rest = salvage(data)
    if rest is not None:
        assert_clean(rest)
    try:
        message = parse_message(data)
    except WireError:
        return
    assert_clean(message.fields)
    again = parse_message(bytes(message))
    assert values(again) == values(message)
    assert bytes(again) == bytes(message)
    for name in ("From", "To", "Contact", "Route", "Record-Route"):
        for value in message.get_all(name):
            with contextlib.suppress(WireError):
                str(parse_name_addr(value).uri)


def assert_clean(fields: Sequence[tuple[str, str]]) -> None:
    for name, value in fields:
        assert name.isascii()
        assert not any((sign < " " and sign != "\t") or sign == "\x7f" for sign in name + value)


def values(message: Request | Response) -> tuple[object, ...]:
    return (
        type(message), message.fields, message.body, str(message.via), message.call_id, message.cseq,
        message.cseq_method, str(message.from_), str(message.to), message.from_tag, message.to_tag,
    )  # fmt: skip
