"""Any text in a table or a list gives members or the one documented error; no other exception is raised."""

from __future__ import annotations

import tomllib
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from edgesbc.inventory.dispatcher_list import as_toml, import_list
from edgesbc.inventory.rows import TableErrors
from edgesbc.inventory.schemas import SCHEMAS
from edgesbc.inventory.tables import read_rows

WORDS = st.sampled_from(
    [
        "1", "0", "-1", "99", "1e9", "sip:10.0.0.1", "sip:10.0.0.2;transport=tcp", "sips:a.example", "sip:[::1]:5070",
        "weight=5", "rweight=0", "maxload=7", "socket=udp:10.0.0.1:5060", "socket=[", "pstn=3", "a/s=4", "fs://:p@h",
        "{", '{"a": 1}', '{"a": "1"}', ";", "=", "#", " ", "\n", "\t", "\x00", "\x85", "ü", "\ud800", "true",
    ]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=5).map("".join) | st.text(max_size=20)
CELLS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


@given(st.data(), st.sampled_from(sorted(SCHEMAS)))
def test_rows(data: st.DataObject, schema: str) -> None:
    known = SCHEMAS[schema]
    group = st.just("1") | CELLS
    row = st.fixed_dictionaries({name: group if name == known.group else CELLS for name in known.columns})
    rows = data.draw(st.lists(row, max_size=5))
    with suppress(TableErrors):
        read_rows(rows, schema, "t", ["1"], {"udp:10.0.0.1:5060": "inside"})


@given(
    st.lists(st.lists(WORDS, max_size=6).map(" ".join) | TEXTS, max_size=5).map("\n".join),
    st.none() | st.sampled_from([4, 8]),
)
def test_lists(text: str, algorithm: int | None) -> None:
    with suppress(TableErrors):
        sets = import_list(text, "dispatcher.list", {}, algorithm).sets
        if "\ud800" not in text:  # which no file in UTF-8 has
            assert len(tomllib.loads(as_toml(sets))["destinations"]) == len(sets)
