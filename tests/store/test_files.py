"""Files of the state directory: whole or not at all, nobody else's, read within a bound, put aside when broken."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.store import files


def test_what_was_written_is_read_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert files.read(path) == b""
    files.write(path, b"one")
    files.write(path, b"two")
    assert files.read(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_no_more_is_read_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STATE_BYTES", 4)
    (tmp_path / "state.json").write_bytes(b"12345")
    assert files.read(tmp_path / "state.json") == b"1234"


def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    aside = files.put_aside(path)
    assert (aside.name, aside.read_text()) == ("state.json.broken", "{")
    assert files.read(path) == b""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "Expecting"),
        (b"[]", "expected a table"),
        (b'{"version": 2}', "expected version 1, found 2"),
        (b"[" * 200_000, "expected"),
        (b"\xff", "decode"),
    ],
)
def test_what_is_broken_is_said(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        files.read_json(text, 1)


def test_two_writes_at_once_are_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last write of an edge that ends may meet one that a slow disk holds up."""
    path = tmp_path / "state.json"
    failures: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: failures.append(args.exc_value))
    last = threading.Thread(target=files.write, args=(path, b"the last"))
    sync = os.fsync

    def slow(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        last.start()
        last.join(0.3)  # it comes to its end in here where nothing holds it
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    files.write(path, b"one of before, which is longer")
    last.join()
    assert failures == []
    assert path.read_bytes() == b"the last"
    assert os.listdir(tmp_path) == ["state.json"]
