"""A real name server for tests: dnsmasq on a free port, with the records of the test, stopped by its process id."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.peers import needs, taken
from support.running import end, free_port, until

HOST = "127.0.0.1"
ZONE = "example.test"
_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_PROGRAM = shutil.which("dnsmasq", path=_PATH)

needs_name_server = needs("dnsmasq", _PATH)


class NameServer:
    """dnsmasq with :data:`ZONE` and no upstream server. ``records`` are lines of its configuration."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: trio.Process | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def start(self, records: Iterable[str]) -> None:
        file = self.folder / "dnsmasq.conf"
        own = ("no-resolv", "no-hosts", "no-poll", f"local=/{ZONE}/", "local-ttl=1", "bind-interfaces")
        file.write_text("\n".join((*own, f"listen-address={HOST}", f"port={self.port}", *records, "")))
        assert _PROGRAM is not None
        command = [_PROGRAM, "--no-daemon", f"--conf-file={file}", "--user=", "--pid-file"]
        with (self.folder / "dnsmasq.log").open("ab") as log:
            process = self._process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
        await until(lambda: taken(HOST, self.port, datagrams=True) or process.poll() is not None)
        assert process.poll() is None, (self.folder / "dnsmasq.log").read_text()

    async def stop(self) -> None:
        if self._process is not None:
            await end(self._process)
            self._process = None

    async def restart(self, records: Iterable[str]) -> None:
        """The same server with other records."""
        await self.stop()
        await self.start(records)


@asynccontextmanager
async def name_server(folder: Path, *records: str) -> AsyncIterator[NameServer]:
    await trio.Path(folder).mkdir(exist_ok=True)
    server = NameServer(folder, free_port(HOST))
    try:
        await server.start(records)
        yield server
    finally:
        await server.stop()
