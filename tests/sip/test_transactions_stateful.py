"""Invariants of the transaction layer for random responses, requests, errors and time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.transactions import Layer, a_request, a_response, flow

from edgesbc.sip.machines import TransactionState
from edgesbc.sip.transaction import ClientTransaction, ServerTransaction

_METHODS = st.sampled_from(["INVITE", "OPTIONS"])
_STATUS = st.sampled_from([100, 180, 200, 302, 486, 503, 603])
_WHICH = st.integers(0, 99)


class Life(RuleBasedStateMachine):
    """A model of the layer: the live transactions, their ends and their final responses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Layer()
        self.clients: list[ClientTransaction] = []
        self.servers: list[ServerTransaction] = []
        self.ends: dict[ClientTransaction, list[str]] = {}
        self.finals: dict[ServerTransaction, list[int]] = {}

    def on_response(self, transaction: ClientTransaction, response: object, now: float) -> None:
        status = int(getattr(response, "status", 0))
        if status >= 200:
            self.ends[transaction].append("success" if status < 300 else "refusal")

    def on_failure(self, transaction: ClientTransaction, timeout: bool, now: float) -> None:
        self.ends[transaction].append("failure")

    @rule(method=_METHODS, reliable=st.booleans())
    def send(self, method: str, reliable: bool) -> None:
        branch, where = f"z9hG4bK{len(self.clients)}", flow(reliable, serial=1 + len(self.clients) % 3)
        client = self.layer.table.open_client(branch, method, where, b"request", self, self.layer.now)
        client.ack = lambda response: b"ACK"
        self.clients.append(client)
        self.ends[client] = []

    @rule(method=_METHODS, reliable=st.booleans())
    def accept(self, method: str, reliable: bool) -> None:
        where = flow(reliable, serial=1 + len(self.servers) % 3)
        request = a_request(method, via=f"SIP/2.0/UDP h;branch=z9hG4bK{len(self.servers)}")
        assert not self.layer.table.absorb(request, where, self.layer.now)
        server = self.layer.table.open_server(request, where, where)
        self.servers.append(server)
        self.finals[server] = []

    @precondition(lambda self: self.clients)
    @rule(which=_WHICH, status=_STATUS, forged=st.booleans())
    def receive(self, which: int, status: int, forged: bool) -> None:
        client = self.clients[which % len(self.clients)]
        alive = client.state is not TransactionState.TERMINATED
        source_flow = flow(client.flow.reliable, host="203.0.113.66") if forged else client.flow
        outcomes = list(self.ends[client])
        taken = self.layer.table.receive(a_response(status, client.method, client.branch), source_flow, self.layer.now)
        assert taken is (client if alive and not forged else None)
        if taken is None:
            assert self.ends[client] == outcomes

    @precondition(lambda self: self.servers)
    @rule(which=_WHICH, status=_STATUS)
    def respond(self, which: int, status: int) -> None:
        server = self.servers[which % len(self.servers)]
        before = len(self.layer.sent)
        self.layer.respond(server, status)
        if len(self.layer.sent) > before and status >= 200:
            self.finals[server].append(status)

    @precondition(lambda self: self.servers)
    @rule(which=_WHICH, ack=st.booleans())
    def again(self, which: int, ack: bool) -> None:
        server = self.servers[which % len(self.servers)]
        request = a_request("ACK" if ack else server.method, via=str(server.request.via))
        alive = server.state is not TransactionState.TERMINATED
        before = len(self.layer.sent)
        taken = self.layer.table.absorb(request, server.source, self.layer.now)
        assert taken == (
            alive and (not ack or (server.method == "INVITE" and server.state is not TransactionState.ACCEPTED))
        )
        assert len(self.layer.sent) <= before + 1  # at most one message is sent for one that arrives

    @precondition(lambda self: self.clients)
    @rule(which=_WHICH)
    def cancel(self, which: int) -> None:
        self.layer.table.limit_wait(self.clients[which % len(self.clients)], 32.0, self.layer.now)

    @rule(serial=st.integers(1, 3))
    def lose(self, serial: int) -> None:
        self.layer.table.fail_connection(serial, self.layer.now)

    @precondition(lambda self: self.clients)
    @rule(which=_WHICH)
    def unreachable(self, which: int) -> None:
        client = self.clients[which % len(self.clients)]
        found = self.layer.table.unanswered(client.branch, client.method)
        assert found is None or found.state in (TransactionState.CALLING, TransactionState.TRYING)
        if found is not None:
            self.layer.table.fail(found, self.layer.now)

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 4.0, 5.0, 31.0, 32.0]))
    def wait(self, seconds: float) -> None:
        self.layer.wait(self.layer.now + seconds)

    @invariant()
    def the_table_holds_exactly_the_live_transactions(self) -> None:
        alive = [one for one in (*self.clients, *self.servers) if one.state is not TransactionState.TERMINATED]
        assert len(self.layer.table) == len(alive)
        for one in alive:
            if one.state in (
                TransactionState.ACCEPTED,
                TransactionState.COMPLETED,
                TransactionState.CONFIRMED,
                TransactionState.CALLING,
            ):
                assert one.due is not None
                assert one.due >= self.layer.now
        held = set().union(*self.layer.table._of_connection.values())
        assert held == {one for one in alive if one.flow.serial}

    @invariant()
    def an_end_is_reported_once(self) -> None:
        for client, ends in self.ends.items():
            if client.method == "INVITE" and ends[:1] == ["success"]:
                assert set(ends) == {"success"}  # each 2xx is passed on, since forks may send several
            else:
                assert len(ends) <= 1
            ended = client.state not in (TransactionState.CALLING, TransactionState.TRYING, TransactionState.PROCEEDING)
            assert ended == bool(ends)

    @invariant()
    def a_request_has_one_final_answer(self) -> None:
        for server, finals in self.finals.items():
            if server.method == "INVITE" and finals[:1] == [200]:
                assert set(finals) == {200}
            else:
                assert len(finals) <= 1

    def teardown(self) -> None:
        """After all deadlines only transactions are left whose user must end them or send a response."""
        self.layer.wait(self.layer.now + 65)
        for client in self.clients:
            assert client.state in (TransactionState.TERMINATED, TransactionState.PROCEEDING)
            assert client.state is TransactionState.TERMINATED or client.method == "INVITE"  # the user runs Timer C
            self.layer.table.fail(client, self.layer.now)
        for server in self.servers:
            assert server.state in (TransactionState.TERMINATED, TransactionState.TRYING, TransactionState.PROCEEDING)
            self.layer.table.forget(server)
        assert self.layer.empty


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
