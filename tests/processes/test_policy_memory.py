from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running import policy_text

from edgesbc.base.errors import PolicyErrors
from edgesbc.processes.policy_memory import create_memory, restored_policy, store_text, stored_text


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create_memory("first")
    yield descriptor
    os.close(descriptor)


def test_the_last_text_is_read(memory: int) -> None:
    assert stored_text(memory) == "first"
    store_text(memory, "a longer text, of a policy with ü")
    assert stored_text(memory) == "a longer text, of a policy with ü"
    store_text(memory, "")
    assert stored_text(memory) == ""


def test_a_text_that_was_not_written_wholly_is_refused(memory: int) -> None:
    os.pwrite(memory, b"x", 33)
    assert stored_text(memory) is None
    os.ftruncate(memory, 3)
    assert stored_text(memory) is None


def test_sections_that_need_a_restart_are_those_of_the_start(tmp_path: Path) -> None:
    started = policy_text(tmp_path, ["sip:127.0.0.11:9"], http="")
    changed = started.replace("[edge]", '[domains]\nnames = ["one.example.com"]\n[edge]\nmax_calls = 7')
    policy = restored_policy(started, changed, str(tmp_path / "policy.toml"))
    assert policy.domains.names == ("one.example.com",)
    assert policy.edge.max_calls != 7
    assert policy.text == changed


@pytest.mark.parametrize("in_force", [None, "nonsense", "[edge]\ngraze = 1"])
def test_a_text_that_cannot_be_used_any_more_gives_way_to_that_of_the_start(
    tmp_path: Path, in_force: str | None
) -> None:
    started = policy_text(tmp_path, ["sip:127.0.0.11:9"], http="")
    assert restored_policy(started, in_force, str(tmp_path / "policy.toml")).text == started


def test_mistakes_in_the_text_of_the_start_are_raised(tmp_path: Path) -> None:
    with pytest.raises(PolicyErrors):
        restored_policy("nonsense", "nonsense", str(tmp_path / "policy.toml"))
