"""Real phones (PJSIP) and a real proxy with a registrar (Kamailio) as processes of a test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from support.namespaces import inside, run_in
from support.peers import taken
from support.running import end, free_port, until

__all__ = ["Phone", "kamailio", "needs_phones", "phone"]

INTEROP = Path(__file__).parent.parent / "interop"
PACKAGES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgesbc" / "phones"
"""Where ``tests/interop/install-peers`` installs what ``tests/interop/phones/requirements.lock`` pins."""
PASSWORD = "secret"
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def needs_phones() -> pytest.MarkDecorator:
    """Skip tests where Kamailio or PJSIP is not installed. Not in CI, which installs both."""
    installed = PACKAGES / "installed.lock"
    is_whole = (
        shutil.which("kamailio", path=PATH) is not None
        and installed.exists()
        and installed.read_bytes() == (INTEROP / "phones" / "requirements.lock").read_bytes()
    )
    reason = "kamailio or PJSIP is not installed (as root, `make peers` installs them)"
    return pytest.mark.skipif(not is_whole and "CI" not in os.environ, reason=reason)


@asynccontextmanager
async def kamailio(folder: Path, host: str, namespace: str = "") -> AsyncIterator[str]:
    """A Kamailio with the configuration ``kamailio.cfg``, in a network namespace if one is given. Yields its URI."""
    address = f"{host}:{5060 if namespace else free_port(host)}"
    text = (INTEROP / "kamailio.cfg").read_text()
    for word, value in (("ADDRESS", address), ("REALM", "edge.test"), ("PASSWORD", PASSWORD)):
        text = text.replace(f"@{word}@", value)
    file = folder / "kamailio.cfg"
    file.write_text(text)
    command = [
        *run_in(namespace),
        shutil.which("kamailio", path=PATH) or "kamailio",
        "-DD",
        "-E",
        "-S",
        "-m",
        "32",
        "-M",
        "8",
    ]
    with (folder / "kamailio.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [*command, "-Y", str(folder), "-f", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        port = int(address.rpartition(":")[2])
        bound = partial(inside, namespace, partial(taken, host, port, datagrams=True))
        await until(lambda: bound() or process.poll() is not None)
        assert process.poll() is None, (folder / "kamailio.log").read_text()
        yield f"sip:{address}"
    finally:
        await end(process, 5.0)


class Phone:
    """A phone that has registered. ``lines`` are what it has said: see ``tests/interop/phones/pjsua_phone.py``."""

    def __init__(self, process: trio.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.lines: list[str] = []

    async def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all((" ".join(map(str, words)) + "\n").encode())

    async def says(self, line: str) -> None:
        """Wait until it has said a line that begins with ``line``."""
        await until(lambda: any(said.startswith(line) for said in self.lines))

    def messages(self, start: str = "", *parts: str) -> list[str]:
        """The messages that it has received and sent, in order, whose first line begins with ``start`` and that have
        all ``parts``."""
        text = self._log.read_text(errors="replace")
        found = re.findall(r":\d+:\n(.*?)\n--end msg--", text, re.DOTALL)
        return [message for message in found if message.startswith(start) and all(part in message for part in parts)]

    async def hears(self, number: int, packets: int = 10) -> None:
        """Wait until it has got so many more packets of audio in a call."""

        async def heard() -> int:
            before = len(self.lines)
            await self.tell("heard", number)
            await until(lambda: any(line.startswith(f"heard {number} ") for line in self.lines[before:]))
            return int(next(line for line in reversed(self.lines) if line.startswith("heard ")).split()[2])

        first = await heard()

        async def more() -> bool:
            return await heard() >= first + packets

        await until(more)

    async def gets(self, start: str, *parts: str) -> str:
        """Wait until it has received or sent such a message, and its log shows it. Returns the last one."""
        await until(lambda: bool(self.messages(start, *parts)))
        return self.messages(start, *parts)[-1]

    async def read(self) -> None:
        """Read what it says, until it ends."""
        assert self._process.stdout is not None
        rest = b""
        async for data in self._process.stdout:
            *lines, rest = (rest + data).split(b"\n")
            self.lines += [line.decode(errors="replace") for line in lines]


@asynccontextmanager
async def phone(folder: Path, name: str, user: str, host: str, edge: str, namespace: str = "") -> AsyncIterator[Phone]:
    """A phone of ``user`` at ``host``, in a network namespace if one is given, registered by the edge at the address
    ``edge``."""
    log, errors = folder / f"{name}.log", folder / f"{name}.errors"
    program = [
        *run_in(namespace),
        sys.executable,
        str(INTEROP / "phones" / "pjsua_phone.py"),
        user,
        PASSWORD,
        host,
        edge,
        str(log),
    ]
    with errors.open("wb") as stream:
        process = await trio.lowlevel.open_process(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        )
    new = Phone(process, log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(new.read)
        try:
            await until(lambda: "registered 200" in new.lines or process.poll() is not None)
            assert process.poll() is None, errors.read_text()
            yield new
        finally:
            await end(process, 5.0)
            nursery.cancel_scope.cancel()
