"""The rows of one group as members: their shares and priorities, and destinations that are listed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.inventory.peer_algorithms import PeerAlgorithm, Placed, Weights, place
from edgesbc.inventory.rows import Note, RowError
from edgesbc.inventory.schemas import Fields, Schema
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri

__all__ = ["Fit", "GroupReader", "ParsedRow"]

Fit = Callable[[MemberSettings], Iterable[tuple[str, str]]]
"""Returns why a member cannot be reached from this edge: pairs of a field of its settings and a message."""
_FIELDS = attrs.fields_dict(MemberSettings)
_MOST_PRIORITIES = 1001


class ParsedRow:
    """A row: its key and fields, and whether its cells had no errors."""

    __slots__ = ("fields", "key", "valid")

    def __init__(self, key: str, fields: Fields, valid: bool) -> None:
        self.key = key
        self.fields = fields
        self.valid = valid


class GroupReader:
    """Makes the members of one group of a table. Errors are added to ``errors``, and notes to ``notes``.

    ``peer`` is the algorithm of Kamailio or OpenSIPS that the rows were written for, None if it is not known.
    ``skip``: rows with errors are left out, and those that stay get the shares that they would have without them, as in
    Kamailio and OpenSIPS.
    """

    def __init__(
        self,
        schema: Schema,
        table: str,
        group: str,
        peer: PeerAlgorithm | None,
        fit: Fit,
        skip: bool,
        errors: list[RowError],
        notes: list[Note],
    ) -> None:
        self._schema = schema
        self._table = table
        self._group = group
        self._peer = peer
        self._fit = fit
        self._skip = skip
        self._errors = errors
        self._notes = notes

    def members(self, rows: Sequence[ParsedRow]) -> tuple[MemberSettings, ...]:
        """The members that ``rows`` define. If a row has errors, the result counts with ``skip`` only."""
        if len(rows) > limits.SET_MEMBERS:
            message = f"expected at most {limits.SET_MEMBERS} members of the set {self._group!r}, found {len(rows)}"
            self._errors.append(RowError(self._table, "", self._schema.group, message, "too-many-members"))
            return ()
        while True:
            notes: list[Note] = []
            made = self._make(rows, notes)
            if made is None:
                return ()
            good = [row for row, member in zip(rows, made, strict=True) if member is not None]
            if len(good) == len(rows) or not self._skip or not good:
                break
            rows = good  # once more, since the shares of the others depend on the rows that are left out
        self._notes += notes
        pairs = [(row, member) for row, member in zip(rows, made, strict=True) if member is not None]
        return tuple(self._each_once(pairs))

    def _make(self, rows: Sequence[ParsedRow], notes: list[Note]) -> list[MemberSettings | None] | None:
        """The member of each row, None for one with an error; None if the rows as a whole have one."""
        usable = [row for row in rows if row.valid] if self._skip else rows
        placed = self._placed(usable, notes)
        ranks = sorted({place.rank for place in placed})
        if self._schema.ranked and len(ranks) > _MOST_PRIORITIES:
            found = f"in the set {self._group!r}, found {len(ranks)}"
            message = f"expected at most {_MOST_PRIORITIES} priorities {found}"
            self._errors.append(RowError(self._table, "", "priority", message))
            return None
        priorities = {rank: number for number, rank in enumerate(ranks)} if self._schema.ranked else {}
        by_row = dict(zip(map(id, usable), placed, strict=True))
        return [self._member(row, by_row.get(id(row)), priorities) for row in rows]

    def _placed(self, rows: Sequence[ParsedRow], notes: list[Note]) -> list[Placed]:
        weights = [(row.fields.rank, row.fields.weights) for row in rows]
        known = [(rank, weights) for rank, weights in weights if weights is not None]
        if not known:
            return [Placed(rank, 0) for rank, _ in weights]

        def remark(index: int, text: str) -> None:
            columns: Weights | None = rows[index].fields.weights
            notes.append(Note(self._table, rows[index].key, "" if columns is None else columns.column, text))

        priorities = len({rank for rank, _ in known})
        if self._peer is not None and not self._peer.ordered and priorities > 1:
            text = f"priorities only order the set there with this algorithm, and are left out ({priorities} of them)"
            notes.append(Note(self._table, "", f"set {self._group}", text))
        return place(known, self._peer, remark)

    def _member(self, row: ParsedRow, placed: Placed | None, priorities: Mapping[int, int]) -> MemberSettings | None:
        fields = row.fields
        values = dict(fields.values)
        if placed is not None:
            values["priority"] = priorities.get(placed.rank, placed.rank)
            if fields.weights is not None:
                values["weight"] = placed.weight
        problems = list(_invalid_fields(values))
        member: MemberSettings | None = None
        if not problems and row.valid:
            member = MemberSettings(**values)
            problems = list(self._fit(member))
            kind = "unreachable"
        else:
            kind = "bad-value"
        for name, message in problems:
            column = fields.columns.get(name, name)
            if name == "weight" and fields.weights is not None:
                column = fields.weights.column
            self._errors.append(RowError(self._table, row.key, column, message, kind))
        return None if problems else member

    def _each_once(self, pairs: Sequence[tuple[ParsedRow, MemberSettings]]) -> Iterator[MemberSettings]:
        """The members, each address once; Kamailio and OpenSIPS send as many shares to one as it has rows."""
        first: dict[ResolvedAddress | ServerUri, str] = {}
        merged: dict[ResolvedAddress | ServerUri, MemberSettings] = {}
        for row, member in pairs:
            key = member.target or member.server_uri
            if key not in merged:
                first[key], merged[key] = row.key, member
                continue
            column = row.fields.columns.get("uri", "uri")
            if not self._schema.repeats:
                message = f"expected each member once, found the address of row {first[key]} again"
                self._errors.append(RowError(self._table, row.key, column, message, "duplicate-member"))
                continue
            text = f"is the address of row {first[key]} again: that member gets the shares of both"
            if member.socket != merged[key].socket:
                text += ", by the socket of that row"
            self._notes.append(Note(self._table, row.key, column, text))
            together = _merged(merged[key], member)
            if self._peer is not None and self._peer.last_first:
                del merged[key]  # it has the place of its last row
            merged[key] = together
        members = list(merged.values())
        if self._peer is not None and self._peer.last_first:
            members.reverse()
            members.sort(key=lambda member: member.priority)
        yield from members


def _merged(member: MemberSettings, other: MemberSettings) -> MemberSettings:
    """One member in the place of two rows with its address: the sum of both, without a part that is disabled."""
    if other.disabled:
        return member
    if member.disabled:
        return other
    bounds = (member.max_calls, other.max_calls)
    first, second = (member, other) if member.priority <= other.priority else (other, member)
    weight = first.weight + (second.weight if second.priority == first.priority else 0)
    return attrs.evolve(
        member,
        weight=min(weight, limits.MEMBER_WEIGHT),
        priority=first.priority,
        max_calls=None if None in bounds else min(sum(filter(None, bounds)), limits.CALLS_MOST),
    )


def _invalid_fields(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every field that :class:`MemberSettings` would refuse, with its error, so that one does not hide the next."""
    for name, value in values.items():
        validator = _FIELDS[name].validator
        if validator is not None and value != "":  # a missing text was reported before
            try:
                validator(None, _FIELDS[name], value)
            except ValueError as error:
                yield name, str(error)
