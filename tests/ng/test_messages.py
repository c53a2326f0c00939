"""Datagrams of the NG protocol: cookies and dictionaries."""

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.ng.messages import error, frame, parse_frame, split_cookie


def test_a_message_that_is_framed_can_be_parsed():
    assert parse_frame(frame(b"77_1", {"command": "ping"})) == (b"77_1", {"command": "ping"})
    assert parse_frame(frame(b"7", error("why"))) == (b"7", {"result": "error", "error-reason": "why"})


def test_the_longest_cookie_is_split_from_what_follows():
    cookie = b"x" * limits.NG_COOKIE_BYTES
    assert split_cookie(cookie + b" a b c") == (cookie, b"a b c")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"77_1", b" d1:ai1ee", b"77_1 i1e", b"\xff d1:ai1ee", b"a\x1bb de", b"a\tb de",
        b"x" * (limits.NG_COOKIE_BYTES + 1) + b" de",
    ],
)  # fmt: skip
def test_malformed_datagrams_are_refused(data):
    with pytest.raises(WireError):
        parse_frame(data)
