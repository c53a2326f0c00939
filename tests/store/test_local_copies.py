"""Local copies of tables: written whole, private, and read only for the same table."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.store.local_copies import copy_path, read_copy, write_copy

MAIN = DatabaseSettings(name="main", url="postgresql://edge@db.example/sip")
ROWS = ({"id": 1, "set_name": "pbx", "uri": "sip:10.0.0.11", "max_cps": 2.5, "socket": None},)


def test_a_copy_that_was_written_is_read(tmp_path: Path) -> None:
    write_copy(tmp_path, MAIN, ROWS)
    copy = read_copy(tmp_path, MAIN)
    assert copy is not None
    assert copy.rows == ROWS
    assert copy.read.startswith("20")
    assert copy_path(tmp_path, MAIN).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["destinations.main.json"]


def test_a_new_copy_replaces_the_old_one_and_a_half_written_one(tmp_path: Path) -> None:
    write_copy(tmp_path, MAIN, ROWS)
    half = tmp_path / ".destinations.main.json.new"
    half.write_text("half")
    half.chmod(0o666)
    write_copy(tmp_path, MAIN, ())
    copy = read_copy(tmp_path, MAIN)
    assert copy is not None
    assert copy.rows == ()
    assert copy_path(tmp_path, MAIN).stat().st_mode & 0o777 == 0o600


def test_a_missing_copy(tmp_path: Path) -> None:
    assert read_copy(tmp_path, MAIN) is None


@pytest.mark.parametrize(
    "other",
    [
        DatabaseSettings(name="main", url="postgresql://edge@db.example/other"),
        DatabaseSettings(name="main", url=MAIN.url, table="others"),
        DatabaseSettings(name="main", url=MAIN.url, schema="kamailio-dispatcher", table="destinations"),
    ],
)
def test_a_copy_of_another_table_is_not_used(tmp_path: Path, other: DatabaseSettings) -> None:
    write_copy(tmp_path, MAIN, ROWS)
    assert read_copy(tmp_path, other) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 2', "expected version 1, found '2'"),
        ('"uri"', '"url"', "expected a list of rows"),
        ('"sip:10.0.0.11"', "[]", "expected a list of rows"),
        ("{", "", "Expecting|expected|Extra"),
        ("{", "[" * 100_000, "without end"),
    ],
)
def test_the_mistake_in_a_broken_copy_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_copy(tmp_path, MAIN, ROWS)
    file = copy_path(tmp_path, MAIN)
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_copy(tmp_path, MAIN)


def test_a_copy_over_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_copy(tmp_path, MAIN, ROWS)
    size = copy_path(tmp_path, MAIN).stat().st_size
    monkeypatch.setattr(limits, "DATABASE_COPY_BYTES", size - 1)
    with pytest.raises(ValueError, match=f"at most {size - 1} bytes"):
        read_copy(tmp_path, MAIN)
    monkeypatch.setattr(limits, "DATABASE_COPY_BYTES", size)
    assert read_copy(tmp_path, MAIN) is not None
