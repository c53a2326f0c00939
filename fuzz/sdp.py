"""Fuzz target: a session description.

For any input:

- :func:`parse_session` returns a description or raises WireError, and nothing else;
- a parsed description can be serialised and parsed again, and is then the same;
- every line of the serialised text is LETTER=VALUE: no value contains a line end.
"""

from __future__ import annotations

from edgesbc.base.errors import WireError
from edgesbc.sdp.session import parse_session


def check(data: bytes) -> None:
    try:
        session = parse_session(data)
    except WireError:
        return
    text = session.serialise()
    assert parse_session(text) == session
    assert parse_session(text).serialise() == text
    assert all(line[1:2] == b"=" for line in text.split(b"\r\n")[:-1])
