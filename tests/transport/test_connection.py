"""A connection over a pair of sockets: answers, deadlines, backpressure and its end. Framing is in tests/streams."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from support.running import until

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.errors import WireError
from edgesbc.streams.layer import WORK_KINDS, StreamEnd
from edgesbc.streams.session import StreamSession, client_session, server_session
from edgesbc.transport.connection import Connection
from edgesbc.transport.read_budget import ReadBudget

FLOW = Flow(Listener(0, "tcp", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060), Source("198.51.100.7", 40000), 1)
MESSAGE = b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\n\r\nbody"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def clock(mock_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    """Real time that a test can make jump."""
    mock_clock.rate = 1
    return mock_clock


class Served:
    """A connection under test, the peer's end of it, and what the signalling core was given."""

    def __init__(self, session: StreamSession, *, small: bool = False, budget: ReadBudget | None = None) -> None:
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        peer.setblocking(False)
        if small:  # the kernel takes little for a peer that does not read
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        self.peer = peer
        self.received: list[bytes] = []
        self.broken: list[str] = []
        self.work: list[dict[str, int]] = []
        self.on_message: Callable[[bytes], None] = lambda data: None
        self.left: list[Flow] = []
        self.over = trio.Event()
        self.account = False
        self.in_call = False
        self.connection = Connection(self, FLOW, budget=budget)
        self._sock = ours
        self._session = session

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        self.received.append(data)
        self.on_message(data)

    def stream_broken(self, flow: Flow, data: bytes, error: WireError, now: float) -> None:
        self.broken.append(error.reason)
        self.connection.send(b"refused")

    def stream_worked(self, flow: Flow, work: Sequence[int], now: float) -> None:
        self.work.append(dict(zip(WORK_KINDS, work, strict=True)))

    def has_account(self, flow: Flow) -> bool:
        return self.account

    def may_be_silent(self, flow: Flow) -> bool:
        return self.account or self.in_call

    def connection_opened(self, flow: Flow) -> None:
        pass

    def connection_ended(self, flow: Flow) -> None:
        self.left.append(flow)

    async def run(self) -> None:
        with self._sock:
            await self.connection.run(self._sock, self._session)
        self.over.set()

    def say(self, data: bytes) -> None:
        assert self.peer.send(data) == len(data)

    async def hear(self, least: int = 1) -> bytes:
        """At least so many bytes from the connection; fewer only at its end."""
        heard = b""
        with trio.fail_after(10):
            while len(heard) < least:
                await trio.lowlevel.wait_readable(self.peer)
                try:
                    data = self.peer.recv(65_536)
                except ConnectionResetError:
                    break
                if not data:
                    break
                heard += data
        return heard

    async def has_received(self, count: int) -> None:
        await until(lambda: len(self.received) >= count)

    async def ended(self) -> None:
        with trio.fail_after(10):
            await self.over.wait()


@asynccontextmanager
async def served(
    transport: Transport = Transport.TCP,
    *,
    small: bool = False,
    budget: ReadBudget | None = None,
    idle: float = math.inf,
) -> AsyncIterator[Served]:
    session = server_session(transport, trio.current_time(), unregistered_idle=idle)
    one = Served(session, small=small, budget=budget)
    with one.peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            await until(lambda: one.connection._open or transport is not Transport.TCP)
            yield one
            nursery.cancel_scope.cancel()


# --- receiving -------------------------------------------------------------------------------------------


async def test_messages_come_whole_however_they_are_cut() -> None:
    async with served() as one:
        for byte in MESSAGE * 2:
            one.say(bytes((byte,)))
            await trio.lowlevel.checkpoint()
        one.say(MESSAGE * 3)
        await one.has_received(5)
        assert one.received == [MESSAGE] * 5


async def test_pings_of_a_read_are_answered_by_one_pong_and_are_screened_as_well() -> None:
    async with served() as one:
        one.say(b"\r\n\r\n" * 1000)
        await one.has_received(1000)
        one.say(MESSAGE)
        await one.has_received(1001)
        one.connection.close()
        assert await one.hear(1000) == b"\r\n"
        assert one.received == [b"\r\n\r\n"] * 1000 + [MESSAGE]


