"""Tables of destinations: rows to the members of the sets that ask for them, or every mistake at once. Pure."""

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
"""Why a member cannot be reached from here: the field of its settings that is wrong, and what is wrong with it."""
_FIELDS = attrs.fields_dict(MemberSettings)
_MOST_PRIORITIES = 1001


def _fits(_member: MemberSettings) -> Iterable[tuple[str, str]]:
    return ()


@attrs.frozen
class Groups:
    """The members of each group that was asked for, and what of their rows has no counterpart."""

    members: Mapping[str, tuple[MemberSettings, ...]]
    notes: tuple[Note, ...] = ()


class _Read:
    """A row that was read: where it stands, what it says, and whether its mistakes are known already."""

    __slots__ = ("fields", "key", "sound")

    def __init__(self, key: str, fields: Fields, sound: bool) -> None:
        self.key = key
        self.fields = fields
        self.sound = sound


def read_rows(
    rows: Sequence[Row], schema: str, table: str, wanted: Collection[str], sockets: Sockets, fit: Fit = _fits
) -> Groups:
    """The members of the groups in ``wanted``, in the order of the rows.

    ``table`` stands in errors. Rows of groups that nobody asks for are not looked at. Raises :class:`TableErrors`
    with every mistake; the names of mistakes are ``bad-value``, ``no-column``, ``duplicate-member``,
    ``no-listener``, ``unreachable``, ``unknown-set``, ``no-rows``, ``too-many-rows`` and ``too-many-members``.
    """
    known = SCHEMAS[schema]
    if problem := _whole_table(rows, known, table):
        raise TableErrors([problem])
    errors: list[RowError] = []
    notes: list[Note] = []
    groups: dict[str, list[_Read]] = {name: [] for name in sorted(wanted)}
    others: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = Cells(table, _key(row, known, number), row, errors, notes)
        before = len(errors)
        group = cells.text(known.group, required=True)
        if group in groups:
            fields = known.read(cells, sockets)
            groups[group].append(_Read(cells.key, fields, len(errors) == before))
        elif group:
            others.add(group)
    members = {}
    for name, found in groups.items():
        members[name] = tuple(_members(found, known, table, name, errors, fit))
        if not found:
            named = sorted(others | {each for each, read in groups.items() if read})[:20]
            there = ", ".join(map(plain, named))
            message = f"expected rows of the set {name!r}, found none; there are sets {there or 'of no name'}"
            errors.append(RowError(table, "", known.group, message, "unknown-set"))
    if errors:
        raise TableErrors(error._replace(message=without_passwords(error.message)) for error in errors)
    return Groups(members, tuple(notes))


def _whole_table(rows: Sequence[Row], schema: Schema, table: str) -> RowError | None:
    """What is wrong with all of it."""
    if not rows:
        return RowError(table, "", "", "expected rows, found none", "no-rows")
    if len(rows) > limits.DATABASE_ROWS:
        return RowError(table, "", "", f"expected at most {limits.DATABASE_ROWS} rows, found more", "too-many-rows")
    missing = [column for column in schema.required if column not in rows[0]]
    if missing:
        found = ", ".join(rows[0])
        message = f"expected the columns {', '.join(missing)}, found {found}"
        return RowError(table, "", "", message, "no-column")
    return None


def _key(row: Row, schema: Schema, number: int) -> str:
    """The primary key of a row; its number where it has none."""
    key = row.get(schema.key)
    return f"{schema.key}={plain(str(key))}" if key is not None else f"number {number}"


def _members(
    found: list[_Read], schema: Schema, table: str, group: str, errors: list[RowError], fit: Fit
) -> Iterator[MemberSettings]:
    if len(found) > limits.SET_MEMBERS:
        message = f"expected at most {limits.SET_MEMBERS} members of the set {group!r}, found {len(found)}"
        errors.append(RowError(table, "", schema.group, message, "too-many-members"))
        return
    ranks = {each.fields.rank for each in found}
    if schema.ranked and len(ranks) > _MOST_PRIORITIES:
        message = f"expected at most {_MOST_PRIORITIES} priorities in the set {group!r}, found {len(ranks)}"
        errors.append(RowError(table, "", "priority", message))
        return
    ours = {rank: number for number, rank in enumerate(sorted(ranks))} if schema.ranked else {r: r for r in ranks}
    seen: dict[ResolvedAddress | ServerUri, str] = {}
    for each in found:
        values = {**each.fields.values, "priority": ours[each.fields.rank]}
        mistakes = [(name, message, "bad-value") for name, message in _mistakes(values)]
        if not mistakes and each.sound:
            place = parse_server_uri(values["uri"])
            first = seen.setdefault(place.target or place, each.key)
            if first != each.key:
                message = f"expected each member once, found the address of row {first} again"
                mistakes.append(("uri", message, "duplicate-member"))
            member = MemberSettings(**values)
            mistakes += [(name, message, "unreachable") for name, message in fit(member)]
            if not mistakes:
                yield member
        for name, message, kind in mistakes:
            column = each.fields.columns.get(name, name)
            errors.append(RowError(table, each.key, column, message, kind))


def _mistakes(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every field that the settings of a member would not take, so that one mistake does not hide the next."""
    for name, value in values.items():
        validator = _FIELDS[name].validator
        if validator is not None and value != "":  # a text that is missing was said to be
            try:
                validator(None, _FIELDS[name], value)
            except ValueError as error:
                yield name, str(error)
