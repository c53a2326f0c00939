"""Real SIP programs as processes of a test: started on ports of their own, stopped by their own ids."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import end, free_port, until

_LISTENING = "0A"
SCENARIOS = Path(__file__).parent.parent / "interop" / "scenarios"


def needs(program: str, path: str | None = None) -> pytest.MarkDecorator:
    """Skip tests where a program is not installed. Not in CI, which installs all: a skip would hide a mistake."""
    missing = shutil.which(program, path=path) is None and "CI" not in os.environ
    return pytest.mark.skipif(missing, reason=f"{program} is not installed (as root, `make peers` installs it)")


def needs_compiler() -> pytest.MarkDecorator:
    """Skip tests where C cannot be compiled: Debian's package gcc comes without the headers of the C library."""
    compiler = shutil.which("cc")
    command = [str(compiler), "-fsyntax-only", "-x", "c", "-"]
    works = (
        compiler is not None
        and not subprocess.run(
            command, input=b"#include <stdio.h>\n", stderr=subprocess.DEVNULL, check=False
        ).returncode
    )
    reason = "no C compiler with the headers of C is installed (as root, `make peers` installs them)"
    return pytest.mark.skipif(not works and "CI" not in os.environ, reason=reason)


def taken(host: str, port: int, datagrams: bool) -> bool:
    """Whether a process has bound the address: then the program there is ready.

    Read from the kernel's table, that of the network namespace of this thread. To try to bind the address could take
    it from the program.
    """
    six = ":" in host
    address = array("I", socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, host))
    wanted = {"".join(f"{word:08X}" for word in words) + f":{port:04X}" for words in (address, [0] * len(address))}
    table = Path(f"/proc/thread-self/net/{'udp' if datagrams else 'tcp'}{'6' if six else ''}")
    lines = [line.split()[1:4] for line in table.read_text().splitlines()[1:]]
    return any(local in wanted and (datagrams or state == _LISTENING) for local, _, state in lines)


class Called:
    """A sipp that takes calls."""

    def __init__(self, host: str, port: int, tcp: bool, process: trio.Process) -> None:
        self.uri = f"sip:{host}:{port}" + (";transport=tcp" if tcp else "")
        self.process = process


def _sipp(folder: Path, scenario: str, host: str, port: int, tcp: bool, *more: str) -> list[str]:
    name = f"{scenario}-{port}"
    return [
        *("sipp", "-sf", str(SCENARIOS / f"{scenario}.xml"), "-i", host, "-p", str(port)),
        *("-t", "t1" if tcp else "u1", "-nostdin", "-mi", host, "-mp", str(free_port(host))),
        *("-trace_err", "-error_file", str(folder / f"{name}.errors")),
        *("-trace_msg", "-message_file", str(folder / f"{name}.messages")),
        *more,
    ]


@asynccontextmanager
async def called(folder: Path, scenario: str, host: str, tcp: bool = False) -> AsyncIterator[Called]:
    """A sipp that takes calls by ``scenario`` and echoes their audio."""
    port = free_port(host)
    command = _sipp(folder, scenario, host, port, tcp, "-aa", "-rtp_echo")
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
    )
    try:
        await until(lambda: taken(host, port, not tcp) or process.poll() is not None)
        assert process.poll() is None, "sipp did not start"
        yield Called(host, port, tcp, process)
    finally:
        await end(process, 1.0)


class Calls:
    """The result of the calls that a sipp placed."""

    def __init__(self, status: int, messages: str, errors: str) -> None:
        self.status = status
        self.messages = messages
        self.errors = errors

    @property
    def received(self) -> str:
        """The messages that it received, without those that it sent."""
        parts = self.messages.split("-----------------------------------------------")
        return "\n".join(part for part in parts if "message received" in part[:300])


async def place(
    folder: Path, scenario: str, peer: str, calls: int, rate: int, hold: int = 100, tcp: bool = False, host: str = ""
) -> Calls:
    """Place calls by ``scenario`` and wait for the end of the last."""
    host = host or "127.0.0.1"
    port = free_port(host)
    arguments = ("-m", str(calls), "-r", str(rate), "-d", str(hold), "-s", "100", "-timeout", "40s", "-timeout_error")
    command = [*_sipp(folder, scenario, host, port, tcp, *arguments), peer]
    with trio.fail_after(60):
        ended = await trio.run_process(
            command, check=False, cwd=folder, capture_stdout=True, capture_stderr=True, stdin=b""
        )
    name = f"{scenario}-{port}"
    return Calls(ended.returncode, _read(folder / f"{name}.messages"), _read(folder / f"{name}.errors"))


def _read(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
