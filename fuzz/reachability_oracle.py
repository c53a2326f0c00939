"""Checks where the edge sends and connects to: to sources, open connections and configured members."""

from __future__ import annotations

from edgesbc.base.address import Flow, FlowKey, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.message import Message
from fuzz.environment import CORE, CORE_TCP, PUBLIC

__all__ = ["ReachabilityOracle"]

_MEMBERS = {
    (CORE.id, Source("10.0.0.11", 5060)), (CORE.id, Source("10.0.0.12", 5060)),
    (CORE_TCP.id, Source("10.0.0.13", 5060)), (PUBLIC.id, Source("198.51.100.7", 5060)),
}  # fmt: skip


_TRUNK_HOSTS = {"198.51.100.7", "198.51.100.8"}


class ReachabilityOracle:
    """The addresses that the edge may send to, so that it cannot be used against a third party.

    These are flows that sent something, open connections and members of the sets. In the core they are also
    the literal unicast addresses that messages of the core name in Contact and Record-Route
    (docs/reference/deviations.md, 12.2.1.1); addresses that messages of the public side name are not among them.

    A connection is opened to members, and to the address of a trunk or of the core from which one had come (RFC 3261
    section 18.2.2), at any port.
    """

    def __init__(self) -> None:
        self._sources: set[FlowKey] = set()
        self._named: set[Source] = set()
        self._connected: set[tuple[int, str]] = set()  # listener and host of connections that came
        self.open: set[int] = set()
        self.closed: set[int] = set()

    def close(self, flow: Flow) -> None:
        if flow.serial:
            self.open.discard(flow.serial)
            self.closed.add(flow.serial)

    def record_source(self, flow: Flow) -> None:
        self._sources.add(flow.key)
        if flow.serial:
            self._connected.add((flow.listener.id, flow.peer.host))

    def learn(self, flow: Flow, message: Message) -> None:
        """Record the addresses of its sender and of proxies that a message of the core names."""
        if flow.listener.zone is not Zone.CORE:
            return
        for name in ("Contact", "Record-Route"):
            for value in message.get_all(name):
                try:
                    uri = parse_name_addr(value).uri
                except WireError:
                    continue
                self._named.add(Source(uri.host, uri.port or 5060))

    def check_request(self, flow: Flow, method: str) -> None:
        """Check where a request goes. An ACK, which has no transaction, may go to a connection that has closed."""
        if flow.serial:
            lost_ack = method == "ACK" and flow.serial in self.closed
            assert flow.serial in self.open or lost_ack, f"{method} to {flow!r}, which is closed"
        else:
            assert self._is_known(flow), f"{method} to {flow!r}"

    def check_open(self, flow: Flow) -> None:
        assert flow.listener.transport is not Transport.UDP, f"a connection by {flow!r}"
        again = (flow.listener.id, flow.peer.host) in self._connected
        if flow.listener.zone is Zone.PUBLIC:
            assert again, f"a connection to the public side: {flow!r}"
            assert flow.peer.host in _TRUNK_HOSTS, f"a connection to an unlisted source: {flow!r}"
        assert again or self._is_known(flow), f"a connection to {flow!r}"
        assert flow.serial not in self.open, f"{flow!r} is opened twice"
        self.open.add(flow.serial)

    def _is_known(self, flow: Flow) -> bool:
        if (flow.listener.id, flow.peer) in _MEMBERS or flow.key in self._sources:
            return True
        return flow.listener.zone is Zone.CORE and flow.peer in self._named and _is_unicast(flow.peer.host)


def _is_unicast(host: str) -> bool:
    first = host.split(".")[0]
    return ":" in host or 0 < int(first) < 224
