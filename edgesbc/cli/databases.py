"""The part of ``edgesbc check`` that reads the databases of a policy and validates their rows."""

from __future__ import annotations

from typing import NamedTuple

from edgesbc.base.errors import PolicyError
from edgesbc.inventory.rows import TableErrors
from edgesbc.policy.model import Policy
from edgesbc.policy.reachability import fit_for, sockets_of
from edgesbc.store.databases import DatabaseError, read_database
from edgesbc.store.destination_source import group_of, query_for

__all__ = ["DatabaseCheck", "check_databases"]


class DatabaseCheck(NamedTuple):
    """Mistakes of databases and of their rows, notes about values without a counterpart here, and the number of
    members."""

    mistakes: list[PolicyError]
    notes: list[str]
    members: int


def check_databases(policy: Policy) -> DatabaseCheck:
    """Read and validate the databases of ``policy`` that a destination set uses. Blocks."""
    mistakes: list[PolicyError] = []
    notes: list[str] = []
    members = 0
    for index, database in enumerate(policy.database):
        query = query_for(database, policy.destinations, sockets_of(policy.listen), fit_for(policy.listen))
        if not query.groups:
            continue
        key = f"database[{index}]"
        try:
            reading = read_database(database, policy.edge.state_dir, query)
        except DatabaseError as error:
            mistakes.append(PolicyError(policy.file, key, str(error)))
        except TableErrors as errors:
            mistakes += [PolicyError(policy.file, key, str(error)) for error in errors.errors]
        else:
            notes += [f"{error}; the row is left out" for error in reading.groups.skipped]
            notes += map(str, reading.groups.notes)
            used_groups = (group_of(settings) for settings in policy.destinations if settings.database == database.name)
            members += sum(len(reading.groups.members[group]) for group in used_groups)
    return DatabaseCheck(mistakes, notes, members)
