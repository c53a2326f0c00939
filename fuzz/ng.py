"""Fuzz target: one datagram of the NG protocol, as a peer of the media plane sends it.

For whatever bytes come:

- :func:`parse_frame` and :func:`decode` return values or raise WireError, and nothing else;
- there is one way to write a value: what was read is written as long as it came, and read as the same again;
- :meth:`SessionTable.command` does not raise for any command, and its reply can be written and read again;
- a command that is refused leaves no port open.
"""

from __future__ import annotations

from typing import Any

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.media import ng
from edgesbc.media.session_table import SessionTable
from fuzz.recorded import INTERFACES, RecordedPorts


def check(data: bytes) -> None:
    try:
        value = ng.decode(data)
    except WireError:
        pass
    else:
        assert len(ng.encode(value)) == len(data)
        assert_one_way(value)
    try:
        cookie, command = ng.parse_frame(data)
    except WireError:
        return
    assert 0 < len(cookie) <= limits.NG_COOKIE_BYTES
    assert cookie.isascii()
    assert ng.parse_frame(ng.frame(cookie, command)) == (cookie, command)
    carry_out(command)


def assert_one_way(value: Any) -> None:
    written = ng.encode(value)
    assert ng.decode(written) == value
    assert ng.encode(ng.decode(written)) == written


def carry_out(command: dict[str, Any]) -> None:
    ports = RecordedPorts()
    table = SessionTable(ports, INTERFACES)
    reply = table.command(command, 0.0)
    assert_one_way(reply)
    assert ng.parse_frame(ng.frame("1", reply)) == ("1", reply)
    assert reply["result"] in ("ok", "pong", "error")
    if reply["result"] == "error":
        assert 400 <= reply["status-hint"] < 700
        assert not ports.open_pairs
    assert bool(ports.open_pairs) == bool(len(table))
    table.close()
    assert not ports.open_pairs
