"""The program `openssl s_client` as a client of a running edge."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from support.running import PATIENCE, at, end

from edgesbc.app import App

__all__ = ["Client", "s_client"]


class Client:
    """A running `openssl s_client`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.output = ""

    async def reads(self, part: str) -> None:
        """Return when the client has printed ``part`` since the last call."""
        with trio.fail_after(PATIENCE):
            while part not in self.output:
                assert self.process.stdout is not None
                data = bytes(await self.process.stdout.receive_some())
                assert data, f"ended without {part!r}: {self.output}"
                self.output += data.decode("latin-1")
        self.output = self.output[self.output.index(part) + len(part) :]

    async def types(self, line: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def rest(self) -> str:
        """What it prints until it ends, which it must do by itself."""
        with trio.fail_after(PATIENCE):
            assert self.process.stdout is not None
            async for data in self.process.stdout:
                self.output += bytes(data).decode("latin-1")
            await self.process.wait()
        return self.output


@asynccontextmanager
async def s_client(app: App, transport: str, *options: str) -> AsyncIterator[Client]:
    host, port = at(app, transport)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost", *options]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield Client(process)
    finally:
        await end(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                await stream.aclose()
