"""Policies and the files that they name are read for a bounded time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import policy_text, running

from edgesbc.base import limits
from edgesbc.base.files import read_file
from edgesbc.control.protocol import CommandRefused
from edgesbc.rollout.policy_reading import in_thread

MEMBER, OTHER = "sip:127.0.0.11:9", "sip:127.0.0.12:9"


async def test_a_reading_without_an_end_is_left_to_itself(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    """A pipe without a writer, as a file on a disk that does not answer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def read() -> None:
        with pytest.raises(TimeoutError, match=f"{pipe}: expected to be read within 120 s"):
            await in_thread(lambda: read_file(pipe, 100), str(pipe))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(limits.POLICY_READ_SECONDS)
    assert await in_thread(lambda: 1, "another") == 1
    os.close(os.open(pipe, os.O_WRONLY))  # the thread ends


async def test_what_is_raised_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, "a number")


async def test_a_change_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, policy_text(tmp_path, [MEMBER])) as app:
        another = policy_text(tmp_path, [OTHER])
        (tmp_path / "policy.toml").write_text(another)
        monkeypatch.setattr(limits, "POLICY_READ_SECONDS", 0.0)
        (mistake,) = (await app.reload()).mistakes
        assert mistake.startswith(f"{tmp_path / 'policy.toml'}: expected to be read within 0 s")
        with pytest.raises(CommandRefused, match="nothing is changed: the policy, or a file that it names"):
            await app.policies.apply(another, by="alice", why="a try")
        with pytest.raises(CommandRefused, match="expected to be read"):
            await app.policies.diff(another)
        with pytest.raises(CommandRefused, match="expected to be read"):
            await app.policies.shadow(str(tmp_path / "policy.toml"))
        monkeypatch.undo()
        assert (await app.reload()).mistakes == []
        assert [member.name for member in app.edge.dispatcher.members()] == [OTHER]
