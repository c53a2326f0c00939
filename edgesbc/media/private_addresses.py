"""PrivateAddresses: the addresses of the private side, as signalling has told them."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.prefixes import PrefixSet
from edgesbc.media.link_messages import PrivateSide

__all__ = ["PrivateAddresses", "messages_of"]


class PrivateAddresses:
    """Answers as ``Edge.is_inside`` does. Before signalling has told any, every address is inside: then nothing is
    relayed to it."""

    __slots__ = ("_hosts", "_incoming", "_prefixes", "_trunks", "known")

    def __init__(self) -> None:
        self.known = False
        """Whether signalling has told them."""
        self._hosts: frozenset[str] = frozenset()
        self._prefixes = PrefixSet()
        self._trunks = PrefixSet()
        self._incoming: list[PrivateSide] = []

    def receive(self, message: PrivateSide) -> None:
        """Take one message; the addresses change with the last one. Raises ``ValueError`` for a prefix that is none."""
        if message.first:
            self._incoming = []
        self._incoming.append(message)
        if not message.last:
            return
        parts, self._incoming = self._incoming, []
        prefixes = PrefixSet([prefix for part in parts for prefix in part.prefixes], limits.REMEMBERED_ADDRESSES)
        trunks = PrefixSet([trunk for part in parts for trunk in part.trunks], limits.REMEMBERED_ADDRESSES)
        self._hosts = frozenset(host for part in parts for host in part.hosts)
        self._prefixes, self._trunks = prefixes, trunks
        self.known = True

    def is_inside(self, host: str) -> bool:
        """Whether media of a public peer must not go to ``host``."""
        return not self.known or ((host in self._hosts or host in self._prefixes) and host not in self._trunks)


def messages_of(private_side: PrivateSide) -> list[PrivateSide]:
    """``private_side`` in messages of at most ``limits.MEDIA_LINK_ITEMS`` addresses of a kind."""
    size = limits.MEDIA_LINK_ITEMS
    longest = max(len(private_side.hosts), len(private_side.prefixes), len(private_side.trunks), 1)
    return [
        PrivateSide(
            private_side.hosts[start : start + size],
            private_side.prefixes[start : start + size],
            private_side.trunks[start : start + size],
            start == 0,
            start + size >= longest,
        )
        for start in range(0, longest, size)
    ]
