"""THREATS 51: ICMP errors that are forged, or that the kernel gives to the wrong socket.

Whoever can send packets to the private side can send errors that quote any address and port: the kernel does not
compare them with what was sent from a socket that is not connected."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trio
from support.containment import unfailing
from support.icmp import icmp
from support.running import at, free_port, policy_text, running, until
from support.signalling import CALLER, CORE, MEMBERS, EdgeHarness, invite, respond
from support.ua import Ua, UdpWire

from edgesbc.base.address import Flow, Source, Transport, Zone
from edgesbc.dispatch.health import MemberState
from edgesbc.policy.model import ListenSettings
from edgesbc.sip.message import Request
from edgesbc.transport.error_queue import IcmpError, read_error
from edgesbc.transport.sockets import open_listeners
from edgesbc.transport.udp import UdpListener

FIRST, SECOND = (Flow(CORE, member) for member in MEMBERS)


@pytest.fixture
def harness() -> EdgeHarness:
    return EdgeHarness()


def unreachable(harness: EdgeHarness, destination: Source, quote: bytes) -> list[Flow]:
    """Where requests go because of an error."""
    harness.sent.clear()
    harness.sort(harness.edge.unreachable(destination, quote, harness.now))
    return [flow for flow, message in harness.sent if isinstance(message, Request)]


def state(harness: EdgeHarness) -> MemberState:
    return next(harness.dispatcher.members()).state


def test_51_an_error_that_quotes_the_branch_causes_failover(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite())
    assert unreachable(harness, MEMBERS[0], harness.raw[-1][:520]) == [SECOND]
    assert state(harness) is MemberState.TRYING


def test_51_an_error_that_does_not_quote_the_branch_fails_nothing(harness: EdgeHarness) -> None:
    """RFC 792: a router may quote 8 bytes, which are those of UDP."""
    harness.receive(CALLER, invite())
    data = harness.raw[-1]
    for size in range(data.index(b";rport") + 1):
        assert unreachable(harness, MEMBERS[0], data[:size]) == []
    assert state(harness) is MemberState.ACTIVE


def test_51_an_error_with_another_branch_method_or_destination_fails_nothing(harness: EdgeHarness) -> None:
    harness.receive(CALLER, invite())
    data = harness.raw[-1]
    assert unreachable(harness, MEMBERS[1], data) == []
    assert unreachable(harness, Source(MEMBERS[0].host, 5061), data) == []
    assert unreachable(harness, MEMBERS[0], data.replace(b"INVITE", b"CANCEL", 1)) == []
    assert unreachable(harness, MEMBERS[0], data.replace(b"z9hG4bK", b"z9hG4bKx", 1)) == []
    assert unreachable(harness, MEMBERS[0], invite()) == []  # the branch of the caller is that of no request sent here
    assert state(harness) is MemberState.ACTIVE


@pytest.mark.parametrize("status", [100, 180, 200, 486])
def test_51_a_request_that_was_answered_is_not_failed(harness: EdgeHarness, status: int) -> None:
    """A peer that has answered is there, and a call that rings goes on."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    data = harness.raw[-1]
    harness.receive(FIRST, respond(forwarded, status))
    assert unreachable(harness, MEMBERS[0], data) == []
    assert state(harness) is MemberState.ACTIVE
    assert harness.edge.calls == (0 if status == 486 else 1)


def test_51_a_probe_is_failed_by_an_error_that_quotes_it(harness: EdgeHarness) -> None:
    """With the registrar's process gone, the next probe takes it out, whatever is forged meanwhile."""
    forwarded = harness.receive(CALLER, invite("REGISTER"))
    assert [flow for flow, _ in forwarded] == [FIRST]
    assert unreachable(harness, MEMBERS[0], harness.raw[-1]) == [SECOND]


# --- the kernel --------------------------------------------------------------------------------------------


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need root")
ROUTER, HOST, LIVE = "127.0.0.200", "127.0.0.11", b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx;"


@needs_root
@pytest.mark.parametrize("routers", [False, True])
async def test_51_the_offender_is_the_destination_or_by_policy_a_router(routers: bool) -> None:
    """The kernel gives the socket errors about datagrams that it never sent; the listener passes on their offenders'
    claims only where policy believes them."""
    (opened,) = open_listeners(
        [ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source("127.0.0.1", 0), name="core")]
    )
    seen: list[tuple[Source, bytes]] = []
    core = UdpListener(
        opened.listener,
        opened.sock,
        None,
        lambda *_: None,
        lambda destination, quote, now: seen.append((destination, quote)),
        lambda *_: ([], None),
        unfailing(),
        routers,
    )
    here, there = Source("127.0.0.1", opened.listener.port), Source(HOST, 5060)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(core.run)
        icmp(ROUTER, here, there, LIVE, code=1)
        icmp(ROUTER, here, there, LIVE, code=3)
        icmp(HOST, here, there, LIVE, code=4)  # a packet too large: no destination is unreachable
        icmp(HOST, here, there, LIVE, code=3)
        wanted = 3 if routers else 1
        await until(lambda: len(seen) >= wanted)
        assert seen == [(there, LIVE)] * wanted
        nursery.cancel_scope.cancel()


async def test_51_an_error_whose_report_went_to_a_send_call_is_read_all_the_same(tmp_path: Path) -> None:
    """Otherwise the socket would be readable for ever, and the listener would use a whole core."""
    (opened,) = open_listeners(
        [ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source("127.0.0.1", 0), name="core")]
    )
    seen: list[Source] = []
    core = UdpListener(
        opened.listener,
        opened.sock,
        None,
        lambda *_: None,
        lambda destination, quote, now: seen.append(destination),
        lambda *_: ([], None),
        unfailing(),
    )
    dead = Source("127.0.0.12", free_port("127.0.0.12"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alive:
        alive.bind((HOST, 0))
        core.send(dead, LIVE)
        core.send(Source(*alive.getsockname()), LIVE)  # takes the report of the first
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            await until(lambda: bool(seen))
            nursery.cancel_scope.cancel()
    assert seen == [dead]


@pytest.mark.parametrize(("here", "there"), [("127.0.0.1", "127.0.0.12"), ("::1", "::1")])
async def test_51_the_destination_is_read_from_the_queue_for_both_families(here: str, there: str) -> None:
    (opened,) = open_listeners(
        [ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source(here, 0), name="core")]
    )
    dead = Source(there, free_port(there))
    with opened.sock as sock:
        sock.sendto(LIVE, dead)
        await trio.lowlevel.wait_readable(sock)
        assert read_error(sock) == IcmpError(dead, there, LIVE)
        with pytest.raises(BlockingIOError):
            read_error(sock)


@needs_root
async def test_51_forged_errors_do_not_touch_a_call_that_is_set_up(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open(HOST), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        here, there = at(app, "core-udp"), Source(HOST, bob.wire.port)
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        request = await bob.request("INVITE")
        data = bob.heard[-1]
        for payload in (b"", data[:8], data.replace(request.via.branch.encode(), b"z9hG4bKguess")[:520]):
            icmp(HOST, here, there, payload)
        icmp(ROUTER, here, there, data[:520])
        await bob.answer(request, 180, tag="b")
        await alice.response(180)
        icmp(HOST, here, there, data[:520])
        await bob.answer(request, 486, tag="b")
        await alice.response(486)
        (member,) = app.edge.dispatcher.members()
        assert (member.state, member.failure) == (MemberState.ACTIVE, "")
