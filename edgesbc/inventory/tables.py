"""Tables of destinations: rows, converted to the members of destination sets, or a list of every error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.inventory.databases import without_passwords
from edgesbc.inventory.rows import Cells, Note, Row, RowError, TableErrors, plain
from edgesbc.inventory.schemas import SCHEMAS, Fields, Schema, Sockets
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri, parse_server_uri

__all__ = ["Fit", "Groups", "read_rows"]

Fit = Callable[[MemberSettings], Iterable[tuple[str, str]]]
"""Returns why a member cannot be reached from this edge: pairs of a field of its settings and a message."""
_FIELDS = attrs.fields_dict(MemberSettings)
_MOST_PRIORITIES = 1001


def _fits(_member: MemberSettings) -> Iterable[tuple[str, str]]:
    return ()


@attrs.frozen
class Groups:
    """The members of each requested group, and notes about parts of their rows without a counterpart."""

    members: Mapping[str, tuple[MemberSettings, ...]]
    notes: tuple[Note, ...] = ()


class _ParsedRow:
    """A row: its key and fields, and whether its cells had no errors."""

    __slots__ = ("fields", "key", "valid")

    def __init__(self, key: str, fields: Fields, valid: bool) -> None:
        self.key = key
        self.fields = fields
        self.valid = valid


def read_rows(
    rows: Sequence[Row], schema: str, table: str, wanted: Collection[str], sockets: Sockets, fit: Fit = _fits
) -> Groups:
    """The members of the groups in ``wanted``, in the order of the rows.

    ``table`` is its name in errors. Rows of other groups are not read. Raises :class:`TableErrors`
    with every error; their names are ``bad-value``, ``no-column``, ``duplicate-member``,
    ``no-listener``, ``unreachable``, ``unknown-set``, ``no-rows``, ``too-many-rows`` and ``too-many-members``.
    """
    known = SCHEMAS[schema]
    if problem := _table_error(rows, known, table):
        raise TableErrors([problem])
    errors: list[RowError] = []
    notes: list[Note] = []
    groups: dict[str, list[_ParsedRow]] = {name: [] for name in sorted(wanted)}
    others: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = Cells(table, _key(row, known, number), row, errors, notes)
        before = len(errors)
        group = cells.text(known.group, required=True)
        if group in groups:
            fields = known.read(cells, sockets)
            groups[group].append(_ParsedRow(cells.key, fields, len(errors) == before))
        elif group:
            others.add(group)
    members = {}
    for name, parsed in groups.items():
        members[name] = tuple(_members(parsed, known, table, name, errors, fit))
        if not parsed:
            names = sorted(others | {other for other, parsed_rows in groups.items() if parsed_rows})[:20]
            listed = ", ".join(map(plain, names))
            message = f"expected rows of the set {name!r}, found none; there are sets {listed or 'of no name'}"
            errors.append(RowError(table, "", known.group, message, "unknown-set"))
    if errors:
        raise TableErrors(error._replace(message=without_passwords(error.message)) for error in errors)
    return Groups(members, tuple(notes))


def _table_error(rows: Sequence[Row], schema: Schema, table: str) -> RowError | None:
    """An error that concerns the table as a whole, if there is one."""
    if not rows:
        return RowError(table, "", "", "expected rows, found none", "no-rows")
    if len(rows) > limits.DATABASE_ROWS:
        return RowError(table, "", "", f"expected at most {limits.DATABASE_ROWS} rows, found more", "too-many-rows")
    missing = [column for column in schema.required if column not in rows[0]]
    if missing:
        columns = ", ".join(rows[0])
        message = f"expected the columns {', '.join(missing)}, found {columns}"
        return RowError(table, "", "", message, "no-column")
    return None


def _key(row: Row, schema: Schema, number: int) -> str:
    """The primary key of a row, or its number if it has none."""
    key = row.get(schema.key)
    return f"{schema.key}={plain(str(key))}" if key is not None else f"number {number}"


def _members(
    rows: list[_ParsedRow], schema: Schema, table: str, group: str, errors: list[RowError], fit: Fit
) -> Iterator[MemberSettings]:
    if len(rows) > limits.SET_MEMBERS:
        message = f"expected at most {limits.SET_MEMBERS} members of the set {group!r}, found {len(rows)}"
        errors.append(RowError(table, "", schema.group, message, "too-many-members"))
        return
    ranks = {row.fields.rank for row in rows}
    if schema.ranked and len(ranks) > _MOST_PRIORITIES:
        message = f"expected at most {_MOST_PRIORITIES} priorities in the set {group!r}, found {len(ranks)}"
        errors.append(RowError(table, "", "priority", message))
        return
    priorities = {rank: number for number, rank in enumerate(sorted(ranks))} if schema.ranked else {r: r for r in ranks}
    seen: dict[ResolvedAddress | ServerUri, str] = {}
    for row in rows:
        values = {**row.fields.values, "priority": priorities[row.fields.rank]}
        problems = [(name, message, "bad-value") for name, message in _invalid_fields(values)]
        if not problems and row.valid:
            server_uri = parse_server_uri(values["uri"])
            first = seen.setdefault(server_uri.target or server_uri, row.key)
            if first != row.key:
                message = f"expected each member once, found the address of row {first} again"
                problems.append(("uri", message, "duplicate-member"))
            member = MemberSettings(**values)
            problems += [(name, message, "unreachable") for name, message in fit(member)]
            if not problems:
                yield member
        for name, message, kind in problems:
            column = row.fields.columns.get(name, name)
            errors.append(RowError(table, row.key, column, message, kind))


def _invalid_fields(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every field that :class:`MemberSettings` would refuse, with its error, so that one does not hide the next."""
    for name, value in values.items():
        validator = _FIELDS[name].validator
        if validator is not None and value != "":  # a missing text was reported before
            try:
                validator(None, _FIELDS[name], value)
            except ValueError as error:
                yield name, str(error)
