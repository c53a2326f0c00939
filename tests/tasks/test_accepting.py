"""Accepting goes on after every error that accept(2) names, without a descriptor too, and never in a busy loop."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from support.running import until

from edgesbc.base import limits
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment

OF_THE_CONNECTION = (
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINTR, errno.ENETDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT,
)  # fmt: skip
OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
OF_THE_SOCKET = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP)


class FailingSocket(socket.socket):
    """A listening socket whose next calls of ``accept`` fail with these errors."""

    errors: list[int]
    calls = 0

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        self.calls += 1
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
def listening() -> Iterator[FailingSocket]:
    with FailingSocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.errors = []
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        sock.setblocking(False)
        yield sock


class Taken:
    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []
        self.refused: list[int | None] = []

    def take(self, sock: socket.socket, address: object) -> None:
        assert not sock.getblocking()
        self.accepted.append(sock)

    def refuse(self, address: object, error: OSError) -> None:
        self.refused.append(error.errno)


@pytest.mark.parametrize("number", [*OF_THE_CONNECTION, *OF_THE_MACHINE, *OF_THE_SOCKET], ids=errno.errorcode.get)
async def test_accepting_goes_on_after_an_error(listening: FailingSocket, number: int) -> None:
    taken, reports = Taken(), []
    containment = Containment(lambda kind, error: reports.append(error))
    acceptor = Acceptor(listening, taken.take, taken.refuse)
    listening.errors = [number]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(containment.keep_running, "accept", acceptor.run)
        for _ in range(2):
            (await trio.open_tcp_stream(*listening.getsockname())).socket.close()
        await until(lambda: len(taken.accepted) + len(taken.refused) == 2)
        nursery.cancel_scope.cancel()
    assert len(taken.refused) == (number in (errno.EMFILE, errno.ENFILE))
    assert [error.errno for error in reports] == ([number] if number in OF_THE_SOCKET else [])
    for sock in taken.accepted:
        sock.close()


@pytest.mark.parametrize("number", OF_THE_MACHINE, ids=errno.errorcode.get)
async def test_a_shortage_that_stays_is_no_busy_loop(
    listening: FailingSocket, number: int, autojump_clock: trio.testing.MockClock
) -> None:
    taken = Taken()
    listening.errors = [number] * 10_000
    with socket.create_connection(listening.getsockname()), trio.move_on_after(10):
        await Acceptor(listening, taken.take, taken.refuse).run()
    assert listening.calls <= 10 / limits.ACCEPT_PAUSE_SECONDS * 3
    assert taken.accepted == []


@pytest.mark.parametrize(("pause", "seconds"), [(0.0, 0.0), (0.5, 1.0)])
async def test_connections_in_a_loop_are_accepted_in_batches_with_a_pause(
    listening: FailingSocket, pause: float, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Forty connections are two batches and a half; fewer than a batch never wait."""
    taken = Taken()
    clients = [socket.create_connection(listening.getsockname()) for _ in range(40)]
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Acceptor(listening, taken.take, taken.refuse, pause).run)
        await until(lambda: len(taken.accepted) == 40)
        assert trio.current_time() - begun == pytest.approx(seconds, abs=0.1)
        clients.append(socket.create_connection(listening.getsockname()))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for sock in [*clients, *taken.accepted]:
        sock.close()


async def test_without_a_descriptor_those_that_wait_are_closed_and_later_ones_accepted(
    listening: FailingSocket,
) -> None:
    """The bound is the real one of this process, lowered to what it uses."""
    taken = Taken()
    acceptor = Acceptor(listening, taken.take, taken.refuse)
    number = 40
    clients = [socket.socket() for _ in range(number)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor.run)
        await trio.testing.wait_all_tasks_blocked()
        top = os.dup(0)
        os.close(top)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))  # no descriptor below it is free
            for client in clients:
                client.connect(listening.getsockname())
            await until(lambda: len(taken.refused) == number)
            assert set(taken.refused) == {errno.EMFILE}
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.settimeout(10)
            assert await trio.to_thread.run_sync(client.recv, 1) == b""
            client.close()
        with socket.create_connection(listening.getsockname()):
            await until(lambda: len(taken.accepted) == 1)
        nursery.cancel_scope.cancel()
    taken.accepted[0].close()
