"""A transaction layer on a clock that the test sets, with a record of the messages sent and their times."""

from __future__ import annotations

from support.sip import VIA, request, response

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.deadlines import Deadlines, Expiring
from edgesbc.sip.limits import Limits
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message
from edgesbc.sip.transaction import ClientTransaction, ServerTransaction
from edgesbc.sip.transactions import Transactions

UDP = Listener(0, "udp", Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)
TCP = Listener(1, "tcp", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060)
BRANCH = "z9hG4bKours"


def flow(reliable: bool = False, host: str = "198.51.100.7", port: int = 5060, serial: int = 7) -> Flow:
    return Flow(TCP, Source(host, port), serial) if reliable else Flow(UDP, Source(host, port))


def a_request(method: str = "INVITE", **parts: str) -> Request:
    message = parse_message(request(method, **parts))  # type: ignore[arg-type]
    assert isinstance(message, Request)
    return message


def a_response(status: int, method: str = "INVITE", branch: str = BRANCH) -> Response:
    message = parse_message(response(status, method, via=f"SIP/2.0/UDP 192.0.2.1;branch={branch}"))
    assert isinstance(message, Response)
    return message


class Layer:
    """Transactions, their deadlines, and a transaction user that records its calls."""

    def __init__(self, limit: int = 100) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, bytes]] = []
        self.outcomes: list[tuple[float, str]] = []
        self.deadlines = Deadlines[Expiring]()
        self.table = Transactions(self._send, self.deadlines, Limits(transactions=limit))

    def _send(self, flow: Flow, data: bytes) -> None:
        self.sent.append((self.now, data))

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        self.outcomes.append((now, str(response.status)))

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        self.outcomes.append((now, "timeout" if timeout else "transport"))

    def client(self, method: str = "INVITE", reliable: bool = False, **settings: float) -> ClientTransaction:
        client = self.table.open_client(BRANCH, method, flow(reliable), b"request", self, self.now, **settings)
        client.ack = lambda response: b"ACK %d" % response.status
        return client

    def server(self, method: str = "INVITE", reliable: bool = False, via: str = VIA) -> ServerTransaction:
        source = flow(reliable)
        return self.table.open_server(a_request(method, via=via), source, source)

    def receive(self, status: int, method: str = "INVITE", reliable: bool = False) -> ClientTransaction | None:
        return self.table.receive(a_response(status, method), flow(reliable), self.now)

    def respond(self, server: ServerTransaction, status: int) -> None:
        self.table.respond(server, status, b"answer %d" % status, self.now)

    def wait(self, until: float) -> None:
        """Put the clock forward to ``until``, from deadline to deadline."""
        while (when := self.deadlines.next()) is not None and when <= until:
            self.now = max(self.now, when)
            for item in self.deadlines.pop_due(self.now):
                item.expire(self.now)
        self.now = until

    def times(self, data: bytes) -> list[float]:
        """When these bytes were sent."""
        return [when for when, sent in self.sent if sent == data]

    @property
    def empty(self) -> bool:
        """Whether no transaction, remembered connection or deadline is left."""
        return len(self.table) == 0 and not self.table.connections and self.deadlines.next() is None
