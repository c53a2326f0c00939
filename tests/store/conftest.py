"""Database servers for the tests of this package: one of each kind, shared by all tests that leave it unchanged."""

from collections.abc import Iterator

import pytest
from support.databases import MariaDB, PostgreSQL, Server, database_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with database_server(PostgreSQL) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    with database_server(MariaDB) as server:
        yield server
