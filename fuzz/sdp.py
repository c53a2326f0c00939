"""Fuzz target: a session description.

For whatever bytes come:

- :func:`parse_session` returns a session or raises WireError, and nothing else;
- what it returns can be written and read again, and is the same session then;
- every line of what is written is one that the session holds: no text in it has a line end.
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
