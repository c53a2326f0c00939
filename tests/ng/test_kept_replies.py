"""Replies to commands that come again: bounded in number, bytes and age."""

from unittest.mock import patch

from edgesbc.base import limits
from edgesbc.ng.kept_replies import KeptReplies


def test_a_reply_is_kept_for_its_client_and_time():
    kept = KeptReplies()
    kept.put(("a", b"1"), b"r", 0.0)
    assert kept.get(("a", b"1"), limits.NG_REPLY_SECONDS) == b"r"
    assert kept.get(("b", b"1"), 0.0) is None
    assert kept.get(("a", b"1"), limits.NG_REPLY_SECONDS + 0.1) is None
    kept.put(("a", b"2"), b"r", limits.NG_REPLY_SECONDS + 0.1)
    assert len(kept) == 1


def test_the_oldest_give_way_by_number():
    with patch.object(limits, "NG_REPLIES", 3):
        kept = KeptReplies()
        for number in range(5):
            kept.put(("a", b"%d" % number), b"r", 0.0)
        assert [kept.get(("a", b"%d" % number), 0.0) for number in range(5)] == [None, None, b"r", b"r", b"r"]


def test_the_oldest_give_way_by_bytes_and_a_second_reply_replaces_the_first():
    with patch.object(limits, "NG_REPLY_BYTES", 100):
        kept = KeptReplies()
        for _ in range(50):
            kept.put(("a", b"same"), b"x" * 60, 0.0)
        kept.put(("a", b"other"), b"x" * 30, 0.0)
        assert len(kept) == 2
        kept.put(("a", b"more"), b"x" * 50, 0.0)
        assert kept.get(("a", b"same"), 0.0) is None
        assert len(kept) == 2
