"""The key of the tokens: created once, private, and complete after a first start on a full disk."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from edgesbc.store import token_key as module
from edgesbc.store.token_key import KEY_BYTES, KEY_FILE, token_key


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = token_key(tmp_path)
    assert len(key) == KEY_BYTES
    assert token_key(tmp_path) == key
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == [KEY_FILE]


def test_a_first_start_on_a_full_disk_leaves_no_truncated_key(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, old[1]))  # the kernel creates the file, but can write nothing to it
    try:
        with pytest.raises(OSError, match=r"token\.key"):
            token_key(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert os.listdir(tmp_path) == []
    assert len(token_key(tmp_path)) == KEY_BYTES


@pytest.mark.parametrize("content", [b"", b"short", b"k" * (KEY_BYTES + 1)])
def test_an_invalid_key_is_neither_used_nor_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(OSError, match="is not a key of 32 bytes; move it away"):
        token_key(tmp_path)
    assert (tmp_path / KEY_FILE).read_bytes() == content


def test_of_two_first_starts_at_once_both_have_the_same_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_key = b"t" * KEY_BYTES

    def entropy(count: int) -> bytes:
        (tmp_path / KEY_FILE).write_bytes(other_key)  # another process creates the key first
        return b"o" * count

    monkeypatch.setattr(module.os, "urandom", entropy)
    assert token_key(tmp_path) == other_key
