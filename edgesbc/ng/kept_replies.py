"""KeptReplies: the reply to a command that comes again is the same again, and the command is carried out once."""

from __future__ import annotations

from edgesbc.base import limits

__all__ = ["KeptReplies"]

ReplyKey = tuple[str, bytes]
"""Where a command came from or belongs to, and what it is: the client's address and the cookie, for one."""


class KeptReplies:
    """Replies by their commands, bounded in number, bytes and age (``seconds``); the oldest give way."""

    __slots__ = ("_bytes", "_replies", "_seconds")

    def __init__(self, seconds: float = limits.NG_REPLY_SECONDS) -> None:
        self._seconds = seconds
        self._replies: dict[ReplyKey, tuple[float, bytes]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, key: ReplyKey, now: float) -> bytes | None:
        """The reply to a command that has come before."""
        found = self._replies.get(key)
        return None if found is None or now - found[0] > self._seconds else found[1]

    def put(self, key: ReplyKey, reply: bytes, now: float) -> None:
        """Keep a reply from now on."""
        replies = self._replies
        before = replies.pop(key, None)
        if before is not None:
            self._bytes -= len(key[1]) + len(before[1])
        replies[key] = now, reply
        self._bytes += len(key[1]) + len(reply)
        while replies:
            oldest = next(iter(replies))
            kept, data = replies[oldest]
            if (
                len(replies) <= limits.NG_REPLIES
                and self._bytes <= limits.NG_REPLY_BYTES
                and now - kept <= self._seconds
            ):
                return
            del replies[oldest]
            self._bytes -= len(oldest[1]) + len(data)
