"""THREATS 16: connections that are silent, or send nothing but keep-alives. Those of strangers end after a short time,
those of registered peers and of calls stay."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, listen, running, until
from support.stream_listeners import (
    WS,
    assert_answered,
    event_count,
    handshake,
    open_connections,
    open_from,
    read_to_end,
    text,
)
from support.ua import Dialog, Rtp, StreamWire, Ua, UdpWire, hang_up, set_up

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Source

NO_TRACKER = 'timeout = 3600\n[screen]\nstages = ["ratelimit", "sanity", "scanner", "method"]'
"""For [media]: no call ends for want of media. Without the stage pike, a source may open many connections."""
STRANGERS = 2_000
ENOUGH = 6_000
"""Descriptors for both ends of 2,000 connections, and some more."""
CREDENTIALS = 'Authorization: Digest username="carol", realm="r", nonce="n", uri="sip:u", response="r"'


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Raise the limit of descriptors, so that both ends of 2,000 connections fit in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ENOUGH:
        pytest.skip(f"2,000 connections need {ENOUGH} descriptors in one process; the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < ENOUGH:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def strangers(app: App, count: int) -> AsyncIterator[list[trio.SocketStream]]:
    """``count`` connections from ten addresses; every other one has sent a message and read the answer."""
    tcp = at(app, "public-tcp")
    async with contextlib.AsyncExitStack() as stack:
        streams = []
        for number in range(count):
            stream = await trio.open_tcp_stream(*tcp, local_address=f"127.0.1.{number % 10 + 1}")
            stack.push_async_callback(trio.aclose_forcefully, stream)
            if number % 2:
                await stream.send_all(options(tcp, number))
            streams.append(stream)
        yield streams


def options(tcp: Source, number: int) -> bytes:
    return (
        f"OPTIONS sip:{tcp} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK{number};rport\r\nMax-Forwards: 70\r\n"
        f"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


async def register(phone: Ua, registrar: Ua, uri: str) -> None:
    await phone.dialog(uri).send("REGISTER", extra=("Expires: 3600", CREDENTIALS))
    received = await registrar.request("REGISTER")
    await registrar.answer(received, 200, tag="r", extra=(f"Contact: {received.get('Contact')};expires=3600",))
    await phone.response(200, "REGISTER")


@asynccontextmanager
async def phone_and_guest(app: App, bob: Ua, near: Rtp, far: Rtp) -> AsyncIterator[tuple[Ua, Ua, Dialog]]:
    """A registered phone, and a browser of nobody's that is in a call; the callee's side of the call."""
    app.edge.assume_challenges(["pbx"])
    tcp = at(app, "public-tcp")
    async with trio.open_nursery() as nursery:
        async with Ua(await StreamWire.open(tcp), "carol") as phone, Ua(await open_from(nursery, app)) as guest:
            await register(phone, bob, f"sip:{tcp}")
            _, called = await set_up(guest, bob, f"sip:100@{at(app, 'ws')}", near, far)
            yield phone, guest, called
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("descriptors")
async def test_16_silent_strangers_are_gone_after_a_short_time_and_a_phone_and_a_call_stay(
    tmp_path: Path, hasty_clock: trio.testing.MockClock
) -> None:
    hasty_clock.rate = 0.01  # no deadline passes while the test opens all, however long that takes
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
        running(tmp_path, text(tmp_path, WS, member=f"sip:{bob.address}", more=NO_TRACKER)) as app,
        phone_and_guest(app, bob, near, far) as (phone, guest, called),
        strangers(app, STRANGERS) as streams,
    ):
        for stream in streams[1::2]:
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"SIP/2.0 200")
        assert open_connections(app) == STRANGERS + 2
        hasty_clock.rate = 1
        hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS)  # that of those that have said nothing
        await until(lambda: open_connections(app) == STRANGERS // 2 + 2)
        hasty_clock.jump(limits.IDLE_UNREGISTERED_SECONDS - limits.FIRST_MESSAGE_SECONDS)
        await until(lambda: open_connections(app) == 2)
        assert event_count(app, "public-tcp", "timeout") == STRANGERS
        hasty_clock.jump(10 * limits.IDLE_UNREGISTERED_SECONDS)
        await assert_answered(phone, f"sip:{at(app, 'public-tcp')}")
        await hang_up(called, guest)
        hasty_clock.jump(limits.IDLE_UNREGISTERED_SECONDS)
        await until(lambda: open_connections(app) == 1)  # the browser's call was all that it had
        await assert_answered(phone, f"sip:{at(app, 'public-tcp')}")


@pytest.mark.parametrize(
    "keep_alive", [b"\x81\x84\0\0\0\0\r\n\r\n", b"\x89\x80\0\0\0\0", b"\x8a\x80\0\0\0\0", b"\x82\x80abcd"]
)
async def test_16_keep_alives_of_a_stranger_extend_nothing(
    tmp_path: Path, hasty_clock: trio.testing.MockClock, keep_alive: bytes
) -> None:
    """A ping of SIP, Ping and Pong frames, and a blank message of a WebSocket."""
    async with running(tmp_path, text(tmp_path, WS, more=NO_TRACKER)) as app:
        stream, _ = await handshake(app)
        async with stream:
            for _ in range(10):
                await stream.send_all(keep_alive)
                await trio.testing.wait_all_tasks_blocked(0.001)
                hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS / 10)
            await read_to_end(stream)
        await until(lambda: open_connections(app) == 0)
        assert event_count(app, "ws", "timeout") == 1


async def test_16_a_caller_that_hears_it_ring_is_not_cut_off_by_a_short_deadline(
    tmp_path: Path, hasty_clock: trio.testing.MockClock
) -> None:
    """It has nothing to say until the callee answers; the policy allows a second of silence."""
    keys = listen("public", "tcp", "127.0.0.1:0", "hasty", ", idle_unregistered = 1")
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob:
        policy = text(tmp_path, keys, member=f"sip:{bob.address}", more=NO_TRACKER)
        async with running(tmp_path, policy) as app, Ua(await StreamWire.open(at(app, "hasty"))) as caller:
            calling = caller.dialog(f"sip:100@{at(app, 'hasty')}")
            await calling.send("INVITE")
            invite = await bob.request("INVITE")
            called = bob.taken(invite)
            await called.answer(invite, 180)
            await caller.response(180)
            for _ in range(20):
                hasty_clock.jump(5)
                await trio.testing.wait_all_tasks_blocked(0.001)
            await called.answer(invite, 486)
            await caller.response(486)
            await calling.send("ACK")
            hasty_clock.jump(1)
            await until(lambda: open_connections(app) == 0)
