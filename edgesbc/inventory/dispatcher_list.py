"""Kamailio's ``dispatcher.list``, converted to destination sets, and these as TOML for a policy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import attrs

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.inventory.rows import Note, Row, RowError, TableErrors, plain
from edgesbc.inventory.tables import Groups, read_rows

__all__ = ["ALGORITHMS", "ImportedSets", "NoCounterpart", "as_toml", "import_list"]


class NoCounterpart(ValueError):
    """An algorithm of ``ds_select_dst`` without a counterpart; the message says what can be used instead."""


class _AlgorithmMapping(NamedTuple):
    """The counterpart of an algorithm of Kamailio's. ``ordered``: it goes by priority there too."""

    algorithm: str
    hash_on: str = "call-id"
    ordered: bool = False
    note: str = ""


ALGORITHMS: Mapping[int, _AlgorithmMapping] = {
    0: _AlgorithmMapping("hash", "call-id"),
    1: _AlgorithmMapping("hash", "from-uri"),
    2: _AlgorithmMapping("hash", "to-uri"),
    3: _AlgorithmMapping("hash", "request-user"),
    4: _AlgorithmMapping("round-robin"),
    5: _AlgorithmMapping(
        "hash", "from-uri", note="5 (hash over the user that authorizes) has no counterpart; from-uri is nearest"
    ),
    6: _AlgorithmMapping("random"),
    8: _AlgorithmMapping("priority", ordered=True),
    9: _AlgorithmMapping("weighted"),
    10: _AlgorithmMapping("least-loaded"),
    11: _AlgorithmMapping("weighted"),
    12: _AlgorithmMapping("broadcast"),
    13: _AlgorithmMapping("latency", ordered=True),
}
"""The nearest counterpart, by the algorithm number of ``ds_select_dst``."""

_NUMBER = re.compile(r"[0-9]{1,9}\Z")


class ImportedSets(NamedTuple):
    """The sets of a file, and notes about parts without a counterpart, in the order of its lines."""

    sets: tuple[SetSettings, ...]
    notes: tuple[Note, ...]


def import_list(text: str, file: str, names: Mapping[str, str], algorithm: int | None = None) -> ImportedSets:
    """The sets in ``text``; ``names`` has names for set numbers, others are named ``set-NUMBER``.

    Raises :class:`TableErrors` with every bad line, where ``table`` is ``file`` and ``key`` the line's number;
    :class:`NoCounterpart` for an algorithm that has none.
    """
    mapping = _mapping_of(algorithm)
    errors: list[RowError] = []
    notes: list[Note] = []
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            row = _row(line, file, str(number), notes)
        except ValueError as error:
            errors.append(RowError(file, str(number), "", str(error), "bad-line"))
        else:
            rows += [{**row, "id": number}] if row else []
    groups = _groups(rows, file, errors)
    if unknown := sorted(names.keys() - groups.members.keys(), key=int):
        message = f"expected the set {', '.join(unknown)}, found none of that number"
        errors.append(RowError(file, "", "setid", message, "unknown-set"))
    if errors:
        raise TableErrors(sorted(errors, key=lambda error: int(error.key or 0)))
    notes += [note._replace(key=note.key.removeprefix("id=")) for note in groups.notes]
    sets = [
        _set(number, names.get(number, f"set-{number}"), groups.members[number], mapping, file, notes)
        for number in sorted(groups.members, key=int)
    ]
    if algorithm is None:
        notes.append(Note(file, "", "", "which algorithm a set has, stands in kamailio.cfg: give --algorithm"))
    elif mapping.note:
        notes.append(Note(file, "", "", f"algorithm {mapping.note}"))
    return ImportedSets(tuple(sets), tuple(sorted(notes, key=lambda note: int(note.key or 0))))


def _mapping_of(algorithm: int | None) -> _AlgorithmMapping:
    if algorithm is None:
        return _AlgorithmMapping("weighted", ordered=True)
    if algorithm == 7:
        raise NoCounterpart(
            "algorithm 7 (hash over a variable): expected one with a counterpart; give --algorithm 0, and write"
            ' hash_on = "header:NAME" where a header field has what you hash over'
        )
    if algorithm not in ALGORITHMS:
        raise NoCounterpart(f"expected a number from 0 to 13, found {algorithm}")
    return ALGORITHMS[algorithm]


