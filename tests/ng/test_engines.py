"""The shell around the client of rtpengines, with real sockets and a clock that the test sets."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from support.media import offer, sdp

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.latch import build_interfaces
from edgesbc.ng.engines import RtpengineMedia, rtpengines_that_reply
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.observe import logs
from edgesbc.tasks.containment import Containment

CALLER = "198.51.100.1"
NOBODY = Source("255.255.255.255", 9)
"""An address that the kernel connects no socket to."""


class Plane:
    """The signalling plane, which keeps what it gets."""

    def __init__(self) -> None:
        self.replies: dict[int, MediaReply | MediaError] = {}

    def media_replied(self, cookie: int, reply: MediaReply | MediaError) -> None:
        assert cookie not in self.replies
        self.replies[cookie] = reply

    def media_event(self, event: MediaTimeout | MediaSilence) -> None:
        raise AssertionError(event)


class Engine:
    """A socket that a test replies from."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.sock.bind((host, 0))
        self.address = Source(*self.sock.getsockname()[:2])

    def take(self, name: str) -> tuple[bytes, dict[str, Any], Any]:
        """The next command of that name: its cookie, itself, and who sent it."""
        while True:
            data, client = self.sock.recvfrom(65_535)
            cookie, command = parse_frame(data)
            if command["command"] == name:
                return cookie, command, client


def described(command: dict[str, Any]) -> dict[str, Any]:
    return {"result": "ok", "sdp": command["sdp"].replace(CALLER, "192.0.2.50")}


@asynccontextmanager
async def driven(plane: Plane, *addresses: Source) -> AsyncIterator[RtpengineMedia]:
    interfaces = build_interfaces({Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}, (1, 1))
    faults: list[Exception] = []
    containment = Containment(lambda name, error: faults.append(error))
    media = RtpengineMedia(
        [RtpengineSettings(address) for address in addresses], interfaces, 60.0, lambda: 0.0, logs.lifecycle("test"),
        containment,
    )  # fmt: skip
    media.attach(plane)
    async with trio.open_nursery() as nursery:
        await nursery.start(media.run)
        yield media
        nursery.cancel_scope.cancel()
    assert not faults


async def settle() -> None:
    """Let each task take what is there, without time passing."""
    for _ in range(20):
        await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_a_reply_counts_from_the_rtpengine_alone(family: socket.AddressFamily, host: str) -> None:
    plane, engine, other = Plane(), Engine(family, host), Engine(family, host)
    with engine.sock, other.sock:
        async with driven(plane, engine.address) as media:
            assert media.carry_out(1, offer("c", "a", sdp(CALLER))) is None
            cookie, command, client = engine.take("offer")
            other.sock.sendto(frame(cookie, described(command)), client)
            await settle()
            assert plane.replies == {}
            engine.sock.sendto(frame(cookie, described(command)), client)
            await settle()
            assert isinstance(plane.replies[1], MediaReply)


async def test_cookies_begin_with_what_nobody_can_guess() -> None:
    cookies = []
    engine = Engine(socket.AF_INET, "127.0.0.1")
    with engine.sock:
        for _ in range(2):
            async with driven(Plane(), engine.address) as media:
                media.carry_out(1, offer("c", "a", sdp(CALLER)))
                cookies.append(engine.take("offer")[0].partition(b"_")[0])
    assert cookies[0] != cookies[1]
    assert all(len(bytes.fromhex(cookie.decode())) == 16 for cookie in cookies)


async def test_replies_that_waited_while_this_process_did_not_run_are_in_time(
    mock_clock: trio.testing.MockClock,
) -> None:
    """The process stands still for longer than any time-out; the rtpengine replied at once."""
    for _ in range(10):  # trio's order of tasks is random
        plane, engine = Plane(), Engine(socket.AF_INET, "127.0.0.1")
        with engine.sock:
            async with driven(plane, engine.address) as media:
                media.carry_out(1, offer("c", "a", sdp(CALLER)))
                cookie, command, client = engine.take("offer")
                engine.sock.sendto(frame(cookie, described(command)), client)
                mock_clock.jump(2 * limits.NG_GIVE_UP_SECONDS)
                await settle()
                assert isinstance(plane.replies[1], MediaReply)


async def test_an_rtpengine_that_cannot_be_reached_keeps_nothing_up(mock_clock: trio.testing.MockClock) -> None:
    plane, engine = Plane(), Engine(socket.AF_INET, "127.0.0.1")
    with engine.sock:
        async with driven(plane, NOBODY, engine.address) as media:
            assert (media.is_up(0), media.is_up(1), media.up) == (False, True, True)
            media.carry_out(1, offer("c", "a", sdp(CALLER)))
            cookie, command, client = engine.take("offer")
            engine.sock.sendto(frame(cookie, described(command)), client)
            await settle()
            assert isinstance(plane.replies[1], MediaReply)
            mock_clock.jump(10 * limits.NG_RECHECK_SECONDS)
            await settle()
            assert not media.is_up(0)


async def test_no_rtpengine_at_all() -> None:
    plane = Plane()
    async with driven(plane, NOBODY) as media:
        reply = media.carry_out(1, offer("c", "a", sdp(CALLER)))
        assert isinstance(reply, MediaError)
        assert reply.status == 503
        assert not media.up


def test_those_that_reply_to_a_ping() -> None:
    engines = [Engine(socket.AF_INET, "127.0.0.1") for _ in range(5)]
    replies = [b"%b d6:result4:ponge", b"junk", b"%b d6:result5:errore"]
    with ExitStack() as stack:
        for engine in engines[:4]:
            stack.enter_context(engine.sock)
        engines[4].sock.close()  # nobody listens, and the fourth one is silent

        def reply() -> None:
            for engine, text in zip(engines, replies, strict=False):
                engine.sock.setblocking(True)
                data, client = engine.sock.recvfrom(65_535)
                engine.sock.sendto(text.replace(b"%b", data.partition(b" ")[0]), client)

        thread = threading.Thread(target=reply)
        thread.start()
        found = rtpengines_that_reply([NOBODY, *(engine.address for engine in engines)], 2.0)
        thread.join()
    assert found == [engines[0].address]


async def test_a_port_where_nobody_listens(mock_clock: trio.testing.MockClock) -> None:
    """The kernel says so (ICMP), and a call goes to the other one without time passing."""
    plane, gone, engine = Plane(), Engine(socket.AF_INET, "127.0.0.1"), Engine(socket.AF_INET, "127.0.0.1")
    gone.sock.close()
    with engine.sock:
        async with driven(plane, gone.address, engine.address) as media:
            media.carry_out(1, offer("c", "a", sdp(CALLER)))
            await settle()
            cookie, command, client = engine.take("offer")
            engine.sock.sendto(frame(cookie, described(command)), client)
            await settle()
            assert isinstance(plane.replies[1], MediaReply)
            assert not media.is_up(0)
