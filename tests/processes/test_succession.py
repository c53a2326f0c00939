"""Both ends of a change of supervisors, in one process."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from support.running import policy_text

from edgesbc.app import media_settings_of
from edgesbc.base import limits
from edgesbc.base.state_sockets import PROCESSES_LOCK, SUPERVISOR_SOCKET
from edgesbc.policy.load import load_policy
from edgesbc.processes.child_arguments import ChildArguments, LogSettings
from edgesbc.processes.packet_link import connect_link
from edgesbc.processes.succession import LeftProcess, left_processes, next_supervisor, open_lock, processes_left

COPIES: list[int] = []
"""Further descriptors of the file, until the end of a test."""


def copy(descriptor: int) -> int:
    COPIES.append(os.dup(descriptor))
    return COPIES[-1]


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[int]:
    """A descriptor as the processes of an earlier supervisor have it: the file is locked."""
    descriptor = open_lock(tmp_path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    for each in (descriptor, *COPIES):
        os.close(each)
    COPIES.clear()


def arguments(tmp_path: Path, lock: int, listeners: int = 1) -> ChildArguments:
    """Those of a signalling process; all its descriptors are the same file."""
    return ChildArguments(
        link=-1,
        log=LogSettings(),
        state_dir=str(tmp_path),
        control=copy(lock),
        lock=copy(lock),
        listeners=tuple((copy(lock), -1) for _ in range(listeners)),
    )


def close(left: list[LeftProcess]) -> None:
    for one in left:
        one.link.close()
        for descriptor in one.arguments.handed_on:
            os.close(descriptor)


async def taken_over(tmp_path: Path, rows: list[dict[str, object]], locked: int) -> list[LeftProcess]:
    """What the next supervisor finds, while a process looks for it."""
    own = open_lock(tmp_path)
    links: list[socket.socket | None] = []
    left: list[LeftProcess] = []

    async def process() -> None:
        links.append(await next_supervisor("signalling", arguments(tmp_path, locked), rows))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process)
            left = await left_processes(tmp_path, own)
    finally:
        os.close(own)
    for link in links:
        assert link is not None
        link.close()
    assert not (tmp_path / SUPERVISOR_SOCKET).exists()
    return left


async def test_a_process_hands_back_what_it_has_inherited(tmp_path: Path, locked: int) -> None:
    (one,) = left = await taken_over(tmp_path, [{"name": "signalling", "pid": os.getpid(), "restarts": 3}], locked)
    assert (one.name, one.pid, one.restarts) == ("signalling", os.getpid(), 3)
    file = os.stat(tmp_path / PROCESSES_LOCK).st_ino
    given = one.arguments
    for descriptor in (given.control, given.lock, given.listeners[0][0]):
        assert descriptor != locked
        assert os.fstat(descriptor).st_ino == file
    assert (given.listeners[0][1], given.media, given.link) == (-1, -1, -1)
    close(left)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"name": "media"}', json.dumps({"arguments": "{}"}).encode()])
async def test_anything_else_that_connects_is_no_process(tmp_path: Path, locked: int, junk: bytes) -> None:
    async with trio.open_nursery() as nursery:

        async def connect() -> None:
            while True:
                try:
                    sock = await connect_link(tmp_path / SUPERVISOR_SOCKET)
                except OSError:
                    await trio.sleep(0.001)
                    continue
                with sock:
                    sock.send(junk)
                return

        nursery.start_soon(connect)
        left = await taken_over(tmp_path, [], locked)
    assert [one.name for one in left] == ["signalling"]
    close(left)


async def test_a_process_of_another_version_is_found_whatever_it_was_started_with(tmp_path: Path, locked: int) -> None:
    """So that it is ended: the edge could not start as long as it is there."""
    message = {
        "name": "media",
        "version": "0.0.9",
        "arguments": '{"link": 3, "of_another_version": []}',
        "processes": [{"name": "media", "pid": os.getpid(), "restarts": 2}],
    }
    connected: list[socket.socket] = []

    async def process() -> None:
        while not connected:
            try:
                connected.append(await connect_link(tmp_path / SUPERVISOR_SOCKET))
            except OSError:
                await trio.sleep(0.001)
        socket.send_fds(connected[0], [json.dumps(message).encode()], [copy(locked)])

    own = open_lock(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process)
        (one,) = left = await left_processes(tmp_path, own)
    os.close(own)
    assert (one.name, one.pid, one.version, one.restarts) == ("media", os.getpid(), "0.0.9", 2)
    assert one.arguments.handed_on == []
    close(left)
    connected[0].close()


async def test_without_processes_nothing_is_waited_for(tmp_path: Path) -> None:
    assert not processes_left(tmp_path)
    lock = open_lock(tmp_path)
    (tmp_path / SUPERVISOR_SOCKET).touch()
    assert await left_processes(tmp_path, lock) == []
    assert not (tmp_path / SUPERVISOR_SOCKET).exists()
    assert processes_left(tmp_path)
    os.close(lock)


async def test_processes_that_never_answer_keep_the_next_supervisor_from_starting(
    tmp_path: Path, locked: int, autojump_clock: object
) -> None:
    own = open_lock(tmp_path)
    with pytest.raises(OSError, match="do not answer"):
        await left_processes(tmp_path, own)
    os.close(own)


async def test_a_process_waits_for_a_while(tmp_path: Path, locked: int, autojump_clock: object) -> None:
    began = trio.current_time()
    assert await next_supervisor("media", arguments(tmp_path, locked), []) is None
    assert trio.current_time() - began == pytest.approx(limits.SUPERVISOR_AWAY_SECONDS, abs=1)


async def test_more_descriptors_than_a_message_carries(tmp_path: Path, locked: int, autojump_clock: object) -> None:
    began = trio.current_time()
    many = arguments(tmp_path, locked, limits.HANDED_ON_DESCRIPTORS)
    assert await next_supervisor("signalling", many, []) is None
    assert trio.current_time() == began


def test_settings_are_the_same_after_they_were_handed_on(tmp_path: Path) -> None:
    """Otherwise media control would be started anew."""
    (tmp_path / "policy.toml").write_text(policy_text(tmp_path, ["sip:127.0.0.11:9"]))
    settings = media_settings_of(load_policy(tmp_path / "policy.toml"), relays=1)
    given = attrs.evolve(ChildArguments(-1, LogSettings(), ""), media_settings=settings)
    assert ChildArguments.from_json(given.as_json()) == given
