"""Kamailio's ``dispatcher.list``, converted to destination sets, and these as TOML for a policy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from edgesbc.base import limits
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.inventory.peer_algorithms import KAMAILIO, PeerAlgorithm, WeightRule
from edgesbc.inventory.rows import Note, Row, RowError, TableErrors, plain
from edgesbc.inventory.tables import Groups, read_rows

__all__ = ["ALGORITHMS", "ImportedSets", "NoCounterpart", "as_toml", "import_list"]


class NoCounterpart(ValueError):
    """An algorithm of ``ds_select_dst`` without a counterpart; the message says what can be used instead."""


ALGORITHMS = KAMAILIO
"""The counterparts, by the number that ``ds_select_dst`` is given."""

_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_NEGATIVE = re.compile(r"-[0-9]+\Z")


class ImportedSets(NamedTuple):
    """The sets of a file, and notes about parts without a counterpart, in the order of its lines."""

    sets: tuple[SetSettings, ...]
    notes: tuple[Note, ...]


def import_list(text: str, file: str, names: Mapping[str, str], algorithm: int | None = None) -> ImportedSets:
    """The sets in ``text``; ``names`` has names for set numbers, others are named ``set-NUMBER``.

    Raises :class:`TableErrors` with every bad line, where ``table`` is ``file`` and ``key`` the line's number;
    :class:`NoCounterpart` for an algorithm that has none.
    """
    peer = _peer_algorithm(algorithm)
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
    groups = _groups(rows, file, algorithm, errors)
    if unknown := sorted(names.keys() - groups.members.keys(), key=int):
        message = f"expected the set {', '.join(unknown)}, found none of that number"
        errors.append(RowError(file, "", "setid", message, "unknown-set"))
    if errors:
        raise TableErrors(sorted(errors, key=lambda error: int(error.key or 0)))
    notes += [
        note._replace(key=note.key.removeprefix("id="), message=note.message.replace("row id=", "line "))
        for note in groups.notes
    ]
    sets = [
        _set(number, names.get(number, f"set-{number}"), groups.members[number], peer, file, notes)
        for number in sorted(groups.members, key=int)
    ]
    if algorithm is None:
        notes.append(Note(file, "", "", "which algorithm a set has, stands in kamailio.cfg: give --algorithm"))
    elif peer is not None and peer.note:
        notes.append(Note(file, "", "", f"algorithm {peer.note}"))
    return ImportedSets(tuple(sets), tuple(sorted(notes, key=lambda note: int(note.key or 0))))


def _peer_algorithm(algorithm: int | None) -> PeerAlgorithm | None:
    if algorithm is None:
        return None
    if algorithm == 7:
        raise NoCounterpart(
            "algorithm 7 (hash over a variable): expected one with a counterpart; give --algorithm 0, and write"
            ' hash_on = "header:NAME" where a header field has what you hash over'
        )
    if algorithm not in KAMAILIO:
        raise NoCounterpart(f"expected a number from 0 to 13, found {algorithm}")
    return KAMAILIO[algorithm]


def _row(line: str, file: str, number: str, notes: list[Note]) -> dict[str, Any]:
    """The columns of a line, split as ``ds_load_list`` does; empty for a line without a destination.

    Raises ``ValueError``.
    """
    words = line.split()
    if len(words) > 1 and "#" in words[1]:  # a comment after a destination
        words = [words[0], words[1].partition("#")[0]]
    if not words or words[0].startswith("#"):
        return {}
    if len(line) > limits.DATABASE_TEXT:
        raise ValueError(f"expected at most {limits.DATABASE_TEXT} characters, found {len(line)}")
    if len(words) < 2 or not words[1] or not _NUMBER.match(words[0]):
        raise ValueError(f"expected SETID DESTINATION [FLAGS [PRIORITY [ATTRIBUTES]]], found {line.strip()[:60]!r}")
    row: dict[str, Any] = {"setid": str(int(words[0])), "destination": words[1]}
    rest = words[2:]
    for column in ("flags", "priority"):
        if rest and _NUMBER.match(rest[0]):
            row[column] = int(rest.pop(0))
    if rest and not rest[0].startswith("#"):
        row["attrs"] = text = rest.pop(0)
        if _NEGATIVE.match(text):
            notes.append(
                Note(file, number, "attrs", f"{plain(text)} is no priority in a list of Kamailio's, which is 0")
            )
        if rest and not rest[0].startswith("#"):
            message = f"{plain(' '.join(rest))} is left out: nothing is read after the attributes, which end at a blank"
            notes.append(Note(file, number, "attrs", message))
    return row


def _groups(rows: list[Row], file: str, algorithm: int | None, errors: list[RowError]) -> Groups:
    """The members of all sets; errors in their rows are added to ``errors``."""
    numbers = {str(row["setid"]) for row in rows}
    if not rows:
        if not errors:
            errors.append(RowError(file, "", "", "expected destinations, found none", "no-rows"))
        return Groups({})
    algorithms = {} if algorithm is None else dict.fromkeys(numbers, algorithm)
    try:
        return read_rows(rows, "kamailio-dispatcher", file, numbers, None, algorithms=algorithms)
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
    peer: PeerAlgorithm | None,
    file: str,
    notes: list[Note],
) -> SetSettings:
    if peer is None:
        return SetSettings(set=name, members=members)
    algorithm = peer.algorithms[0]
    if peer.weights is WeightRule.EVEN and any(member.weight > 1 for member in members):
        algorithm = peer.algorithms[-1]  # a destination that is listed twice has two shares
    if algorithm == "broadcast" and len(members) > limits.FORK_BRANCHES:
        message = f"broadcast goes to {limits.FORK_BRANCHES} members at most, and there are {len(members)}"
        notes.append(Note(file, "", f"set {number}", message))
    return SetSettings(set=name, members=members, algorithm=algorithm, hash_on=peer.hash_on)


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
