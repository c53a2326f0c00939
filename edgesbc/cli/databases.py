"""``edgesbc check`` of the databases of a policy: whether they answer, and whether their rows are right."""

from __future__ import annotations

from typing import NamedTuple

from edgesbc.base.errors import PolicyError
from edgesbc.inventory.rows import TableErrors
from edgesbc.policy.model import Policy
from edgesbc.policy.reachability import fit_for, sockets_of
from edgesbc.store.databases import DatabaseError, TableQuery, read_database
from edgesbc.store.destination_source import group_of

__all__ = ["DatabaseCheck", "tried"]


class DatabaseCheck(NamedTuple):
    """What is wrong with databases, every bad row included; what of their rows has no counterpart here; and how many
    members they have."""

    mistakes: list[PolicyError]
    notes: list[str]
    members: int


def tried(policy: Policy) -> DatabaseCheck:
    """What the databases of ``policy`` say now.

    Reads each once, and blocks for that. One that no set asks for is left out.
    """
    mistakes: list[PolicyError] = []
    notes: list[str] = []
    members = 0
    for index, each in enumerate(policy.database):
        groups = frozenset(group_of(one) for one in policy.destinations if one.database == each.name)
        if not groups:
            continue
        wanted = TableQuery(groups, sockets_of(policy.listen), fit_for(policy.listen))
        here = f"database[{index}]"
        try:
            reading = read_database(each, policy.edge.state_dir, wanted)
        except DatabaseError as error:
            mistakes.append(PolicyError(policy.file, here, str(error)))
        except TableErrors as errors:
            mistakes += [PolicyError(policy.file, here, str(error)) for error in errors.errors]
        else:
            notes += map(str, reading.groups.notes)
            asked = (group_of(one) for one in policy.destinations if one.database == each.name)
            members += sum(len(reading.groups.members[group]) for group in asked)
    return DatabaseCheck(mistakes, notes, members)
