"""Back-off of connections: after one has failed, calls leave its address alone for a time that grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason

__all__ = ["ConnectionBackoff", "ConnectionBackoffs", "ConnectionKey"]

ConnectionKey = tuple[Source, Transport, str]
"""An address, and over TLS the name that is to be proven there, otherwise ``""``."""


class ConnectionBackoff:
    """The connections to one address that have failed since the last one that was opened.

    ``failures`` is their number, ``until`` the time at which calls use the address again, ``trying`` the number of
    connections that are being opened now.
    """

    __slots__ = ("failures", "trying", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.trying = 0
        self.until = 0.0

    def avoided(self, now: float) -> bool:
        """Whether calls use other addresses: until ``until``, and then while the one that came first tries this one.

        Otherwise every call of those seconds would wait for an address that does not answer.
        """
        return self.failures > 0 and (self.trying > 0 or now < self.until)


class ConnectionBackoffs:
    """The back-off of each address and name that members are connected to; other addresses have none.

    ``random`` returns numbers in [0, 1), for jitter; ``record`` takes a decision for the first failure of an address,
    and for the connection that ends its failures.
    """

    __slots__ = ("_by_connection", "_random", "_record")

    def __init__(self, random: Callable[[], float], record: Callable[[Decision], None]) -> None:
        self._random = random
        self._record = record
        self._by_connection: dict[ConnectionKey, ConnectionBackoff] = {}

    def __len__(self) -> int:
        return len(self._by_connection)

    def replace(self, keys: Iterable[ConnectionKey]) -> None:
        """Have one for each of ``keys``, those of all members; that of an address without a member is forgotten."""
        before = self._by_connection
        self._by_connection = {key: before.get(key) or ConnectionBackoff() for key in keys}

    def of(self, key: ConnectionKey) -> ConnectionBackoff:
        """That of a member. Raises ``KeyError`` for a key that :meth:`replace` was not given."""
        return self._by_connection[key]

    # --- what becomes of connections -------------------------------------------------------------------------

    def began(self, peer: Source, transport: Transport, name: str) -> None:
        """A connection is asked for; over TLS to a peer called ``name``, which is otherwise ""."""
        backoff = self._by_connection.get((peer, transport, name))
        if backoff is not None:
            backoff.trying += 1

    def opened(self, peer: Source, transport: Transport, name: str, now: float) -> None:
        """It is open, its handshakes are complete: calls use the address as before."""
        backoff = self._by_connection.get((peer, transport, name))
        if backoff is None:
            return
        backoff.trying = max(backoff.trying - 1, 0)
        if backoff.failures:
            self._note(peer, f"a connection over {transport} is open after {backoff.failures} that failed", now)
            backoff.failures = 0

    def failed(self, peer: Source, transport: Transport, name: str, now: float) -> None:
        """It was not opened: calls leave the address alone for half a second, and twice as long each time, more or less
        a quarter, up to ``limits.CONNECT_BACKOFF_MOST``."""
        backoff = self._by_connection.get((peer, transport, name))
        if backoff is None:
            return
        backoff.trying = max(backoff.trying - 1, 0)
        backoff.failures += 1
        wait = limits.CONNECT_BACKOFF_SECONDS * 2.0 ** min(backoff.failures - 1, 16)
        backoff.until = now + min(wait, limits.CONNECT_BACKOFF_MOST) * (0.75 + 0.5 * self._random())
        if backoff.failures == 1:
            self._note(peer, f"no connection over {transport}: calls use other members until one is open", now)

    def not_tried(self, peer: Source, transport: Transport, name: str) -> None:
        """It was not opened for a reason of this machine, which shows nothing about the address."""
        backoff = self._by_connection.get((peer, transport, name))
        if backoff is not None:
            backoff.trying = max(backoff.trying - 1, 0)

    def _note(self, peer: Source, detail: str, now: float) -> None:
        self._record(Decision(now, Reason.HEALTH, source=str(peer), stage="dispatch", detail=detail))
