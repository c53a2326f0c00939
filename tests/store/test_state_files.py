"""Files of the state directory: read whole within a bound, checked, put aside when broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.base.files import FileTooLarge
from edgesbc.store.state_files import parse_state, put_aside, read_state


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") == b""


def test_a_file_over_the_bound_is_refused_and_not_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STATE_BYTES", 4)
    (tmp_path / "state.json").write_bytes(b"1234")
    assert read_state(tmp_path / "state.json") == b"1234"
    (tmp_path / "state.json").write_bytes(b"12345")
    with pytest.raises(FileTooLarge, match=r"state\.json: expected at most 4 bytes, found 5"):
        read_state(tmp_path / "state.json")


def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    aside = put_aside(path)
    assert (aside.name, aside.read_text()) == ("state.json.broken", "{")
    assert read_state(path) == b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "Expecting"),
        (b"[]", "expected a table"),
        (b'{"version": 2}', "expected version 1, found 2"),
        (b"[" * 200_000, "expected"),
        (b"\xff", "decode"),
    ],
)
def test_the_error_names_what_was_expected(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_state(text, 1)
