"""Which message belongs to which transaction, transport errors, and tables that become empty again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.sip import VIA, response
from support.transactions import BRANCH, TCP, UDP, Layer, a_request, a_response, flow

from edgesbc.base.address import Flow, Source
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.limits import Limits
from edgesbc.sip.machines import TransactionState
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message
from edgesbc.sip.transaction import NOBODY, ServerTransaction, server_key
from edgesbc.sip.transactions import Transactions


@pytest.fixture
def layer() -> Layer:
    return Layer()


# --- matching ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "listener", "taken"),
    [("198.51.100.7", UDP, True), ("198.51.100.8", UDP, False), ("198.51.100.7", TCP, False)],
)
def test_a_response_from_another_peer_is_ignored(layer: Layer, host: str, listener: object, taken: bool) -> None:
    layer.client()
    source_flow = Flow(UDP if listener is UDP else TCP, Source(host, 5060))
    assert (layer.table.receive(a_response(200), source_flow, 0) is not None) == taken
    assert bool(layer.outcomes) == taken


def test_a_response_from_another_port_of_the_peer_is_taken(layer: Layer) -> None:
    layer.client()
    assert layer.table.receive(a_response(200), flow(port=49152), 0) is not None


def test_the_sent_by_of_a_response_is_not_compared(layer: Layer) -> None:
    """Branch and source identify it better; see the deviations from section 18.1.2."""
    layer.client()
    other = response(200, via=f"SIP/2.0/UDP elsewhere.example;branch={BRANCH}")
    message = parse_message(other)
    assert isinstance(message, Response)
    assert layer.table.receive(message, flow(), 0) is not None


@pytest.mark.parametrize(("method", "branch"), [("OPTIONS", BRANCH), ("CANCEL", BRANCH), ("INVITE", BRANCH + "x")])
def test_a_response_with_another_branch_or_method_is_ignored(layer: Layer, method: str, branch: str) -> None:
    layer.client()
    assert layer.table.receive(a_response(200, method, branch), flow(), 0) is None


def test_a_cancel_shares_the_branch_of_its_invite(layer: Layer) -> None:
    invite, cancel = layer.client(), layer.client("CANCEL")
    assert layer.receive(180) is invite
    assert layer.receive(200, "CANCEL") is cancel
    assert invite.state is TransactionState.PROCEEDING


def test_ack_and_cancel_find_the_invite(layer: Layer) -> None:
    server = layer.server()
    assert layer.table.find_server(a_request("CANCEL"), flow(), "INVITE") is server
    assert layer.table.find_server(a_request("CANCEL"), flow()) is None
    assert not layer.table.absorb(a_request("CANCEL"), flow(), 0)
    assert layer.table.absorb(a_request("ACK"), flow(), 0)
    assert server.state is TransactionState.PROCEEDING  # no refusal was sent that the ACK could acknowledge


@pytest.mark.parametrize(
    ("via", "same"),
    [
        (VIA, True),
        ("SIP/2.0/UDP 198.51.100.7:5060;rport;branch=z9hG4bKa1;x", True),
        ("SIP/2.0/TCP 198.51.100.7:5060;branch=z9hG4bKa1", True),
        ("SIP/2.0/UDP 198.51.100.7:5061;branch=z9hG4bKa1", False),
        ("SIP/2.0/UDP 198.51.100.8:5060;branch=z9hG4bKa1", False),
        ("SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKa2", False),
    ],
)
def test_a_request_is_matched_by_branch_and_sent_by(via: str, same: bool) -> None:
    assert (server_key(a_request(via=via), "INVITE") == server_key(a_request(), "INVITE")) == same


_OLD = "SIP/2.0/UDP old.example.com;branch=z9hG4bK"  # nothing after the cookie: RFC 4475 section 3.2.1


@pytest.mark.parametrize("via", ["SIP/2.0/UDP old.example.com", "SIP/2.0/UDP old.example.com;branch=1", _OLD])
def test_a_request_of_rfc_2543_is_matched_by_its_fields(layer: Layer, via: str) -> None:
    server = layer.server(via=via)
    assert layer.table.find_server(a_request(via=via), flow()) is server
    assert layer.table.absorb(a_request(via=via), flow(), 0)
    layer.respond(server, 486)
    assert layer.table.absorb(a_request("ACK", via=via, to="<sip:100@192.0.2.1>;tag=ours"), flow(), 0)
    assert server.state is TransactionState.CONFIRMED
    others: list[dict[str, str]] = [
        {"uri": "sip:101@192.0.2.1"}, {"from_": "<sip:alice@example.org>;tag=b"}, {"call_id": "c2"},
        {"cseq": "2 INVITE"},
    ]  # fmt: skip
    for other in others:
        assert layer.table.find_server(a_request(**{"via": via, **other}), flow()) is None
    assert layer.table.find_server(a_request(via="SIP/2.0/UDP other.example.com"), flow()) is None


# --- transport errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_lost_connection_fails_what_is_unanswered(layer: Layer, method: str) -> None:
    layer.client(method, reliable=True)
    layer.server(method, reliable=True)
    layer.table.fail_connection(8, 0)
    assert len(layer.table) == 2
    layer.table.fail_connection(7, 0)
    assert layer.outcomes == [(0, "transport")]
    assert layer.empty


def test_a_lost_connection_leaves_what_is_answered_to_its_timers(layer: Layer) -> None:
    layer.client(reliable=True)
    layer.respond(layer.server(reliable=True), 200)
    layer.receive(200, reliable=True)
    layer.table.fail_connection(7, 0)
    assert len(layer.table) == 2
    layer.wait(32)
    assert layer.outcomes == [(0, "200")]
    assert layer.empty


class ServerUser:
    """Counts the calls of ``connection_closed``."""

    def __init__(self) -> None:
        self.lost = 0

    def on_cancel(self, reasons: Sequence[str], now: float) -> None: ...

    def on_connection_lost(self, now: float) -> None:
        self.lost += 1

    def on_internal_error(self, now: float) -> None: ...


def test_a_lost_connection_is_reported_to_users_of_requests_without_an_answer(layer: Layer) -> None:
    user, user_of_answered = ServerUser(), ServerUser()
    waiting = layer.server("INVITE", reliable=True)
    waiting.user = user
    layer.respond(waiting, 180)
    answered = layer.server("INVITE", reliable=True, via="SIP/2.0/TCP h;branch=z9hG4bKb")
    answered.user = user_of_answered
    layer.respond(answered, 486)
    layer.client(reliable=True)
    layer.table.fail_connection(7, 0)
    layer.table.fail_connection(7, 0)
    assert (user.lost, user_of_answered.lost) == (1, 0)
    assert layer.empty


NEW = Flow(TCP, Source("203.0.113.9", 40000), 9)
NEW_UDP = Flow(UDP, Source("203.0.113.9", 40000))


def moved(layer: Layer, to: Flow = NEW) -> list[bytes]:
    """Move what belongs to the connection 7; what is sent because of that."""
    layer.sent.clear()
    for transaction in layer.table.move_connection(7, to, layer.now):
        assert transaction.flow is to
    assert layer.table.on_connection(7) == ()
    return [data for _, data in layer.sent]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
@pytest.mark.parametrize("status", [0, 100, 200, 486])
def test_a_request_that_was_sent_moves_to_another_connection(layer: Layer, method: str, status: int) -> None:
    """It is sent again if no response has come. After a final response on a stream only an INVITE with a 2xx is
    left."""
    layer.client(method, reliable=True)
    if status:
        layer.receive(status, method, reliable=True)
    layer.table.suspend_connection(7)
    assert moved(layer) == ([] if status else [b"request"])
    assert len(layer.table) == (status < 200 or (method == "INVITE" and status == 200))
    layer.table.fail_connection(7, 0)
    if status < 200:
        assert layer.table.receive(a_response(200, method), NEW, 0) is not None


@pytest.mark.parametrize(
    ("method", "times"), [("INVITE", [1.5, 2.5, 4.5, 8.5, 16.5]), ("OPTIONS", [1.5, 2.5, 4.5, 8.5])]
)
def test_a_request_that_moves_to_datagrams_is_repeated(layer: Layer, method: str, times: list[float]) -> None:
    layer.client(method, reliable=True)
    layer.wait(1)
    assert moved(layer, NEW_UDP) == [b"request"]
    layer.wait(17 if method == "INVITE" else 10)
    assert layer.times(b"request") == [1, *times]


def test_a_request_with_a_provisional_response_goes_on_over_datagrams(layer: Layer) -> None:
    layer.client("OPTIONS", reliable=True)
    layer.receive(100, "OPTIONS", reliable=True)
    assert moved(layer, NEW_UDP) == []
    layer.wait(9)
    assert layer.times(b"request") == [4, 8]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
@pytest.mark.parametrize("status", [0, 180, 200, 486])
def test_a_response_moves_to_another_connection(layer: Layer, method: str, status: int) -> None:
    """The last response is sent again, also one that was given while there was no connection."""
    server = layer.server(method, reliable=True)
    layer.table.suspend_connection(7)
    if status:
        layer.respond(server, status)
    assert moved(layer) == ([b"answer %d" % status] if status else [])
    assert len(layer.table) == (method == "INVITE" or status < 200)
    layer.wait(100)
    assert len(layer.table) == (status < 200)


@pytest.mark.parametrize("to", [NEW, NEW_UDP])
def test_by_its_first_connection_a_sender_still_finds_its_request_that_has_moved(layer: Layer, to: Flow) -> None:
    """Also where nothing relates the new address to it, as of a trunk."""
    server = layer.server(reliable=True)
    moved(layer, to)
    assert layer.table.find_server(a_request("CANCEL"), server.source, "INVITE") is server
    assert layer.table.absorb(a_request(), server.source, layer.now)
    stranger = Flow(server.source.listener, server.source.peer._replace(host="203.0.113.66"), 99)
    assert layer.table.find_server(a_request("CANCEL"), stranger, "INVITE") is None


def test_of_a_2xx_that_was_sent_before_only_a_repetition_moves(layer: Layer) -> None:
    server = layer.server(reliable=True)
    layer.respond(server, 200)
    layer.table.suspend_connection(7)
    assert moved(layer) == []
    layer.respond(server, 200)
    assert server.flow == NEW
    assert len(layer.sent) == 1


def test_a_2xx_that_is_repeated_meanwhile_moves(layer: Layer) -> None:
    server = layer.server(reliable=True)
    layer.respond(server, 200)
    layer.table.suspend_connection(7)
    layer.respond(server, 200)
    assert moved(layer) == [b"answer 200"]


def test_a_refusal_that_moves_to_datagrams_is_repeated(layer: Layer) -> None:
    layer.respond(layer.server(reliable=True), 486)
    assert moved(layer, NEW_UDP) == [b"answer 486"]
    layer.wait(4)
    assert layer.times(b"answer 486") == [0, 0.5, 1.5, 3.5]


def test_a_final_response_to_others_waits_for_repeated_requests_over_datagrams(layer: Layer) -> None:
    server = layer.server("OPTIONS", reliable=True)
    layer.table.suspend_connection(7)
    layer.respond(server, 200)
    layer.wait(5)
    assert moved(layer, NEW_UDP) == [b"answer 200"]
    layer.wait(36)
    assert len(layer.table) == 1
    layer.wait(38)
    assert layer.empty


def test_an_acknowledged_refusal_is_not_sent_again(layer: Layer) -> None:
    server = layer.server(reliable=True)
    layer.respond(server, 486)
    server.linger = 5.0
    layer.table.absorb(a_request("ACK"), flow(True), 0)
    assert moved(layer) == []
    layer.wait(6)
    assert layer.empty


def test_what_is_answered_while_it_waits_ends_by_itself(layer: Layer) -> None:
    server = layer.server("OPTIONS", reliable=True)
    layer.table.suspend_connection(7)
    layer.respond(server, 200)
    layer.table.fail_connection(7, 0)
    layer.wait(33)
    assert layer.empty


def test_requests_of_one_method_fail_alone(layer: Layer) -> None:
    layer.server("REGISTER", reliable=True, via="SIP/2.0/TCP h;branch=z9hG4bKr")
    layer.server("OPTIONS", reliable=True, via="SIP/2.0/TCP h;branch=z9hG4bKo")
    layer.table.fail_connection(7, 0, method="REGISTER")
    assert [transaction.method for transaction in layer.table.on_connection(7)] == ["OPTIONS"]


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_request_is_unanswered_until_its_first_response(layer: Layer, method: str) -> None:
    client = layer.client(method)
    assert layer.table.unanswered(BRANCH, method) is client
    assert layer.table.unanswered(BRANCH, "BYE") is None
    assert layer.table.unanswered(BRANCH[:-1], method) is None
    layer.receive(100, method)
    assert layer.table.unanswered(BRANCH, method) is None


def test_a_transaction_can_be_failed_by_its_user(layer: Layer) -> None:
    layer.table.fail(layer.client(), 0)
    assert layer.outcomes == [(0, "transport")]
    assert layer.empty


# --- bounds ----------------------------------------------------------------------------------------------


def test_the_table_is_full_in_servers_or_in_clients() -> None:
    layer = Layer(limit=2)
    servers = [layer.server(via=f"SIP/2.0/UDP h;branch=z9hG4bK{number}") for number in range(2)]
    assert layer.table.full
    layer.table.forget(servers[0])
    assert not layer.table.full
    layer.client()
    layer.client("OPTIONS")
    assert layer.table.full


def test_the_end_of_an_older_transaction_does_not_take_the_newer_one_away(layer: Layer) -> None:
    older, newer = layer.server(), layer.server()
    layer.table.forget(older)
    assert layer.table.find_server(a_request(), flow()) is newer
    first, second = layer.client(), layer.client()
    layer.table.fail(first, 0)
    assert layer.receive(180) is second


def test_an_invite_without_an_answer_gets_100_after_200_ms_and_no_other_does(layer: Layer) -> None:
    quick, slow = layer.server("INVITE"), layer.server("INVITE", via="SIP/2.0/UDP h;branch=z9hG4bKslow")
    for server in (quick, slow):
        layer.table.schedule_trying(server, lambda: b"SIP/2.0 100 Trying", 0)
    layer.respond(quick, 180)
    layer.sent.clear()
    layer.wait(0.1)
    assert layer.sent == []
    layer.wait(0.2)
    assert [data for _, data, *_ in layer.sent] == [b"SIP/2.0 100 Trying"]


@pytest.mark.parametrize("reliable", [False, True])
def test_a_non_invite_request_gets_100_when_the_timer_e_of_its_sender_reaches_t2(layer: Layer, reliable: bool) -> None:
    """RFC 4320 section 4.1."""
    slow = layer.server("OPTIONS", reliable)
    layer.table.schedule_trying(slow, lambda: b"SIP/2.0 100 Trying", 0)
    layer.wait(3.4)
    assert layer.table.absorb(a_request("OPTIONS"), flow(reliable), layer.now)
    assert layer.sent == []
    layer.wait(3.5)
    assert layer.table.absorb(a_request("OPTIONS"), flow(reliable), layer.now)  # the retransmission gets it again
    assert layer.times(b"SIP/2.0 100 Trying") == [3.5, 3.5]
    layer.wait(20)
    layer.respond(slow, 200)
    layer.wait(60)
    assert layer.times(b"answer 200") == [20]
    assert layer.empty


def test_a_request_answered_sooner_gets_no_100(layer: Layer) -> None:
    quick = layer.server("OPTIONS")
    layer.table.schedule_trying(quick, lambda: b"SIP/2.0 100 Trying", 0)
    layer.wait(3.4)
    layer.respond(quick, 404)
    layer.wait(35.3)
    assert len(layer.table) == 1
    layer.wait(35.5)
    assert layer.times(b"SIP/2.0 100 Trying") == []
    assert layer.empty


def test_no_timer_repeats_a_response_to_a_source_that_may_be_forged(layer: Layer) -> None:
    refused = layer.server("INVITE")
    refused.proven = False
    layer.respond(refused, 486)
    layer.sent.clear()
    layer.wait(40)
    assert layer.sent == []
    assert layer.empty


def test_a_2xx_is_repeated_once_to_a_source_that_may_be_forged(layer: Layer) -> None:
    answered = layer.server("INVITE")
    answered.proven = False
    for _ in range(5):
        layer.respond(answered, 200)
    assert len(layer.sent) == 2


def test_a_terminated_transaction_releases_its_user(layer: Layer) -> None:
    """Transactions and users refer to each other; without the reference no garbage collection is needed."""
    server = layer.server("OPTIONS")
    server.user = ServerUser()
    layer.respond(server, 200)
    assert server.user is None


# --- endpoints of other programs, and a table with deadlines of its own -----------------------------------


class Peer:
    """An endpoint of another program, which compares equal by address."""

    serial = 0
    reliable = False

    def __init__(self, host: str, port: int = 5060) -> None:
        self.host, self.port = host, port

    @property
    def sender(self) -> tuple[str, int]:
        return self.host, self.port

    def same_peer(self, other: Peer, /) -> bool:
        return self.host == other.host

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and (self.host, self.port) == (other.host, other.port)

    __hash__ = None  # type: ignore[assignment] - an endpoint need not be hashable


def test_any_endpoint_can_be_used() -> None:
    sent: list[tuple[Peer, bytes]] = []
    table = Transactions[Peer](lambda peer, data: sent.append((peer, data)))
    assert table.deadline() is None
    client = table.open_client(BRANCH, "OPTIONS", Peer("a"), b"request", NOBODY, 0.0)
    table.expire(0.5)
    assert (table.deadline(), sent) == (1.5, [(Peer("a"), b"request")] * 2)
    assert table.receive(a_response(200, "OPTIONS"), Peer("b"), 0.6) is None
    assert table.receive(a_response(200, "OPTIONS"), Peer("a", 5080), 0.6) is client
    table.expire(5.6)
    assert len(table) == 0
    lost = table.open_client(BRANCH, "OPTIONS", Peer("a"), b"request", NOBODY, 6.0)
    assert table.unanswered(BRANCH, "OPTIONS") is lost
    table.fail(lost, 6.0)
    assert (lost.state, table.deadline()) == (TransactionState.TERMINATED, None)


def test_responses_go_to_the_source_by_default() -> None:
    sent: list[tuple[Peer, bytes]] = []
    table = Transactions[Peer](lambda peer, data: sent.append((peer, data)))
    table.respond(table.open_server(a_request(), Peer("a")), 486, b"busy", 0.0)
    assert sent == [(Peer("a"), b"busy")]


def test_the_table_is_full_at_its_limit() -> None:
    table = Transactions[Peer](lambda peer, data: None, limits=Limits(transactions=2))
    states = [(table.has_place_in_half(), table.full)]
    for number in range(2):
        table.open_server(a_request(via=f"SIP/2.0/UDP h;branch=z9hG4bK{number}"), Peer("a"))
        states.append((table.has_place_in_half(), table.full))
    assert states == [(True, False), (False, False), (False, True)]


def replaceable(
    table: Transactions[Peer], number: int, method: str = "OPTIONS", status: int = 200
) -> ServerTransaction[Peer]:
    """A request whose place may be given away, answered unless ``status`` is 0."""
    request = a_request(method, via=f"SIP/2.0/UDP h;branch=z9hG4bK{number}")
    server = table.open_server(request, Peer("a"))
    server.replaceable = True
    if status:
        table.respond(server, status, b"answer", 0.0)
    return server


def test_the_oldest_answered_requests_leave_their_places_to_those_that_share_half() -> None:
    table = Transactions[Peer](lambda peer, data: None, limits=Limits(transactions=6))
    servers = [replaceable(table, number) for number in range(3)]
    for oldest in servers:
        assert table.has_place_in_half()
        assert oldest.state is TransactionState.TERMINATED
        assert not table.absorb(oldest.request, Peer("a"), 1.0)
        servers.append(replaceable(table, len(servers)))
        assert len(table) == 3
        if len(servers) == 7:
            break
    table.expire(33.0)
    assert len(table) == 0
    assert table.deadline() is None


def test_what_still_matters_keeps_its_place() -> None:
    """A request without a final answer, an INVITE, one of a sender with an account; and clients have a limit too."""
    table = Transactions[Peer](lambda peer, data: None, limits=Limits(transactions=8))
    replaceable(table, 1, status=0)
    replaceable(table, 2, status=180)
    replaceable(table, 3, "INVITE", 486)
    replaceable(table, 4)
    other = table.open_server(a_request("OPTIONS", via="SIP/2.0/UDP h;branch=z9hG4bK5"), Peer("a"))
    table.respond(other, 200, b"answer", 0.0)
    assert table.has_place_in_half()
    assert len(table) == 4
    assert not table.has_place_in_half()
    assert len(table) == 4
    table.expire(33.0)
    assert table.has_place_in_half()
    for number in range(4):
        table.open_client(f"z9hG4bKc{number}", "OPTIONS", Peer("b"), b"request", NOBODY, 33.0)
    answered = replaceable(table, 6)
    assert not table.has_place_in_half()
    assert answered.state is TransactionState.COMPLETED


def test_the_table_is_full_at_its_limit_of_bytes() -> None:
    """Of requests, of the requests that were sent for them, and of responses that are kept for a repetition."""
    table = Transactions[Peer](lambda peer, data: None, limits=Limits(transaction_bytes=100))
    states = [(table.stored_bytes, table.has_place_in_half(), table.full)]
    server = table.open_server(a_request(), Peer("a"), size=40)
    states.append((table.stored_bytes, table.has_place_in_half(), table.full))
    client = table.open_client(BRANCH, "INVITE", Peer("b"), b"x" * 50, NOBODY, 0.0)
    states.append((table.stored_bytes, table.has_place_in_half(), table.full))
    table.respond(server, 180, b"y" * 20, 0.0)
    table.respond(server, 486, b"y" * 10, 0.0)
    states.append((table.stored_bytes, table.has_place_in_half(), table.full))
    table.fail(client, 0.0)
    states.append((table.stored_bytes, table.has_place_in_half(), table.full))
    table.expire(64 * 0.5)
    assert states == [
        (0, True, False), (40, True, False), (90, False, False), (100, False, True), (50, False, False),
    ]  # fmt: skip
    assert (len(table), table.stored_bytes) == (0, 0)


def test_answered_requests_leave_their_bytes_to_those_that_share_half() -> None:
    """As many at once as leave enough; but never so many that others would wait for it."""
    table = Transactions[Peer](lambda peer, data: None, limits=Limits(transaction_bytes=1_200))
    servers = [replaceable(table, number) for number in range(100)]
    assert table.stored_bytes == 600
    table.open_client(BRANCH, "OPTIONS", Peer("b"), b"x" * 60, NOBODY, 0.0)
    assert table.has_place_in_half()
    assert [server.state for server in servers].count(TransactionState.TERMINATED) == 11
    table.open_client(f"{BRANCH}2", "OPTIONS", Peer("b"), b"x" * 600, NOBODY, 0.0)
    assert not table.has_place_in_half()
    assert [server.state for server in servers].count(TransactionState.TERMINATED) == 11 + 64


@pytest.mark.parametrize("failure", list(SendFailure))
def test_a_request_of_which_no_copy_was_sent_has_failed_for_that_reason(layer: Layer, failure: SendFailure) -> None:
    client = layer.client()
    layer.table.not_sent(BRANCH, "INVITE", failure, 0)
    assert client.failure is failure
    if failure is SendFailure.NO_RESOURCES:
        assert layer.outcomes == []  # its timer sends it again
        layer.wait(0.6)
        assert client.failure is None
        layer.table.not_sent(BRANCH, "INVITE", SendFailure.NO_ROUTE, 0.6)
    assert [outcome for _, outcome in layer.outcomes] == ["transport"]


def test_a_request_that_persists_is_sent_again_although_there_was_no_route(layer: Layer) -> None:
    """A BYE has nowhere else to go, and a route may be missing for a moment."""
    client = layer.client("BYE")
    client.persists = True
    layer.table.not_sent(BRANCH, "BYE", SendFailure.NO_ROUTE, 0)
    layer.wait(0.6)
    assert (layer.outcomes, layer.times(b"request")) == ([], [0, 0.5])
    layer.table.not_sent(BRANCH, "BYE", SendFailure.TOO_LARGE, 0.6)
    assert [outcome for _, outcome in layer.outcomes] == ["transport"]


def test_a_retransmission_that_was_not_sent_fails_nothing(layer: Layer) -> None:
    client = layer.client()
    layer.wait(0.6)
    layer.table.not_sent(BRANCH, "INVITE", SendFailure.NO_ROUTE, 0.6)
    layer.table.not_sent(BRANCH, "BYE", SendFailure.NO_ROUTE, 0.6)
    layer.table.not_sent("z9hG4bKother", "INVITE", SendFailure.NO_ROUTE, 0.6)
    assert (client.failure, layer.outcomes) == (None, [])


def test_a_connection_that_this_machine_could_not_open_fails_its_requests_for_that_reason(layer: Layer) -> None:
    client = layer.client(reliable=True)
    layer.table.fail_connection(client.flow.serial, 0, SendFailure.NO_RESOURCES)
    assert (client.failure, [outcome for _, outcome in layer.outcomes]) == (SendFailure.NO_RESOURCES, ["transport"])