TURN_MESSAGES = 4
"""Messages of a turn at most, where each takes :data:`COST`."""
COST = limits.CONNECTION_TURN_SECONDS / (TURN_MESSAGES - 0.9)


async def test_answers_to_the_messages_of_one_turn_are_written_at_once(
    clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def receive(data: bytes) -> None:
        one.connection.send(b"answer")
        clock.jump(COST)

    async with served() as one:
        writes: list[int] = []
        write = one.connection._write_unsent
        monkeypatch.setattr(Connection, "_write_unsent", lambda self: (writes.append(len(self._unsent)), write())[1])
        one.on_message = receive
        one.say(MESSAGE * (2 * TURN_MESSAGES + 1))
        await one.has_received(2 * TURN_MESSAGES + 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert sum(writes) == 2 * TURN_MESSAGES + 1
        assert 1 < max(writes) <= TURN_MESSAGES


async def test_work_without_messages_is_reported_once_a_read() -> None:
    async with served(Transport.WS) as one:
        one.say(UPGRADE + b"\x89\x80\0\0\0\0" * 5 + b"\x01\x80\0\0\0\0")
        await until(lambda: bool(one.work))
        one.say(b"\x00\x80\0\0\0\0" * 3)
        await until(lambda: len(one.work) == 2)
        one.say(b"\x80\x84\0\0\0\0\r\n\r\n")
        await one.has_received(1)
        assert [{kind: number for kind, number in work.items() if number} for work in one.work] == [
            {"pings": 5, "fragments": 1, "partial-reads": 1}, {"fragments": 3, "partial-reads": 1}, {"fragments": 1},
        ]  # fmt: skip


async def test_messages_after_a_close_in_the_same_read_are_ignored() -> None:
    async with served() as one:
        one.on_message = lambda data: one.connection.close()
        one.say(MESSAGE * 100)
        assert await one.hear() == b""
        assert one.received == [MESSAGE]


async def test_a_stream_that_cannot_be_framed_gets_a_response_and_ends() -> None:
    async with served() as one:
        one.say(MESSAGE)
        await one.has_received(1)
        one.say(b"OPTIONS sip:a@b SIP/2.0\r\nl: 4\r\nContent-Length: 0\r\n\r\nbody" + MESSAGE)
        assert await one.hear(1000) == b"refused"
        assert one.received == [MESSAGE], "nothing behind a broken message may be seen"
        assert one.broken == ["Content-Length stands twice"]


# --- deadlines -------------------------------------------------------------------------------------------


async def test_a_message_that_arrives_too_slowly_ends_the_connection_at_its_deadline(
    clock: trio.testing.MockClock,
) -> None:
    async with served() as one:
        one.say(MESSAGE)
        await one.has_received(1)
        clock.jump(100)
        one.say(MESSAGE[:5])
        await until(
            lambda: one.connection._wait is not None and one.connection._wait.deadline < trio.current_time() + 99
        )
        clock.jump(limits.MESSAGE_SECONDS / 2)
        one.say(MESSAGE[5:9])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not one.connection.closing
        clock.jump(limits.MESSAGE_SECONDS / 2)
        assert await one.hear() == b""
        assert one.received == [MESSAGE]


async def test_a_connection_without_a_first_message_is_closed_sooner_than_an_idle_one(
    clock: trio.testing.MockClock,
) -> None:
    async with served() as one, served() as other:
        other.say(MESSAGE)
        await other.has_received(1)
        clock.jump(limits.FIRST_MESSAGE_SECONDS)
        assert await one.hear() == b""
        other.say(MESSAGE)
        await other.has_received(2)
        clock.jump(limits.IDLE_SECONDS - 1)
        other.say(MESSAGE)
        await other.has_received(3)
        clock.jump(limits.IDLE_SECONDS)
        assert await other.hear() == b""


async def test_a_connection_without_an_account_is_silent_as_long_as_its_call_lasts(
    clock: trio.testing.MockClock,
) -> None:
    async with served(idle=60.0) as one, served(idle=60.0) as other:
        one.account = other.in_call = True
        for peer in (one, other):
            peer.say(MESSAGE)
            await peer.has_received(1)
        for _ in range(5):
            clock.jump(60.0)
            await trio.testing.wait_all_tasks_blocked(0.01)
        other.in_call = False
        clock.jump(60.0)
        assert await other.hear() == b""
        assert not one.connection.closing


async def test_no_deadline_passes_while_the_edge_itself_does_not_read(clock: trio.testing.MockClock) -> None:
    """The peer stalls in the middle of a message, with the edge's bytes unread, for longer than a message may take."""
    async with served(small=True) as one:
        one.say(MESSAGE + MESSAGE[:9])
        await one.has_received(1)
        one.connection.send(bytes(100_000))
        one.say(MESSAGE[9:])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert one.connection._unsent, "the kernel took all: the test shows nothing"
        clock.jump(limits.MESSAGE_SECONDS + 1)
        await one.hear(100_000)
        await one.has_received(2)
        one.say(MESSAGE[:9])
        await until(lambda: one.connection._session is not None and one.connection._session.layer.pending)
        clock.jump(limits.MESSAGE_SECONDS)
        assert await one.hear() == b""


async def test_nothing_is_read_after_a_close_by_another_task() -> None:
    """Its task may be about to read already, since both happened in one turn of the event loop."""
    closed = 0
    for _ in range(40):
        async with served() as one:
            await trio.testing.wait_all_tasks_blocked()
            one.say(b"not SIP\r\n")
            await trio.lowlevel.checkpoint()
            if not one.broken:
                closed += 1
                one.connection.close()
                await one.ended()
                assert one.broken == []
    assert closed


# --- writing ---------------------------------------------------------------------------------------------


async def test_what_is_sent_is_written_at_once_by_whichever_task() -> None:
    async with served() as one:
        await trio.testing.wait_all_tasks_blocked()
        one.connection.send(b"unasked")
        assert one.peer.recv(100) == b"unasked", "no other task had its turn"


async def test_a_peer_that_reads_slowly_gets_everything_in_order() -> None:
    async with served(small=True) as one:
        pieces = [bytes([number]) * 1000 for number in range(100)]
        for piece in pieces:
            one.connection.send(piece)
        assert one.connection._unsent, "the kernel took all: the test shows nothing"
        one.connection.close()
        assert await one.hear(100_000) == b"".join(pieces)
        assert await one.hear() == b""


async def test_nothing_is_read_from_a_peer_that_does_not_read() -> None:
    async with served(small=True) as one:
        one.on_message = lambda data: one.connection.send(bytes(20_000))
        one.say(MESSAGE)
        await one.has_received(1)
        await trio.testing.wait_all_tasks_blocked()
        one.say(MESSAGE)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(one.received) == 1
        await one.hear(20_000)
        await one.has_received(2)


async def test_a_peer_that_does_not_read_is_cut_off_by_bytes_and_its_neighbour_is_not() -> None:
    async with served(small=True) as deaf, served() as other:
        for _ in range(limits.OUTBOX_BYTES // 1024):
            deaf.connection.send(bytes(1024))
        await trio.testing.wait_all_tasks_blocked()
        assert not deaf.over.is_set()
        deaf.connection.send(bytes(65_536))
        await deaf.ended()
        other.say(b"\r\n\r\n")
        assert await other.hear() == b"\r\n"


@pytest.mark.parametrize("closes", [False, True])
async def test_a_peer_that_does_not_read_is_cut_off_by_time(clock: trio.testing.MockClock, closes: bool) -> None:
    async with served(small=True) as deaf:
        deaf.connection.send(bytes(100_000))
        if closes:
            deaf.connection.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(limits.LAST_ANSWERS_SECONDS)
        if not closes:
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not deaf.over.is_set()
            clock.jump(limits.WRITE_SECONDS)
        await deaf.ended()


async def test_a_busy_peer_that_reads_all_the_time_is_not_cut_off(clock: trio.testing.MockClock) -> None:
    """There is always something that the kernel cannot take, but nothing of it is old."""
    async with served(small=True) as busy:
        busy.connection.send(bytes(100_000))
        for _ in range(5):
            await trio.testing.wait_all_tasks_blocked(0.01)
            clock.jump(limits.WRITE_SECONDS / 2)
            busy.connection.send(bytes(100_000))
            await busy.hear(100_000)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert busy.connection._unsent, "the kernel took all: the test shows nothing"
        assert not busy.over.is_set()
        clock.jump(limits.WRITE_SECONDS)
        await busy.ended()


async def test_what_is_sent_before_the_connection_is_open_is_kept_within_the_bound() -> None:
    one = Served(client_session(trio.current_time(), trio.current_time() + 5))
    one.connection.send(b"early ")
    one.connection.send(b"bird")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        assert await one.hear(10) == b"early bird"
        nursery.cancel_scope.cancel()
    early = Connection(one, FLOW)
    for _ in range(limits.OUTBOX_BYTES // 1024 + 1):
        early.send(bytes(1024))
    assert early._early == [] or early._aborted
    one.peer.close()


# --- the end ---------------------------------------------------------------------------------------------


async def test_what_was_sent_is_written_before_the_connection_ends() -> None:
    async with served() as one:
        one.connection.send(b"one")
        one.connection.send(b"two")
        one.connection.close()
        one.connection.send(b"three")
        assert await one.hear(1000) == b"onetwo"


async def test_the_last_answer_reaches_a_peer_that_has_sent_more_than_is_read() -> None:
    """Closed at once, the kernel would reset the connection, and drop the answer at the peer."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, socket.create_connection(listening.getsockname()) as peer:
        ours, _ = listening.accept()
        ours.setblocking(False)
        peer.setblocking(False)
        one = Served(server_session(Transport.TCP, trio.current_time()))
        one._sock.close()
        one.peer.close()
        one._sock, one.peer = ours, peer
        one.on_message = lambda data: (one.connection.send(b"the last answer"), one.connection.close())[1]
        one.say(MESSAGE * (3 * limits.STREAM_READ_BYTES // len(MESSAGE)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.run)
            assert await one.hear(1000) == b"the last answer"
            await one.ended()


async def test_a_peer_that_goes_on_sending_after_the_end_is_not_listened_to_for_long() -> None:
    async with served() as one:
        one.connection.close()
        with trio.fail_after(10):
            while not one.over.is_set():
                try:
                    one.peer.send(bytes(65_536))
                except BlockingIOError:
                    pass
                except OSError:
                    break
                await trio.lowlevel.checkpoint()
        await one.ended()


async def test_a_peer_that_ends_its_direction_gets_what_was_sent_before() -> None:
    async with served() as one:
        one.on_message = lambda data: one.connection.send(b"answer")
        one.say(MESSAGE)
        one.peer.shutdown(socket.SHUT_WR)
        assert await one.hear(1000) == b"answer"
        await one.ended()


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_connection_that_ends_is_of_no_use_to_the_core_before_its_last_bytes_are_written(blocked: bool) -> None:
    """What the core sent to it meanwhile would be lost: it can go by another connection."""
    async with served(small=True) as one:
        one.connection.send(bytes(100_000 if blocked else 100))
        one.connection.close()
        await until(lambda: one.left == [FLOW])
        assert not one.over.is_set()
        await one.hear(100_000)
        one.peer.close()
        await one.ended()
        assert one.left == [FLOW]


async def test_abort_wakes_a_connection_that_waits() -> None:
    async with served() as one:
        await trio.testing.wait_all_tasks_blocked()
        one.connection.abort()
        await one.ended()


async def test_a_tls_client_that_cannot_begin_ends_at_once() -> None:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    now = trio.current_time()
    one = Served(client_session(now, now + limits.CONNECT_SECONDS, context, "a.example"))
    failures: list[StreamEnd] = []
    one.connection = Connection(one, FLOW, failed=failures.append)
    await one.run()
    assert await one.hear(1000) == b"\x15\x03\x03\0\2\2\x46", "the alert protocol_version (RFC 8446 section 6)"
    assert [end.detail for end in failures] == ["NO_PROTOCOLS_AVAILABLE"]
    assert trio.current_time() < now + limits.CONNECT_SECONDS
    one.peer.close()


async def test_a_connection_that_was_closed_while_it_was_being_connected_does_not_begin() -> None:
    one = Served(client_session(trio.current_time(), trio.current_time() + 5))
    one.connection.send(b"never")
    one.connection.close()
    await one.run()
    assert await one.hear() == b""
    one.peer.close()


# --- fairness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("account", [False, True])
async def test_a_peer_with_an_account_does_not_wait_for_all_unproven_ones(
    clock: trio.testing.MockClock, account: bool
) -> None:
    """Of 40 unproven peers each has a whole read waiting, which takes longer than a turn may. A message of a trunk, or
    of a registered peer, comes after a few of them at the latest."""

    def receive(one: Served) -> None:
        order.append(one)
        clock.jump(limits.UNPROVEN_TURN_SECONDS / 100)

    budget = ReadBudget()
    order: list[Served] = []
    reads = MESSAGE * (limits.STREAM_READ_BYTES // len(MESSAGE))
    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
        nursery.start_soon(budget.run)
        trusted = await stack.enter_async_context(served(budget=budget if account else None))
        trusted.account = account
        unproven = [await stack.enter_async_context(served(budget=budget)) for _ in range(40)]
        for one in [*unproven, trusted]:
            one.on_message = lambda data, one=one: receive(one)  # type: ignore[misc]
        for one in unproven:
            one.say(reads)
        trusted.say(MESSAGE)
        total = 40 * limits.STREAM_READ_BYTES // len(MESSAGE)
        await until(lambda: len(order) >= total - 40)
        most = (1 + limits.UNPROVEN_TURN_READS) * limits.STREAM_READ_BYTES
        assert order.index(trusted) <= most // len(MESSAGE)
        assert {one for one in order if one is not trusted} == set(unproven), "none of them waits for ever"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("account", [False, True])
async def test_a_read_of_many_messages_does_not_hold_up_those_of_others(
    clock: trio.testing.MockClock, account: bool
) -> None:
    """Of 40 trunks, or registered peers, each has a whole read waiting: of each a few messages are first at most."""

    def receive(one: Served) -> None:
        order.append(one)
        clock.jump(COST)

    order: list[Served] = []
    ping_reads = b"\r\n\r\n" * (limits.STREAM_READ_BYTES // 4)
    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as stack:
        budget = ReadBudget()
        nursery.start_soon(budget.run)
        several = [await stack.enter_async_context(served(budget=budget if account else None)) for _ in range(41)]
        for one in several:
            one.account = account
            one.on_message = lambda data, one=one: receive(one)  # type: ignore[misc]
        *busy, other = several
        for one in busy:
            one.say(ping_reads)
        other.say(MESSAGE)
        await other.has_received(1)
        assert order.index(other) <= len(busy) * TURN_MESSAGES
        nursery.cancel_scope.cancel()


async def test_of_a_read_of_many_messages_the_rest_waits_for_the_budget(clock: trio.testing.MockClock) -> None:
    """That of a peer with an account too: its next messages are not ahead of those of unproven peers."""

    def receive(data: bytes) -> None:
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        clock.jump(COST)

    budget = ReadBudget()  # which nobody runs: no turn comes
    async with served(budget=budget) as one:
        one.account = True
        one.on_message = receive
        one.say(MESSAGE * (TURN_MESSAGES + 1))
        await one.has_received(1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(one.received) <= TURN_MESSAGES
        one.connection.abort()


async def test_what_waits_takes_little_memory(clock: trio.testing.MockClock) -> None:
    """Thousands of messages of two bytes, as objects of their own, would take a hundred KiB of each connection."""

    def receive(data: bytes) -> None:
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        clock.jump(COST)

    budget = ReadBudget()
    async with served(Transport.WS, budget=budget) as one:
        one.say(UPGRADE)
        await one.hear()
        one.on_message = receive
        assert len([(number, number) for number in range(10_000)])  # the interpreter keeps tuples that are freed
        tracemalloc.start()
        one.say(frame(b"ab") * (limits.STREAM_READ_BYTES // 8))
        await one.has_received(1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held < 3 * limits.STREAM_READ_BYTES
        one.connection.abort()


@pytest.mark.parametrize("last", [b"", b"garbage\r\n\r\n", None])
async def test_all_messages_of_a_read_are_passed_on_in_their_order_before_it_ends(last: bytes | None) -> None:
    """Whether the peer goes on, breaks the protocol by what follows, or ends the connection at once."""
    numbered = [b"%s %d" % (MESSAGE, number) for number in range(3 * TURN_MESSAGES + 1)]
    async with served(Transport.WS) as one:
        one.say(UPGRADE)
        await one.hear()
        data = b"".join(frame(message) for message in numbered)
        one.say(data + (frame(b"", opcode=8) if last is None else last and b"\xff" + last))
        await one.has_received(len(numbered))
        assert one.received == numbered
        if last != b"":
            await one.ended()


def frame(content: bytes, opcode: int = 2) -> bytes:
    """A frame of a client with a mask of zeros."""
    return bytes((0x80 | opcode, 0x80 | len(content))) + bytes(4) + content


@pytest.mark.parametrize("ends", ["close", "abort", "deadline", "send"])
async def test_a_connection_that_waits_for_its_turn_can_still_end(clock: trio.testing.MockClock, ends: str) -> None:
    """Its turn never comes here. What the core sends goes out all the same."""
    budget = ReadBudget()
    async with served(small=True, budget=budget) as one:
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        one.say(MESSAGE)
        await trio.testing.wait_all_tasks_blocked(0.01)
        if ends == "close":
            one.connection.close()
        elif ends == "abort":
            one.connection.abort()
        elif ends == "deadline":
            clock.jump(limits.FIRST_MESSAGE_SECONDS)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not one.connection.closing, "the edge does not read: its peer is not late"
            clock.jump(limits.POSTPONED_SECONDS)
        else:
            one.connection.send(bytes(100_000))
            assert await one.hear(100_000) == bytes(100_000)
            one.connection.close()
        assert await one.hear() == b""
        await one.ended()
        assert one.received == []


@pytest.mark.parametrize("is_open", [True, False])
async def test_no_deadline_passes_while_a_connection_waits_for_its_turn(
    clock: trio.testing.MockClock, is_open: bool
) -> None:
    """Neither that of the handshakes nor that of a message, but for a bounded time over the life of a connection."""
    seconds = limits.MESSAGE_SECONDS if is_open else limits.HANDSHAKE_SECONDS
    whole = MESSAGE if is_open else UPGRADE
    budget = ReadBudget()
    one = Served(server_session(Transport.TCP if is_open else Transport.WS, trio.current_time()), budget=budget)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        one.say(whole[:9])
        await until(lambda: one.connection.counts.bytes_received == 9)
        clock.jump(seconds - 1)
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        one.say(whole[9:-1])
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(limits.POSTPONED_SECONDS - 1)
        async with trio.open_nursery() as turns:
            turns.start_soon(budget.run)
            await until(lambda: one.connection.counts.bytes_received == len(whole) - 1)
            turns.cancel_scope.cancel()
        assert not one.connection.closing
        budget.charge(limits.UNPROVEN_TURN_SECONDS)
        one.say(whole[-1:])
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(2)
        assert await one.hear() == b""
        await one.ended()
        assert one.received == []
        one.peer.close()