def _row(line: str, file: str, number: str, notes: list[Note]) -> dict[str, Any]:
    """The columns of a line; empty for a line without a destination. Raises ``ValueError``."""
    words = line.split()
    comment = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
    words = words[:comment]
    if len(words) > 1 and "#" in words[1]:  # a comment after a destination; in attributes # is an ordinary character
        words = [words[0], words[1].partition("#")[0]]
    if not words:
        return {}
    if len(line) > limits.DATABASE_TEXT:
        raise ValueError(f"expected at most {limits.DATABASE_TEXT} characters, found {len(line)}")
    if len(words) < 2 or not _NUMBER.match(words[0]):
        raise ValueError(f"expected SETID DESTINATION [FLAGS [PRIORITY [ATTRIBUTES]]], found {line.strip()[:60]!r}")
    row: dict[str, Any] = {"setid": str(int(words[0])), "destination": words[1]}
    rest = words[2:]
    for column in ("flags", "priority"):
        if rest and _NUMBER.match(rest[0]):
            row[column] = int(rest.pop(0))
    if rest and "=" in rest[0]:
        row["attrs"] = _without_sockets(rest.pop(0), file, number, notes)
    if rest:
        raise ValueError(f"expected flags, a priority and attributes after the destination, found {rest[0][:60]!r}")
    return row


def _without_sockets(text: str, file: str, number: str, notes: list[Note]) -> str:
    """The attributes without the sockets to send from: here those are listeners, which the list cannot name."""
    parts_left = []
    for part in text.split(";"):
        name = part.partition("=")[0]
        if name.strip() in ("socket", "sockname"):
            message = f"{plain(part.strip())} is left out: write socket = NAME of the listener that has that address"
            notes.append(Note(file, number, "attrs", message))
        else:
            parts_left.append(part)
    return ";".join(parts_left)


def _groups(rows: list[Row], file: str, errors: list[RowError]) -> Groups:
    """The members of all sets; errors in their rows are added to ``errors``."""
    numbers = {str(row["setid"]) for row in rows}
    if not rows:
        if not errors:
            errors.append(RowError(file, "", "", "expected destinations, found none", "no-rows"))
        return Groups({})
    try:
        return read_rows(rows, "kamailio-dispatcher", file, numbers, {})
    except TableErrors as table_errors:
        errors.extend(
            error._replace(key=error.key.removeprefix("id="), message=error.message.replace("row id=", "line "))
            for error in table_errors.errors
        )
        return Groups(dict.fromkeys(numbers, ()))


def _set(
    number: str,
    name: str,
    members: tuple[MemberSettings, ...],
    mapping: _AlgorithmMapping,
    file: str,
    notes: list[Note],
) -> SetSettings:
    def note(message: str) -> None:
        notes.append(Note(file, "", f"set {number}", message))

    by_priority: defaultdict[int, list[MemberSettings]] = defaultdict(list)
    for member in members:
        by_priority[member.priority].append(member)
    if mapping.algorithm == "priority":
        # Of members with one priority, Kamailio uses the last in the list first.
        members = tuple(member for priority in sorted(by_priority) for member in reversed(by_priority[priority]))
    elif not mapping.ordered and len(by_priority) > 1:
        note(f"priorities only order the set there with this algorithm, and are left out ({len(by_priority)} of them)")
        members = tuple(attrs.evolve(member, priority=0) for member in members)
    if mapping.algorithm == "least-loaded" and len({member.max_calls for member in members}) > 1:
        note("least-loaded goes by the share of max_calls in use, and Kamailio by the number of calls")
    if mapping.algorithm == "broadcast" and len(members) > limits.FORK_BRANCHES:
        note(f"broadcast goes to {limits.FORK_BRANCHES} members at most, and there are {len(members)}")
    return SetSettings(set=name, members=members, algorithm=mapping.algorithm, hash_on=mapping.hash_on)


# --- writing -----------------------------------------------------------------------------------------------


def as_toml(sets: Iterable[SetSettings]) -> str:
    """``[[destinations]]`` tables for a policy; keys with their default value are left out."""
    lines = []
    for settings in sets:
        lines += ["[[destinations]]", f"set = {_toml(settings.set)}", f"algorithm = {_toml(settings.algorithm)}"]
        if settings.algorithm == "hash":
            lines.append(f"hash_on = {_toml(settings.hash_on)}")
        lines.append("members = [")
        lines += [f"  {{ {', '.join(_pairs(member))} }}," for member in settings.members]
        lines += ["]", ""]
    return "\n".join(lines)


def _pairs(member: MemberSettings) -> Iterable[str]:
    default = MemberSettings(member.uri)
    for name in ("uri", "weight", "priority", "max_calls", "socket", "disabled", "attributes"):
        value = getattr(member, name)
        if name == "uri" or value != getattr(default, name):
            yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04x}", escaped) + '"'
