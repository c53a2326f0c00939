"""THREATS 49: destinations judged by requests that they never got, or that anybody may send."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from support.running import CORE_UDP, PATIENCE, PUBLIC_TCP, PUBLIC_UDP, at, free_port, listen, policy_text, running
from support.signalling import CALLER, CARRIERS, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond
from support.ua import Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.dispatch.health import MemberState
from edgesbc.screen.standing import Standing
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request, Response

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)
CORE_TCP = listen("core", "tcp", "127.0.0.2:0", "core-tcp")


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness()


def untouched(harness: EdgeHarness) -> bool:
    """Whether nothing has counted for or against a member, and none holds a lease."""
    members = list(harness.dispatcher.members())
    return not harness.dispatcher.leases and all(
        (m.state, m.resting_until, m.latency, sum(m.failures.values())) == (MemberState.ACTIVE, 0.0, None, 0)
        for m in members
    )


def finals(sent: list[tuple[Flow, Request | Response]]) -> list[int]:
    """The final responses to the caller."""
    return [m.status for flow, m in sent if flow == CALLER and isinstance(m, Response) and m.status >= 200]


def padded(request: bytes, size: int) -> bytes:
    """``request``, which has no body, with a body of ``size`` bytes."""
    return request.replace(b"Content-Length: 0\r", b"Content-Length: %d\r" % size) + b"x" * size


# --- a request that was never sent -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_49_a_request_that_fits_into_no_datagram_is_refused_and_counts_against_nobody(
    harness: EdgeHarness, method: str
) -> None:
    """It fits as it comes, and no more with what the edge adds."""
    request = invite(method, uri="sip:100@pbx.example")
    sent = harness.receive(CALLER, padded(request, limits.DATAGRAM_BYTES - len(request) - 10))
    assert finals(sent) == [513]
    assert not [flow for flow, _ in sent if flow in (FIRST, SECOND)]
    assert "too-large" in harness.reasons
    assert untouched(harness)
    harness.wait(64)
    assert harness.edge.idle


def test_49_a_response_that_fits_into_no_datagram_ends_the_call(harness: EdgeHarness) -> None:
    """Otherwise the caller would wait without an answer, and the callee would be in a call that nobody has."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    answer = respond(forwarded, 200)
    sent = harness.receive(FIRST, padded(answer, limits.MESSAGE_BYTES - len(answer) - 4))
    assert [message.method for _, message in sent if isinstance(message, Request)] == ["ACK", "BYE"]
    assert finals(sent) == [500]
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_49_an_ack_that_fits_into_no_datagram_is_recorded(harness: EdgeHarness) -> None:
    """An ACK has no answer; the callee ends the call that it does not get an ACK for."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(FIRST, respond(forwarded, 200))
    ack = invite("ACK", branch="z9hG4bKack", to_tag="bob")
    assert [flow.peer.host for flow, _ in harness.receive(CALLER, ack)] == ["10.0.0.11"]
    room = limits.DATAGRAM_BYTES - len(harness.raw[-1])
    assert [flow.peer.host for flow, _ in harness.receive(CALLER, padded(ack, room - 10))] == ["10.0.0.11"]
    assert harness.receive(CALLER, padded(ack, room)) == []
    assert harness.reasons[-1] == "too-large"


async def test_49_it_goes_over_tcp_where_the_destination_has_it(tmp_path: Path) -> None:
    """RFC 3261 section 18.1.1: the next member, over TCP, takes what the first cannot."""
    port = free_port("127.0.0.11")
    members = [f"sip:127.0.0.11:{port}", f"sip:127.0.0.11:{port};transport=tcp"]
    policy = policy_text(tmp_path, members, [PUBLIC_UDP, PUBLIC_TCP, CORE_UDP, CORE_TCP], trunks=["127.0.0.1"])
    with socket.create_server(("127.0.0.11", port)) as listening:
        listening.setblocking(False)
        async with running(tmp_path, policy) as app, Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
            request = alice.dialog(f"sip:100@{at(app, 'public-udp')}").build("REGISTER")
            await alice.wire.send(padded(request, limits.DATAGRAM_BYTES - len(request) - 10))
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(listening)
                with trio.socket.from_stdlib_socket(listening.accept()[0]) as connection:
                    assert (await connection.recv(100)).startswith(b"REGISTER ")
            assert [member.failure for member in app.edge.dispatcher.members()] == ["", ""]


@pytest.mark.parametrize("failure", [SendFailure.NO_ROUTE, SendFailure.TOO_LARGE])
def test_49_what_the_kernel_does_not_send_fails_over_and_counts_against_nobody(
    harness: EdgeHarness, failure: SendFailure
) -> None:
    harness.receive(CALLER, invite())
    data = harness.raw[-1]
    harness.sent.clear()
    harness.sort(harness.edge.request_not_sent(data, failure, harness.now))
    assert [flow for flow, message in harness.sent if isinstance(message, Request)] == [SECOND]
    assert any(failure.value in decision.detail for decision in harness.decisions)
    first, second = harness.dispatcher.members()
    assert (first.state, sum(first.failures.values())) == (MemberState.ACTIVE, 0)
    assert (first.load, second.load) == (0, 1)


def test_49_what_the_kernel_has_no_memory_for_is_sent_again_and_counts_against_nobody(harness: EdgeHarness) -> None:
    failure = SendFailure.NO_RESOURCES
    harness.receive(CALLER, invite())
    data = harness.raw[-1]
    harness.sort(harness.edge.request_not_sent(data, failure, harness.now))
    for pause in (0.5, 1.0):
        assert [flow for flow, message in harness.wait(pause) if isinstance(message, Request)] == [FIRST]
        harness.sort(harness.edge.request_not_sent(data, failure, harness.now))
    assert [flow for flow, message in harness.wait(0.5) if isinstance(message, Request)] == [SECOND]
    first, _ = harness.dispatcher.members()
    assert (first.state, sum(first.failures.values())) == (MemberState.ACTIVE, 0)


@pytest.mark.parametrize("failure", list(SendFailure))
def test_49_silence_counts_where_one_copy_was_sent(harness: EdgeHarness, failure: SendFailure) -> None:
    harness.receive(CALLER, invite())
    data = harness.raw[-1]
    harness.wait(0.6)
    harness.sort(harness.edge.request_not_sent(data, failure, harness.now))
    harness.wait(1.5)
    first, _ = harness.dispatcher.members()
    assert (first.state, first.failure) == (MemberState.TRYING, "gave no answer in time")


@pytest.mark.parametrize("method", ["CANCEL", "BYE"])
def test_49_what_ends_a_call_is_sent_again_where_a_route_is_missing_for_a_moment(
    harness: EdgeHarness, method: str
) -> None:
    """It can go nowhere else; without it the callee would ring, or talk to nobody, for ever."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    _, answer = harness.receive(FIRST, respond(forwarded, 180 if method == "CANCEL" else 200))[-1]
    uri = {"uri": str(answer.get("Contact"))[1:-1], "to_tag": "bob", "branch": "z9hG4bKbye"} if method == "BYE" else {}
    harness.receive(CALLER, invite(method, **uri))
    (data,) = [raw for raw in harness.raw if raw.startswith(method.encode())]
    harness.sort(harness.edge.request_not_sent(data, SendFailure.NO_ROUTE, harness.now))
    again = [m.method for flow, m in harness.wait(0.6) if flow.listener is CORE and isinstance(m, Request)]
    assert again == [method]


