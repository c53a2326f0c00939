"""The table of server transactions: which one a request belongs to (RFC 3261 section 17.2.3), and from whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic

from edgesbc.base import limits
from edgesbc.sip.message import Request
from edgesbc.sip.transaction import EndpointT, ServerKey, ServerTransaction, server_key

__all__ = ["ServerTable"]


class ServerTable(Generic[EndpointT]):
    """Server transactions by what section 17.2.3 compares, and by their sender.

    Branch, sent-by and method are texts of the sender, and can be predicted: by them alone, a request of somebody else
    with the branch of a request that is still to come would absorb that. Over datagrams the sender is an address and
    a port, over streams an address. ``related`` takes the endpoints of two connections; it says whether they are of
    one sender although their addresses differ.
    """

    __slots__ = ("_by_sender", "_of_streams", "_related", "_replaceable")

    def __init__(self, related: Callable[[EndpointT, EndpointT], bool] | None) -> None:
        self._by_sender: dict[tuple[ServerKey, Hashable], ServerTransaction[EndpointT]] = {}
        self._of_streams: dict[ServerKey, list[ServerTransaction[EndpointT]]] = {}
        self._related = related
        # Its first item is found at once, also after many removals at its begin.
        self._replaceable: OrderedDict[ServerTransaction[EndpointT], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_sender)

    def __iter__(self) -> Iterator[ServerTransaction[EndpointT]]:
        return iter(self._by_sender.values())

    def find(self, request: Request, method: str, source: EndpointT) -> ServerTransaction[EndpointT] | None:
        """The transaction of a request that came from ``source``; ``method`` replaces its own, for CANCEL and ACK."""
        key = server_key(request, method)
        server = self._by_sender.get((key, source.sender))
        if server is not None or not source.reliable:
            return server
        for other in self._of_streams.get(key, ())[: limits.SAME_BRANCH]:
            # By the first connection it is the same sender, wherever the responses go meanwhile.
            if other.source == source or (self._related is not None and self._related(other.flow, source)):
                return other
        return None

    def at(self, key: ServerKey, source: EndpointT) -> ServerTransaction[EndpointT] | None:
        """The transaction with that key from the very address of ``source``."""
        return self._by_sender.get((key, source.sender))

    def add(self, server: ServerTransaction[EndpointT]) -> None:
        self._by_sender[server.key, server.sender] = server
        if server.source.reliable:
            self._of_streams.setdefault(server.key, []).append(server)

    def make_replaceable(self, server: ServerTransaction[EndpointT]) -> None:
        """The transaction may end early, where another one needs its place."""
        self._replaceable[server] = None

    def oldest_replaceable(self) -> ServerTransaction[EndpointT] | None:
        """The one of those transactions that became so first; None without any."""
        return next(iter(self._replaceable), None)

    def remove(self, server: ServerTransaction[EndpointT]) -> None:
        """Remove a transaction; without effect where it is in the table no more."""
        self._replaceable.pop(server, None)
        place = (server.key, server.sender)
        if self._by_sender.get(place) is server:  # the place may meanwhile be that of another, which goes on
            del self._by_sender[place]
        others = self._of_streams.get(server.key)
        if others is not None and server in others:
            others.remove(server)
            if not others:
                del self._of_streams[server.key]

    def move(self, server: ServerTransaction[EndpointT]) -> None:
        """The sender uses ``server.flow`` from now on, perhaps with another address."""
        place = (server.key, server.flow.sender)
        if place not in self._by_sender and self._by_sender.get((server.key, server.sender)) is server:
            del self._by_sender[server.key, server.sender]
            server.sender = server.flow.sender
            self._by_sender[place] = server
