from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio
from support.running import until

from edgesbc.base import limits
from edgesbc.processes.packet_link import PacketLink, bind_link, connect_link, is_same_user


def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in (one, other):
        sock.setblocking(False)
    return one, other


async def test_packets_arrive_in_order_also_those_that_were_queued() -> None:
    one, other = pair()
    sent = [bytes([number % 251]) * (1 + number % 4_000) for number in range(3_000)]
    received: list[bytes] = []
    with one, other:
        link = PacketLink(one)
        for data in sent:
            link.send(data)
        assert len(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, received.append)
            nursery.start_soon(PacketLink(other).run, received.append)
            await until(lambda: len(received) == len(sent))
            nursery.cancel_scope.cancel()
    assert received == sent


async def test_the_largest_message_arrives() -> None:
    one, other = pair()
    received: list[bytes] = []
    with one, other:
        PacketLink(one).send(bytes(limits.MEDIA_LINK_BYTES))
        one.shutdown(socket.SHUT_WR)
        await PacketLink(other).run(received.append)
    assert list(map(len, received)) == [limits.MEDIA_LINK_BYTES]


async def test_a_link_ends_when_the_other_end_is_gone() -> None:
    one, other = pair()
    with one:
        link = PacketLink(one)
        other.close()
        with trio.fail_after(10):
            await link.run(lambda data: None)
        link.send(b"more")
        assert link.broken


async def test_a_link_that_is_broken_off_ends_at_both_ends() -> None:
    one, other = pair()
    with one, other, trio.fail_after(10):
        first, second = PacketLink(one), PacketLink(other)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run, lambda data: None)
            nursery.start_soon(second.run, lambda data: None)
            first.break_off()


async def test_what_a_receiver_raises_ends_the_link() -> None:
    one, other = pair()

    def fail(data: bytes) -> None:
        raise ValueError(data)

    with one, other, trio.fail_after(10):
        PacketLink(other).send(b"packet")
        with pytest.RaisesGroup(ValueError) if hasattr(pytest, "RaisesGroup") else pytest.raises(ExceptionGroup):
            await PacketLink(one).run(fail)


async def test_the_socket_is_for_this_user_alone_and_has_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    path = folder / "media.sock"
    bind_link(path).close()
    with bind_link(path) as listening:  # in the place of the one before
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with await connect_link(path) as sock:
            accepted, _ = listening.accept()
            with accepted:
                assert is_same_user(accepted)
                assert is_same_user(sock)
    with pytest.raises(OSError, match="refused"):
        await connect_link(path)