def test_49_what_is_no_request_of_the_edge_changes_nothing(harness: EdgeHarness) -> None:
    """The kernel may refuse an answer too; and a transaction may have ended meanwhile."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for data in (b"", respond(forwarded, 200), invite()):
        assert harness.edge.request_not_sent(data, SendFailure.NO_ROUTE, harness.now) == []


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (SendFailure.NO_RESOURCES, MemberState.ACTIVE),
        (SendFailure.TOO_LARGE, MemberState.ACTIVE),
        (SendFailure.NO_ROUTE, MemberState.TRYING),
        (None, MemberState.TRYING),
    ],
)
def test_49_a_probe_counts_that_was_sent_or_has_no_route(
    harness: EdgeHarness, failure: SendFailure | None, state: MemberState
) -> None:
    first, _ = harness.dispatcher.members()
    first.health.settings = attrs.evolve(first.health.settings, interval=20.0, timeout=0.4)
    harness.dispatcher.health_monitor.restart([first], harness.now)
    while not harness.raw:
        harness.wait(0.1)
    (data,) = harness.raw
    if failure is not None:
        harness.sort(harness.edge.request_not_sent(data, failure, harness.now))
    harness.wait(0.6)
    assert first.state is state


async def test_49_without_a_descriptor_no_destination_counts_as_failed(tmp_path: Path) -> None:
    """A peer that uses up all descriptors would take all destinations over TCP out of service."""
    uri = f"sip:127.0.0.11:{free_port('127.0.0.11')};transport=tcp"
    policy = policy_text(tmp_path, [uri], [PUBLIC_UDP, PUBLIC_TCP, CORE_UDP, CORE_TCP], trunks=["127.0.0.1"])
    async with running(tmp_path, policy) as app, Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        (member,) = app.edge.dispatcher.members()
        with no_descriptor_left():
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
            await alice.response(503)
        assert (member.state, member.failure) == (MemberState.ACTIVE, "")
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
        await alice.response(503)
        assert (member.state, member.failure) == (MemberState.TRYING, "could not be reached")  # nobody listens there


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    unused = os.dup(0)
    os.close(unused)
    resource.setrlimit(resource.RLIMIT_NOFILE, (unused, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_49_without_a_route_the_next_destination_is_tried_at_once(tmp_path: Path) -> None:
    """The socket is bound to a loopback address, so that the kernel sends nothing to any other (RFC 5737)."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, ["sip:192.0.2.9", f"sip:{bob.address}"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE")
        await bob.answer(await bob.request("INVITE"), 486, tag="b")
        await alice.response(486)
        sentences = app.ledger.ask(calling.call_id).sentences()
        assert any(f"sip:192.0.2.9 {SendFailure.NO_ROUTE.value}" in sentence for sentence in sentences), sentences
        assert [member.failure for member in app.edge.dispatcher.members()] == ["", ""]


