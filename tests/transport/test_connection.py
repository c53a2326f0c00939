"""A connection over streams in memory, on a mock clock: framing, keep-alive, deadlines, the bounded outbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.transport.connection import Connection, FramedStream

FLOW = Flow(Listener(0, "tcp", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060), Source("198.51.100.7", 40000), 1)
MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\n\r\nbody"


class Ends:
    """A connection under test, the peer's end of its stream, and the messages that the signalling core got."""

    def __init__(self, peer: trio.abc.Stream, stream: trio.abc.Stream) -> None:
        self.peer = peer
        self.received: list[bytes] = []
        self.broken: list[str] = []
        self.closes = False  # whether the signalling core closes the connection at its first message
        self.over = trio.Event()
        self.over_at = 0.0
        self._ours = stream
        self.connection = Connection(FLOW, self._receive, self._broken)

    def _receive(self, flow: Flow, data: bytes, now: float) -> None:
        self.received.append(data)
        if self.closes:
            self.connection.close()

    def _broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        self.broken.append(error.reason)
        self.connection.send(b"refused")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await self.connection.run(FramedStream(self._ours), nursery)
        self.over_at = trio.current_time()
        self.over.set()


Pair = Callable[[], tuple[trio.abc.Stream, trio.abc.Stream]]


@asynccontextmanager
async def connected(pair: Pair = trio.testing.memory_stream_pair) -> AsyncIterator[Ends]:
    ends = Ends(*pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.run)
        yield ends
        nursery.cancel_scope.cancel()


async def test_messages_come_whole_however_they_are_cut(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as ends:
        for byte in MESSAGE * 2:
            await ends.peer.send_all(bytes((byte,)))
            await trio.testing.wait_all_tasks_blocked()
        await ends.peer.send_all(MESSAGE * 3)
        await trio.testing.wait_all_tasks_blocked()
        assert ends.received == [MESSAGE] * 5


async def test_a_ping_is_answered_by_a_pong(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as ends:
        await ends.peer.send_all(b"\r\n\r\n")
        assert await ends.peer.receive_some() == b"\r\n"
        await ends.peer.send_all(MESSAGE)
        await trio.testing.wait_all_tasks_blocked()
        assert ends.received == [b"\r\n\r\n", MESSAGE], "pings are screened as well"


async def test_many_pings_at_once_are_answered_by_one_pong_a_read(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as ends:
        await ends.peer.send_all(b"\r\n\r\n" * 1000)
        await trio.testing.wait_all_tasks_blocked()
        assert await ends.peer.receive_some() == b"\r\n"


async def test_messages_after_a_close_in_the_same_read_are_ignored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as ends:
        ends.closes = True
        await ends.peer.send_all(MESSAGE * 100)
        await ends.over.wait()
        assert ends.received == [MESSAGE]


async def test_a_message_that_arrives_too_slowly_ends_the_connection_at_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as ends:
        await ends.peer.send_all(MESSAGE)
        await trio.sleep(100)
        began = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            for byte in MESSAGE:
                await ends.peer.send_all(bytes((byte,)))
                await trio.sleep(1)
        await ends.over.wait()
        assert ends.over_at == pytest.approx(began + limits.MESSAGE_SECONDS)
        assert ends.received == [MESSAGE]


async def test_a_connection_without_a_first_message_is_closed_sooner_than_an_idle_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as ends:
        began = trio.current_time()
        await ends.over.wait()
        assert ends.over_at == pytest.approx(began + limits.FIRST_MESSAGE_SECONDS)
    async with connected() as ends:
        await trio.sleep(20)
        await ends.peer.send_all(MESSAGE)
        began = trio.current_time()
        await ends.over.wait()
        assert ends.over_at == pytest.approx(began + limits.IDLE_SECONDS)


async def test_a_stream_that_cannot_be_framed_gets_a_response_and_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as ends:
        await ends.peer.send_all(MESSAGE)
        await trio.testing.wait_all_tasks_blocked()
        await ends.peer.send_all(b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\nContent-Length: 0\r\n\r\nbody" + MESSAGE)
        assert await ends.peer.receive_some() == b"refused"
        assert await ends.peer.receive_some() == b""
        await ends.over.wait()
        assert ends.received == [MESSAGE], "no message after a broken one may be used"
        assert ends.broken == ["Content-Length stands twice"]


async def test_the_outbox_is_sent_before_the_connection_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with connected(trio.testing.lockstep_stream_pair) as ends:
        ends.connection.send(b"one")
        await trio.testing.wait_all_tasks_blocked()
        ends.connection.send(b"two")
        ends.connection.close()
        ends.connection.send(b"three")
        received = b""
        while data := await ends.peer.receive_some():
            received += data
        assert received == b"onetwo"


async def test_a_peer_that_does_not_read_is_cut_off_and_its_neighbour_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected(trio.testing.lockstep_stream_pair) as deaf, connected() as ends:
        chunk = bytes(1024)
        for _ in range(limits.OUTBOX_BYTES // 1024):
            deaf.connection.send(chunk)
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert not deaf.over.is_set()
        deaf.connection.send(chunk)
        await deaf.over.wait()
        await ends.peer.send_all(b"\r\n\r\n")
        assert await ends.peer.receive_some() == b"\r\n"


async def test_a_peer_that_does_not_read_cannot_outstay_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """A response that cannot be sent must not keep a connection open whose reader has ended."""
    async with connected(trio.testing.lockstep_stream_pair) as ends:
        ends.connection.send(b"an answer")
        with trio.fail_after(limits.FIRST_MESSAGE_SECONDS + 60):
            await ends.over.wait()
