"""Tables of destinations: rows, converted to the members of destination sets, or a list of every error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.inventory.databases import without_passwords
from edgesbc.inventory.groups import Fit, GroupReader, ParsedRow
from edgesbc.inventory.peer_algorithms import PEER_ALGORITHMS
from edgesbc.inventory.rows import Cells, Note, Row, RowError, TableErrors, plain
from edgesbc.inventory.schemas import SCHEMAS, Schema, Sockets

__all__ = ["Fit", "Groups", "read_rows"]


def _fits(_member: MemberSettings) -> Iterable[tuple[str, str]]:
    return ()


@attrs.frozen
class Groups:
    """The members of each requested group, notes about parts of their rows without a counterpart, and the errors of
    rows that were left out."""

    members: Mapping[str, tuple[MemberSettings, ...]]
    notes: tuple[Note, ...] = ()
    skipped: tuple[RowError, ...] = ()


def read_rows(
    rows: Sequence[Row],
    schema: str,
    table: str,
    wanted: Collection[str],
    sockets: Sockets,
    fit: Fit = _fits,
    algorithms: Mapping[str, int] | None = None,
    skip: bool = False,
) -> Groups:
    """The members of the groups in ``wanted``, in the order of the rows.

    ``table`` is its name in errors. Rows of other groups are not read. ``algorithms`` has the number of the algorithm
    of Kamailio or OpenSIPS that a group was written for, which decides what its weights mean. With ``skip``, rows with
    errors are left out, as long as each group has another one. Raises :class:`TableErrors` with every error; their
    names are ``bad-value``, ``no-column``, ``duplicate-member``, ``no-listener``, ``unreachable``, ``unknown-set``,
    ``no-rows``, ``too-many-rows`` and ``too-many-members``.
    """
    known = SCHEMAS[schema]
    if problem := _table_error(rows, known, table):
        raise TableErrors([problem])
    errors: list[RowError] = []
    notes: list[Note] = []
    groups: dict[str, list[ParsedRow]] = {name: [] for name in sorted(wanted)}
    others: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = Cells(table, _key(row, known, number), row, errors, notes)
        before = len(errors)
        group = cells.text(known.group, required=True)
        if group in groups:
            fields = known.read(cells, sockets)
            groups[group].append(ParsedRow(cells.key, fields, len(errors) == before))
        elif group:
            others.add(group)
    members = {}
    for name, parsed in groups.items():
        number_there = (algorithms or {}).get(name)
        peer = None if number_there is None else PEER_ALGORITHMS[schema][number_there]
        members[name] = GroupReader(known, table, name, peer, fit, skip, errors, notes).members(parsed)
        if not parsed:
            names = sorted(others | {other for other, parsed_rows in groups.items() if parsed_rows})[:20]
            listed = ", ".join(map(plain, names))
            message = f"expected rows of the set {name!r}, found none; there are sets {listed or 'of no name'}"
            errors.append(RowError(table, "", known.group, message, "unknown-set"))
        elif skip and not members[name]:
            message = f"expected a row of the set {name!r} that can be used, found none"
            errors.append(RowError(table, "", known.group, message, "unknown-set"))
    errors = [error._replace(message=without_passwords(error.message)) for error in errors]
    if errors and not (skip and all(error.key for error in errors)):
        raise TableErrors(errors)
    return Groups(members, tuple(notes), tuple(errors))


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