# --- a request that anybody may send -----------------------------------------------------------------------


@pytest.mark.parametrize("standing", [Standing.UNPROVEN, Standing.REACHABLE])
@pytest.mark.parametrize("status", [None, 503, 200])
def test_49_a_register_before_registration_moves_no_health(standing: Standing, status: int | None) -> None:
    """A registrar may ignore some requests, and answer others late; anybody can send these from many addresses."""
    harness = EdgeHarness(trunks={}, failover_on=(503,))
    for number in range(20):
        source = Flow(PUBLIC, Source(f"198.51.100.{number}", 5060))
        if standing is Standing.REACHABLE:
            harness.standings.prove(source, standing, harness.now)
        sent = harness.receive(source, invite("REGISTER", branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))
        assert [flow for flow, _ in sent] == [FIRST]
        if status is not None:
            harness.now += 1.0
            sent = harness.receive(FIRST, respond(sent[0][1], status, extra="Retry-After: 60"))
            if status == 503:
                harness.receive(SECOND, respond(sent[-1][1], status, extra="Retry-After: 60"))
    harness.wait(64)
    assert untouched(harness)


def test_49_calls_of_sources_that_may_be_forged_move_no_health() -> None:
    harness = EdgeHarness(trunks={}, open=("public",))
    for number in range(20):
        source = Flow(PUBLIC, Source(f"198.51.100.{number}", 5060))
        harness.receive(source, invite(branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))
    harness.wait(200)
    assert untouched(harness)


@pytest.mark.parametrize("host", ["198.51.100.7", "2001:db8::"])
def test_49_all_flows_of_one_address_are_one_source(host: str) -> None:
    """A user with many connections, or with all addresses of a /64, is one caller."""
    harness = EdgeHarness(trunks={})
    for number in range(10):
        source = Flow(CARRIERS, Source(f"{host}{number}" if ":" in host else host, 5060 + number), 100 + number)
        harness.edge.flow_opened(source)
        harness.standings.prove(source, Standing.REGISTERED, harness.now, account=number)
        harness.receive(source, invite(branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))
        harness.wait(4.5)
    first, second = harness.dispatcher.members()
    assert (first.health.calls_failed, second.health.calls_failed) == (1, 1)
    assert (first.state, second.state) == (MemberState.TRYING, MemberState.TRYING)
