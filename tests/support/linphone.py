"""Phones of Linphone, as processes of a test: ``linphone-daemon``, which takes commands over a Unix socket."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support.namespaces import run_in
from support.phones import PASSWORD
from support.running import PATIENCE, end, until

__all__ = ["Linphone", "linphone"]

CONFIGURATION = """
[sip]
sip_port=5060
sip_tcp_port=0
sip_tls_port=0
guess_hostname=1
media_encryption=none
[rtp]
audio_rtp_port=7078
"""


class Linphone:
    """A phone that has registered. Its calls have numbers: those out and in, in order, from 1."""

    def __init__(self, link: trio.SocketStream, log: Path) -> None:
        self._link = link
        self._log = log

    async def do(self, *words: object) -> str:
        """Carry a command out. Returns what it answers, which begins with its status."""
        await self._link.send_all((" ".join(map(str, words)) + "\n").encode())
        answer = ""
        with trio.fail_after(PATIENCE):
            while "Status:" not in answer:
                data = await self._link.receive_some()
                assert data, f"linphone-daemon ended: {self._log}"
                answer += data.decode(errors="replace")
        return answer

    async def call(self, uri: str) -> int:
        """Call it. Returns the number of the call."""
        answer = await self.do("call", uri)
        found = re.search(r"Id: (\d+)", answer)
        assert found, answer
        return int(found[1])

    async def state(self, number: int) -> str:
        """The state of a call, as ``StreamsRunning``; ``gone`` after its end."""
        found = re.search(r"State: LinphoneCall(\w+)", await self.do("call-status", number))
        return found[1] if found else "gone"

    async def comes_to(self, number: int, *states: str) -> None:
        """Wait until a call is in one of these states."""

        async def is_there() -> bool:
            return await self.state(number) in states

        await until(is_there)

    async def ends(self, number: int) -> None:
        """Wait for the end of a call."""
        await self.comes_to(number, "End", "Released", "gone")

    async def is_registered(self) -> bool:
        return "LinphoneRegistrationOk" in await self.do("register-status", "ALL")

    def shown(self) -> str:
        """Its log, which has all messages."""
        return self._log.read_text(errors="replace")


@asynccontextmanager
async def linphone(folder: Path, user: str, edge: str, namespace: str) -> AsyncIterator[Linphone]:
    """A phone of ``user`` on a network of its own, registered by the edge at the address ``edge``."""
    home = folder / user
    (home / ".local" / "share" / "linphone").mkdir(parents=True)
    (home / "configuration").write_text(CONFIGURATION)
    log, link = home / "log", home / "link"
    # Linphone 5.1 puts the socket into /tmp, by a name; 5.3 takes a path.
    program = ["linphone-daemon", "--config", home / "configuration", "--log", log, "--pipe", f"..{link}"]
    with (home / "errors").open("wb") as errors:
        process = await trio.lowlevel.open_process(
            [*run_in(namespace), *program],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            cwd="/tmp",
            env={**os.environ, "HOME": str(home)},
        )
    try:
        await until(lambda: link.exists() or process.poll() is not None)
        assert process.poll() is None, (home / "errors").read_text()
        with trio.socket.socket(socket.AF_UNIX) as sock:
            await sock.connect(str(link))
            phone = Linphone(trio.SocketStream(sock), log)
            await phone.do("register", f"sip:{user}@{edge}", f"sip:{edge}", PASSWORD)
            await until(phone.is_registered)
            yield phone
    finally:
        await end(process, 5.0)
