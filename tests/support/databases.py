"""PostgreSQL and MariaDB as processes of a test: on free ports, in a folder of their own, stopped by their ids."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from support.running import PATIENCE, free_port

USER, PASSWORD, DATABASE = "edge", "p@ss:w/rd", "sip"

# The columns, their types and names are those of the projects' own scripts; kept short, since only reading is tested.
KAMAILIO = """create table dispatcher (
    id {serial}, setid int default 0 not null, destination varchar(192) default '' not null,
    flags int default 0 not null, priority int default 0 not null, attrs varchar(128) default '' not null,
    description varchar(64) default '' not null)"""
OPENSIPS = """create table ods (
    id {serial}, setid int default 0 not null, destination char(192) default '' not null, socket char(128),
    state int default 0 not null, probe_mode int default 0 not null, weight char(64) default '1' not null,
    priority int default 0 not null, attrs char(128), description char(64))"""
LOAD_BALANCER = """create table load_balancer (
    id {serial}, group_id int default 0 not null, dst_uri char(128) not null, resources char(255) not null,
    probe_mode int default 0 not null, attrs char(255), description char(128))"""
OURS = """create table destinations (
    id {serial}, set_name varchar(64) not null, uri varchar(255) not null, weight int not null default 1,
    priority int not null default 0, max_calls int, max_cps numeric(8, 2), socket varchar(64), resources varchar(255),
    strip int not null default 0, prepend varchar(64), disabled {truth}, attributes text, unique (set_name, uri))"""
TABLES = (KAMAILIO, OPENSIPS, LOAD_BALANCER, OURS)
SQLITE = {"serial": "integer primary key autoincrement not null", "truth": "boolean not null default 0"}


class Server:
    """A database server; ``url`` has no password."""

    serial: dict[str, str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def connect(self, **options: Any) -> Any:
        raise NotImplementedError

    def run(self, *command: str, **more: Any) -> None:
        done = subprocess.run(command, capture_output=True, check=False, cwd=self.folder, **more, **self.identity())
        assert done.returncode == 0, done.stdout + done.stderr

    def identity(self) -> dict[str, Any]:
        """Neither server runs as root."""
        owner = self.folder.stat()
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def start(self) -> None:
        deadline = time.monotonic() + 3 * PATIENCE
        while True:
            if self.process is None or self.process.poll() is not None:
                # A server that was killed leaves children that hold its shared memory for a moment.
                assert time.monotonic() < deadline, self.log.read_text()
                with self.log.open("wb") as stream:
                    self.process = subprocess.Popen(
                        self.command(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=self.folder,
                        **self.identity(),
                    )  # fmt: skip
            if self.ready():
                return
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def ready(self) -> bool:
        """Whether the database accepts queries."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill the server, as if its machine lost power."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop the server: the kernel accepts connections, but no query is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT if isinstance(self, PostgreSQL) else signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def execute(self, *statements: str) -> None:
        connection = self.connect()
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
        finally:
            connection.close()

    def fill(self) -> None:
        self.execute(*(table.format(**self.serial) for table in TABLES))


class PostgreSQL(Server):
    serial = {"serial": "serial primary key not null", "truth": "boolean not null default false"}  # noqa: RUF012

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def program(self, name: str) -> str:
        paths = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), *filter(None, [shutil.which(name)])]
        assert paths, f"{name} is not installed (as root, `make peers` installs it)"
        return str(paths[0])

    def prepare(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(secret, "postgres")
        self.run(
            self.program("initdb"), "-D", str(self.folder / "data"), "-U", USER, "--pwfile", str(secret),
            "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale", "C",
        )  # fmt: skip
        self.start()
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"create database {DATABASE}")
        connection.close()

    def command(self) -> list[str]:
        settings = {
            "port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
            "max_connections": "20", "shared_buffers": "16MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.folder / "data"), *options]

    def ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, **options: Any) -> Any:
        database = DATABASE if (self.folder / "ready").exists() else "postgres"
        options = {"user": USER, "password": PASSWORD, "dbname": database, **options}
        return psycopg.connect(host="127.0.0.1", port=self.port, connect_timeout=5, **options)


class MariaDB(Server):
    serial = {  # noqa: RUF012
        "serial": "int unsigned auto_increment primary key not null", "truth": "boolean not null default false",
    }  # fmt: skip

    @property
    def url(self) -> str:
        return f"mysql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def program(self, name: str) -> str:
        path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        assert path, f"{name} is not installed (as root, `make peers` installs it)"
        return path

    def prepare(self) -> None:
        data = self.folder / "data"
        self.run(
            self.program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db",
            "--auth-root-authentication-method=normal",
        )  # fmt: skip
        self.start()
        self.execute(
            f"create database {DATABASE}",
            f"create user {USER}@'127.0.0.1' identified by '{PASSWORD}'",
            f"create user {USER}@localhost identified by '{PASSWORD}'",
            f"grant all on {DATABASE}.* to {USER}@'127.0.0.1'",
            f"grant all on {DATABASE}.* to {USER}@localhost",
        )

    def command(self) -> list[str]:
        return [
            self.program("mariadbd"), "--no-defaults", f"--datadir={self.folder / 'data'}", f"--port={self.port}",
            "--bind-address=127.0.0.1", f"--socket={self.folder / 's'}", f"--pid-file={self.folder / 'pid'}",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--skip-log-bin",
        ]  # fmt: skip

    def ready(self) -> bool:
        return b"ready for connections" in self.log.read_bytes()  # PyMySQL leaves its socket open where nobody listens

    def connect(self, **options: Any) -> Any:
        if not (self.folder / "ready").exists():
            return pymysql.connect(unix_socket=str(self.folder / "s"), user="root", connect_timeout=5)
        options = {"user": USER, "password": PASSWORD, "database": DATABASE, **options}
        return pymysql.connect(host="127.0.0.1", port=self.port, connect_timeout=5, **options)


@contextmanager
def database_server(kind: type[Server]) -> Iterator[Server]:
    """A server with the tables of :data:`TABLES`, empty. Its folder is its own: other users cannot see pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="edgesbc-"))
    server: Any = kind(folder)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres" if kind is PostgreSQL else "mysql")
        server.prepare()
        (folder / "ready").touch()
        server.fill()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
