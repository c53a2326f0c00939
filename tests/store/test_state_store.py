"""The store writes only what has changed, and an error of the disk does not stop it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from support.containment import collecting, unfailing
from support.running import until

from edgesbc.base import limits
from edgesbc.store.state_store import StateStore


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **more: Any) -> None:
        self.lines.append((event, more))

    error = info


class Words:
    """Persisted state for the tests: a list of words."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = f"{name}.txt"
        self.version = 0
        self.held = b""
        self.written = 0

    def say(self, word: bytes) -> None:
        self.held = word
        self.version += 1

    def as_json(self, now: float, wall: float) -> bytes:
        self.written += 1
        return self.held

    def restore(self, data: bytes, now: float, wall: float) -> int:
        if data == b"broken":
            raise ValueError("expected words")
        self.held = data
        return len(data.split())


async def test_changed_state_is_written_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STATE_KEPT_SECONDS", 0.01)
    one, other = Words("one"), Words("other")
    store = StateStore(tmp_path, (one, other), Log(), unfailing())
    store.restore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            one.say(b"hear %d" % number)
            await until(lambda: (tmp_path / "one.txt").exists() and (tmp_path / "one.txt").read_bytes() == one.held)
        nursery.cancel_scope.cancel()
    assert (one.written, other.written) == (3, 0)
    assert os.listdir(tmp_path) == ["one.txt"]
    await store.write()
    assert (one.written, other.written) == (4, 1)


async def test_state_is_restored_and_a_broken_file_put_aside(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_bytes(b"broken")
    (tmp_path / "other.txt").write_bytes(b"two words")
    one, other, log = Words("one"), Words("other"), Log()
    StateStore(tmp_path, (one, other), log, unfailing()).restore()
    assert (one.held, other.held) == (b"", b"two words")
    assert sorted(os.listdir(tmp_path)) == ["one.txt.broken", "other.txt"]
    assert log.lines == [
        (
            "the one of the last run are broken",
            {"error": "expected words", "kept_as": str(tmp_path / "one.txt.broken")},
        ),
        ("other of the last run are in force again", {"number": 2}),
    ]


async def test_an_error_of_the_disk_is_logged_and_stops_nothing(tmp_path: Path) -> None:
    log = Log()
    words = Words("one")
    (tmp_path / "one.txt").mkdir()
    store = StateStore(tmp_path, (words,), log, unfailing())
    store.restore()
    await store.write()
    assert [event for event, _ in log.lines] == ["the one of the last run cannot be read", "one cannot be written"]


async def test_the_last_write_waits_for_one_that_a_slow_disk_holds_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the edge ends it writes everything once more, and an earlier slow write must not replace that."""
    words = Words("one")
    store = StateStore(tmp_path, (words,), Log(), unfailing())
    slow, syncing = threading.Event(), threading.Event()
    sync = os.fsync

    def slow_sync(descriptor: int) -> None:
        syncing.set()
        assert slow.wait(30)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_sync)
    words.say(b"before")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write)
        await trio.to_thread.run_sync(syncing.wait, 30)
        words.say(b"the last")
        nursery.start_soon(store.write)
        await trio.testing.wait_all_tasks_blocked()
        slow.set()
    assert (tmp_path / "one.txt").read_bytes() == b"the last"
    assert os.listdir(tmp_path) == ["one.txt"]


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EMFILE], ids=errno.errorcode.get
)
async def test_what_cannot_be_written_is_tried_again_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(limits, "STATE_KEPT_SECONDS", 0.01)
    log, one, other = Log(), Words("one"), Words("other")
    store = StateStore(tmp_path, (one, other), log, unfailing())
    store.restore()
    tries = []

    def fail(descriptor: int) -> None:
        tries.append(descriptor)
        raise OSError(number, os.strerror(number))

    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            nursery.start_soon(store.run)
            one.say(b"banned")
            other.say(b"drained")
            await until(lambda: len(tries) >= 6)
            assert os.listdir(tmp_path) == [] or all(name.startswith(".") for name in os.listdir(tmp_path))
        await until(lambda: (tmp_path / "one.txt").exists() and (tmp_path / "other.txt").exists())
        await until(lambda: len(log.lines) == 4)
        nursery.cancel_scope.cancel()
    events = [event for event, _ in log.lines]
    assert events[:2] == ["one cannot be written", "other cannot be written"]
    # The disk may have room again between the two files.
    assert sorted(events[2:]) == ["one are written again", "other are written again"]


async def test_a_fault_in_one_state_keeps_no_other_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STATE_KEPT_SECONDS", 0.01)

    class Broken(Words):
        def as_json(self, now: float, wall: float) -> bytes:
            raise MemoryError

    faults: list[str] = []
    broken, other = Broken("broken"), Words("other")
    store = StateStore(tmp_path, (broken, other), Log(), collecting(faults))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        broken.say(b"lost")
        other.say(b"kept")
        await until(lambda: (tmp_path / "other.txt").exists() and len(faults) > 1)
        nursery.cancel_scope.cancel()
    await store.write()
    assert set(faults) == {"state files "}
