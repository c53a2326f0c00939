"""KeptReplies: the reply to a command that comes again is the same again, and the command is carried out once."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["KeptReplies"]

ReplyKey = tuple[str, bytes]
"""The client's address, and the cookie."""


class KeptReplies:
    """Replies by client and cookie, bounded in number, bytes and age; the oldest give way."""

    __slots__ = ("_bytes", "_replies")

    def __init__(self) -> None:
        self._replies: dict[ReplyKey, tuple[float, bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: ReplyKey, now: float) -> bytes | None:
        """The reply to a command that has come before."""
        found = self._replies.get(key)
        return None if found is None or now - found[0] > limits.NG_REPLY_SECONDS else found[1]

    def put(self, key: ReplyKey, reply: bytes, now: float) -> None:
        """Keep a reply from now on."""
        replies = self._replies
        before = replies.pop(key, None)
        if before is not None:
            self._bytes -= len(before[1])
        replies[key] = now, reply
        self._bytes += len(reply)
        while replies:
            oldest = next(iter(replies))
            kept, data = replies[oldest]
            if (
                len(replies) <= limits.NG_REPLIES
                and self._bytes <= limits.NG_REPLY_BYTES
                and now - kept <= limits.NG_REPLY_SECONDS
            ):
                return
            del replies[oldest]
            self._bytes -= len(data)
