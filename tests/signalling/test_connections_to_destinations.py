"""Requests to destinations over connections: sent once, by the first that is open, and again where one was closing."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CARRIERS, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source, Transport
from edgesbc.dispatch.health import MemberState
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.signalling.effects import Open
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request, Response
from edgesbc.sip.server_uri import ResolvedAddress
from edgesbc.sip.transaction import NOBODY

V6, V4, OTHER = Source("2001:db8::11", 5060), Source("10.0.0.11", 5060), Source("10.0.0.12", 5060)
NAMED = "sip:pbx.example.com;transport=tcp"
Messages = list[tuple[Flow, Request | Response]]


class Destinations:
    """An edge with a set over TCP, whose connections the test opens and closes."""

    def __init__(
        self, *uris: str, addresses: tuple[Source, ...] = (), open: tuple[str, ...] = (), **settings: object
    ) -> None:
        """``open`` are the listeners where anybody may call."""
        harness = self.harness = EdgeHarness(connects=False, open=open)
        members = tuple(MemberSettings(uri, priority=number) for number, uri in enumerate(uris))
        health = HealthSettings(interval=0)
        arguments = {"algorithm": "priority", "health": health, **settings}
        harness.dispatcher.reload([SetSettings("pbx", members=members, **arguments)], harness.now)  # type: ignore[arg-type]
        targets = [ResolvedAddress(address, Transport.TCP) for address in addresses]
        if targets:
            harness.dispatcher.resolved(members[0].server_uri, targets, harness.now)

    @property
    def opened(self) -> list[Flow]:
        """The connections that were asked for, in order."""
        return [effect.flow for effect in self.harness.other if isinstance(effect, Open)]

    def to(self, peer: Source) -> Flow:
        """The last connection that was asked for to an address."""
        return [flow for flow in self.opened if flow.peer == peer][-1]

    def member(self, peer: Source) -> Member:
        member = self.harness.dispatcher.member_at(peer, Transport.TCP)
        assert member is not None
        return member

    def call(self, number: int = 1, method: str = "INVITE", flow: Flow = CALLER) -> Messages:
        data = invite(method, branch=f"z9hG4bK{number}", from_tag=f"tag{number}")
        return self.harness.receive(flow, data.replace(b"Call-ID: c1", b"Call-ID: c%d" % number))

    def connect(self, peer: Source) -> Messages:
        self.harness.sent.clear()
        self.harness.connected(self.to(peer))
        return list(self.harness.sent)

    def close(self, peer: Source) -> Messages:
        self.harness.sent.clear()
        self.harness.closed(self.to(peer))
        return list(self.harness.sent)

    def nothing_left(self) -> None:
        harness = self.harness
        assert not harness.edge.audit_leases().differences
        harness.wait(200)
        assert harness.edge.idle
        assert harness.dispatcher.leases == harness.edge.calls == 0


def sent_requests(messages: Messages) -> list[tuple[Flow, Request]]:
    return [(flow, message) for flow, message in messages if isinstance(message, Request)]


def requests(messages: Messages) -> list[tuple[str, Source]]:
    return [(message.method, flow.peer) for flow, message in sent_requests(messages)]


def statuses(messages: Messages) -> list[int]:
    return [message.status for flow, message in messages if isinstance(message, Response) and flow == CALLER]


def dual_stack(**settings: object) -> Destinations:
    return Destinations(NAMED, addresses=(V6, V4), **settings)


# --- the first connection that is open (RFC 8305) --------------------------------------------------------


def test_a_request_is_sent_when_its_connection_is_open() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp")
    assert requests(destinations.call()) == []
    assert requests(destinations.connect(V4)) == [("INVITE", V4)]
    assert destinations.connect(V4) == []


def test_after_a_quarter_of_a_second_the_other_family_is_tried_as_well() -> None:
    destinations = dual_stack()
    destinations.call()
    destinations.harness.wait(limits.CONNECT_ATTEMPT_SECONDS - 0.01)
    assert [flow.peer for flow in destinations.opened] == [V6]
    destinations.harness.wait(0.01)
    assert [flow.peer for flow in destinations.opened] == [V6, V4]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
@pytest.mark.parametrize(("first", "last"), [(V4, V6), (V6, V4)])
def test_the_request_is_sent_once_by_the_connection_that_is_open_first(
    first: Source, last: Source, method: str
) -> None:
    destinations = dual_stack()
    harness = destinations.harness
    destinations.call(method=method)
    harness.wait(0.3)
    sent = destinations.connect(first)
    assert requests(sent) == [(method, first)]
    assert (destinations.member(first).load, destinations.member(last).load) == (int(method == "INVITE"), 0)
    assert requests(destinations.connect(last)) == []
    assert harness.dispatcher.leases == 1
    assert not harness.edge.audit_leases().differences
    flow, forwarded = sent[-1]
    assert 200 in statuses(harness.receive(flow, respond(forwarded, 200)))
    assert all(not any(member.failures.values()) for member in harness.dispatcher.members())
    harness.edge.end_calls(harness.now)
    destinations.nothing_left()


def test_the_ledger_names_both_addresses_and_the_one_that_was_used() -> None:
    destinations = dual_stack()
    destinations.call()
    destinations.harness.wait(0.3)
    destinations.connect(V4)
    assert [decision.detail for decision in destinations.harness.decisions if decision.reason.code == "routed"] == [
        f"pbx {NAMED} at {V6} over tcp",
        f"pbx {NAMED} at {V4} over tcp: no connection to {V6} so far, whichever is open first is used",
        f"pbx {NAMED} at {V4} over tcp: its connection is open first",
    ]


def test_a_connection_that_is_open_already_is_used_after_the_delay() -> None:
    destinations = dual_stack()
    harness = destinations.harness
    destinations.call(1)
    destinations.close(V6)
    destinations.connect(V4)
    harness.now += 40
    destinations.call(2)
    assert requests(harness.wait(0.25)) == [("INVITE", V4)]


def test_all_addresses_of_the_host_are_tried_and_no_other_destination() -> None:
    more = Source("2001:db8::12", 5060)
    destinations = Destinations(NAMED, "sip:10.0.0.12;transport=tcp", addresses=(V6, more, V4))
    destinations.call()
    destinations.harness.wait(1.9)
    assert [flow.peer for flow in destinations.opened] == [V6, V4, more]
    destinations.harness.wait(1.0)
    assert [flow.peer for flow in destinations.opened] == [V6, V4, more, OTHER]


def test_connections_that_are_refused_meanwhile_leave_the_others() -> None:
    destinations = dual_stack()
    destinations.call()
    destinations.harness.wait(0.3)
    assert destinations.close(V6) == []
    assert requests(destinations.connect(V4)) == [("INVITE", V4)]
    assert destinations.member(V6).failure == "could not be reached"


def test_where_no_connection_is_open_in_time_the_call_goes_on_to_the_next() -> None:
    destinations = Destinations(NAMED, "sip:10.0.0.12;transport=tcp", addresses=(V6, V4))
    harness = destinations.harness
    destinations.call()
    harness.wait(2.3)
    assert destinations.opened[-1].peer == OTHER
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)]
    assert requests(destinations.connect(V6)) == [], "a call that was given up is sent nowhere"
    assert {destinations.member(peer).failure for peer in (V6, V4)} == {"gave no answer in time"}


def test_a_request_that_is_no_invite_goes_on_when_its_connections_have_failed() -> None:
    destinations = Destinations(NAMED, "sip:10.0.0.12;transport=tcp", addresses=(V6, V4))
    destinations.call(method="REGISTER")
    destinations.harness.wait(4.0)
    destinations.close(V6)
    destinations.close(V4)
    assert requests(destinations.connect(OTHER)) == [("REGISTER", OTHER)]


def test_a_cancelled_call_was_sent_nowhere() -> None:
    destinations = dual_stack()
    harness = destinations.harness
    destinations.call()
    harness.wait(0.3)
    cancel = invite("CANCEL", branch="z9hG4bK1", from_tag="tag1")
    assert statuses(harness.receive(CALLER, cancel)) == [200, 487]
    assert destinations.connect(V6) == destinations.connect(V4) == []
    destinations.nothing_left()


def test_a_6xx_of_one_branch_leaves_out_those_that_were_not_sent() -> None:
    destinations = Destinations(NAMED, addresses=(V6, V4), algorithm="broadcast")
    destinations.call()
    ((flow, forwarded),) = sent_requests(destinations.connect(V4))
    assert 603 in statuses(destinations.harness.receive(flow, respond(forwarded, 603)))
    assert destinations.connect(V6) == []
    destinations.nothing_left()


def test_the_2xx_of_one_branch_leaves_out_those_that_were_not_sent() -> None:
    destinations = Destinations(NAMED, addresses=(V6, V4), algorithm="broadcast")
    harness = destinations.harness
    destinations.call()
    ((flow, forwarded),) = sent_requests(destinations.connect(V4))
    assert 200 in statuses(harness.receive(flow, respond(forwarded, 200)))
    assert destinations.connect(V6) == []
    assert not harness.edge.audit_leases().differences
    harness.edge.end_calls(harness.now)
    destinations.nothing_left()


def test_many_calls_share_the_connection_that_is_being_opened() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp")
    for number in range(20):
        destinations.call(number)
    assert len(destinations.opened) == 1
    assert requests(destinations.connect(V4)) == [("INVITE", V4)] * 20


def test_more_calls_than_may_wait_for_a_connection_go_to_the_next_member() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    for number in range(limits.CONNECTION_WAITING + 3):
        destinations.call(number)
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)] * 3
    assert requests(destinations.connect(V4)) == [("INVITE", V4)] * limits.CONNECTION_WAITING
    assert destinations.member(V4).failure == ""


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_senders_without_an_account_leave_half_of_the_places_to_others(method: str) -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp", open=("carriers",))
    for number in range(limits.CONNECTION_WAITING // 2 + 3):
        stranger = Flow(CARRIERS, Source(f"203.0.113.{number}", 5060), 1000 + number)
        destinations.harness.edge.flow_opened(stranger)
        destinations.call(1000 + number, method, stranger)
    for number in range(limits.CONNECTION_WAITING // 2 + 3):
        destinations.call(number)
    waiting = requests(destinations.connect(V4))
    assert waiting == [(method, V4)] * (limits.CONNECTION_WAITING // 2) + [("INVITE", V4)] * (
        limits.CONNECTION_WAITING // 2
    )
    assert requests(destinations.connect(OTHER)) == [(method, OTHER)] * 3 + [("INVITE", OTHER)] * 3


def sent(destinations: Destinations, count: int) -> list[str]:
    """Send so many calls by an open connection; their Call-IDs, in order."""
    call_ids: list[str] = []
    for number in range(count):
        call_ids += [message.call_id for _, message in sent_requests(destinations.call(100 + number))]
    return call_ids


def test_requests_that_are_sent_again_have_the_places_of_those_that_wait_and_keep_their_order() -> None:
    """The server has closed the connection with 300 requests on their way; the outbox of the next one has no room for
    370. Those beyond the bound are answered, and the connection is opened all the same."""
    destinations = Destinations("sip:10.0.0.11;transport=tcp")
    harness = destinations.harness
    destinations.call()
    destinations.connect(V4)
    call_ids = ["c1", *sent(destinations, 299)]
    messages = destinations.close(V4)
    again = [message.call_id for _, message in sent_requests(messages)]
    assert again == call_ids[: limits.CONNECTION_WAITING]
    refused = statuses(messages)
    assert refused == [503] * (300 - limits.CONNECTION_WAITING)
    assert harness.reasons.count("overload") == len(refused)
    assert destinations.member(V4).failure == "", "it is no fault of the member"
    assert statuses(destinations.call(900)) == [503], "no place is left for a new one"
    destinations.connect(V4)
    assert len(sent_requests(destinations.call(901))) == 1
    destinations.nothing_left()


def test_those_of_strangers_have_half_of_the_places() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp", open=("carriers",))
    destinations.call()
    destinations.connect(V4)
    strangers: list[str] = []
    for number in range(80):
        stranger = Flow(CARRIERS, Source(f"203.0.113.{number}", 5060), 1000 + number)
        destinations.harness.edge.flow_opened(stranger)
        messages = destinations.call(1000 + number, flow=stranger)
        strangers += [message.call_id for _, message in sent_requests(messages)]
    own = sent(destinations, 20)
    again = [message.call_id for _, message in sent_requests(destinations.close(V4))]
    assert again == ["c1", *strangers[: limits.CONNECTION_WAITING // 2 - 1], *own]


def test_large_requests_that_wait_fit_into_the_outbox() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    for number in range(12):
        data = invite(branch=f"z9hG4bK{number}", from_tag=f"tag{number}", extra=f"User-Agent: {'x' * 7_000}\r\n")
        body = b"x" * 20_000
        data = data.replace(b"Content-Length: 0", b"Content-Type: text/plain\r\nContent-Length: 20000") + body
        destinations.harness.receive(CALLER, data)
    first, second = sent_requests(destinations.connect(V4)), sent_requests(destinations.connect(OTHER))
    size = sum(len(bytes(message)) for _, message in first)
    assert 6 * 27_000 < size <= limits.CONNECTION_WAITING_BYTES < limits.OUTBOX_BYTES
    assert len(first) + len(second) == 12


def test_the_sender_is_gone_before_the_connection_is_open() -> None:
    destinations = dual_stack()
    harness = destinations.harness
    destinations.call()
    harness.wait(0.3)
    harness.sort(harness.edge.end_calls(harness.now))
    assert destinations.connect(V4) == []
    destinations.nothing_left()


# --- back-off --------------------------------------------------------------------------------------------


def test_after_a_failed_connection_calls_use_the_next_member_at_once() -> None:
    destinations = Destinations("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    harness = destinations.harness
    destinations.call(1)
    destinations.close(V4)
    destinations.connect(OTHER)
    assert requests(destinations.call(2)) == [("INVITE", OTHER)]
    harness.wait(0.6)
    assert requests(destinations.call(3)) == [], "it tries the first again"
    assert destinations.opened[-1].peer == V4
    assert requests(destinations.call(4)) == [("INVITE", OTHER)], "and it alone"
    destinations.connect(V4)
    assert requests(destinations.call(5)) == [("INVITE", V4)]


def test_a_slow_address_is_left_alone_when_its_connection_has_failed_though_no_call_waited_for_it() -> None:
    destinations = dual_stack()
    destinations.call(1)
    destinations.harness.wait(0.3)
    destinations.connect(V4)
    destinations.close(V6)
    assert destinations.member(V6).state is MemberState.ACTIVE
    assert requests(destinations.call(2)) == [("INVITE", V4)]


def test_a_probe_connects_whatever_calls_do() -> None:
    destinations = Destinations(
        "sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp", health=HealthSettings(interval=5.0)
    )
    harness = destinations.harness
    destinations.call(1)
    for _ in range(6):
        destinations.close(V4)
        harness.wait(1.2)
    backoff = destinations.member(V4).backoff
    assert backoff is not None
    assert backoff.failures > 4
    assert backoff.avoided(harness.now)
    destinations.connect(V4)
    assert not backoff.avoided(harness.now)


@pytest.mark.parametrize("failure", list(SendFailure))
def test_a_connection_that_this_machine_could_not_try_shows_nothing_about_the_member(failure: SendFailure) -> None:
    """Only the lack of a route concerns the address: the next calls have it too."""
    destinations = Destinations("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    harness = destinations.harness
    destinations.call(1)
    harness.sort(harness.edge.flow_closed(destinations.to(V4), harness.now, failure))
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)]
    member = destinations.member(V4)
    assert member.failure == ""
    assert member.backoff is not None
    assert member.backoff.failures == int(failure is SendFailure.NO_ROUTE)
    assert f"{member.name} {failure.value}" in [decision.detail for decision in harness.decisions]


# --- a connection that was closing -----------------------------------------------------------------------


def connected(*uris: str, **settings: object) -> Destinations:
    """With a connection that has carried a call."""
    destinations = Destinations(*(uris or ("sip:10.0.0.11;transport=tcp",)), **settings)
    harness = destinations.harness
    destinations.call(1)
    ((flow, forwarded),) = sent_requests(destinations.connect(V4))
    harness.receive(flow, respond(forwarded, 486))
    harness.wait(40)
    return destinations


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_a_request_on_a_connection_that_was_closing_is_sent_again_once(method: str) -> None:
    destinations = connected()
    ((_, first),) = sent_requests(destinations.call(2, method))
    ((flow, again),) = destinations.close(V4)
    assert (flow.peer, bytes(again)) == (V4, bytes(first)), "with its branch, by which a server knows it again"
    assert destinations.opened[-1] == flow
    assert destinations.member(V4).failure == ""
    destinations.connect(V4)
    assert 200 in statuses(destinations.harness.receive(flow, respond(again, 200)))


def test_it_is_not_sent_a_third_time() -> None:
    destinations = connected("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    destinations.call(2)
    assert requests(destinations.close(V4)) == [("INVITE", V4)]
    destinations.connect(V4)
    assert requests(destinations.close(V4)) == []
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)]
    assert destinations.member(V4).failure == "could not be reached"


def test_where_the_server_is_gone_the_next_member_is_tried() -> None:
    destinations = connected("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    destinations.call(2)
    destinations.close(V4)
    destinations.close(V4)
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)]


def test_a_request_with_a_provisional_response_is_not_sent_again() -> None:
    destinations = connected("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    ((flow, first),) = sent_requests(destinations.call(2))
    destinations.harness.receive(flow, respond(first, 100))
    destinations.close(V4)
    assert requests(destinations.connect(OTHER)) == [("INVITE", OTHER)]


@pytest.mark.parametrize("by", ["the caller", "the edge"])
def test_a_call_that_was_given_up_is_not_sent_again(by: str) -> None:
    destinations = connected("sip:10.0.0.11;transport=tcp", "sip:10.0.0.12;transport=tcp")
    harness = destinations.harness
    destinations.call(2)
    if by == "the caller":
        harness.receive(CALLER, invite("CANCEL", branch="z9hG4bK2", from_tag="tag2").replace(b": c1", b": c2"))
    else:
        harness.wait(2.1)
    assert requests(destinations.close(V4)) == []
    assert V4 not in [flow.peer for flow in destinations.opened[2:]]


def test_what_follows_goes_by_the_new_connection() -> None:
    """A CANCEL, an ACK and requests of the caller inside the dialog."""
    destinations = connected()
    harness = destinations.harness
    destinations.call(2)
    ((flow, again),) = sent_requests(destinations.close(V4))
    destinations.connect(V4)
    harness.receive(flow, respond(again, 180))
    cancel = invite("CANCEL", branch="z9hG4bK2", from_tag="tag2").replace(b": c1", b": c2")
    ((to, message),) = sent_requests(harness.receive(CALLER, cancel))
    assert (to, message.method) == (flow, "CANCEL")
    harness.receive(flow, respond(message, 200))
    harness.receive(flow, respond(again, 487))
    destinations.call(3)
    ((flow, again),) = sent_requests(destinations.close(V4))
    destinations.connect(V4)
    ((_, ok),) = harness.receive(flow, respond(again, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    for method in ("ACK", "BYE"):
        data = invite(
            method, contact, cseq=1 + (method == "BYE"), branch=f"z9hG4bK{method}", from_tag="tag3", to_tag="bob"
        )
        ((to, message),) = sent_requests(harness.receive(CALLER, data.replace(b": c1", b": c3")))
        assert (to, message.method) == (flow, method)
    harness.receive(flow, respond(message, 200))
    destinations.nothing_left()


@pytest.mark.parametrize("by", ["the caller", "the edge"])
def test_a_bye_on_a_connection_that_was_closing_is_sent_again(by: str) -> None:
    destinations = connected()
    harness = destinations.harness
    ((flow, forwarded),) = sent_requests(destinations.call(2))
    ((_, ok),) = harness.receive(flow, respond(forwarded, 200))
    if by == "the edge":
        harness.sort(harness.edge.end_calls(harness.now))
    else:
        contact = (ok.get("Contact") or "").strip("<>")
        bye = invite("BYE", contact, cseq=2, branch="z9hG4bKbye", from_tag="tag2", to_tag="bob")
        assert requests(harness.receive(CALLER, bye.replace(b": c1", b": c2"))) == [("BYE", V4)]
    ((again, bye_again),) = sent_requests(destinations.close(V4))
    assert (again.peer, bye_again.method) == (V4, "BYE")
    destinations.connect(V4)
    harness.receive(again, respond(bye_again, 200))
    destinations.nothing_left()


def test_a_request_on_a_connection_of_a_peers_own_is_not_sent_elsewhere() -> None:
    """The edge has not connected to its port, and nobody may listen there."""
    destinations = connected()
    harness = destinations.harness
    flow = harness.edge.new_flow(destinations.opened[0].listener, Source("10.0.0.11", 40000))
    harness.edge.flow_opened(flow)
    harness.edge.parts.transactions.open_client("z9hG4bKx", "OPTIONS", flow, invite("OPTIONS"), NOBODY, harness.now)
    harness.edge.take_effects()
    harness.sent.clear()
    harness.closed(flow)
    assert harness.sent == []
    assert len(destinations.opened) == 1
