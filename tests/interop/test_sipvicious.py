"""Debian's sipvicious against an edge: it finds no user, and the edge reports it (THREATS 32)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import trio
from support.peers import needs
from support.registrar import Registrar
from support.running import at, policy_text, running
from support.ua import Ua, UdpWire

pytestmark = needs("svwar")

_SECONDS = 7
"""Seconds until it is stopped: it would wait longer for answers that never come."""


async def sipvicious(folder: Path, *command: str) -> str:
    """Run a command of sipvicious for at most :data:`_SECONDS`. Returns its output."""
    process = await trio.lowlevel.open_process(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "HOME": str(folder)}, cwd=folder,
    )  # fmt: skip
    output = b""
    with trio.move_on_after(_SECONDS):
        assert process.stdout is not None
        async for chunk in process.stdout:
            output += chunk
    if process.poll() is None:
        process.kill()
    await process.wait()
    return output.decode()


@pytest.mark.parametrize(
    "command",
    [
        ("svmap", "-p{port}", "127.0.0.1"),
        ("svwar", "-p{port}", "-e100-110", "127.0.0.1"),
        ("svwar", "-p{port}", "-mINVITE", "-e100-110", "--force", "127.0.0.1"),
        ("svwar", "-p{port}", "-mOPTIONS", "-e100-110", "--force", "127.0.0.1"),
        ("svcrack", "-p{port}", "-u100", "-r100-120", "127.0.0.1"),
    ],
    ids=lambda command: "-".join(command[:1] + tuple(word.strip("-") for word in command if word.startswith("-m"))),
)
async def test_sipvicious_finds_nothing(tmp_path: Path, command: tuple[str, ...]) -> None:
    """User 100 has the password 105, which is among the passwords that svcrack tries."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "pbx") as pbx,
        running(tmp_path, policy_text(tmp_path, [f"sip:{pbx.address}"])) as app,
        trio.open_nursery() as nursery,
    ):
        registrar = Registrar(pbx, {"100": "105"})
        nursery.start_soon(registrar.run)
        port = str(at(app, "public-udp").port)
        output = await sipvicious(tmp_path, *(word.format(port=port) for word in command))
        nursery.cancel_scope.cancel()
        assert registrar.requests == []
        assert app.edge.pipeline.counts["scanner", "scanner"] > 0
        assert "reqauth" not in output
        assert "| 105" not in output
        assert any("known scanner" in line for line in app.why("127.0.0.1").sentences())


@pytest.mark.parametrize(
    "command",
    [
        ("svwar", "-p{port}", "-e200-500", "--force", "--maximumtime=4", "127.0.0.1"),
        ("svcrack", "-p{port}", "-u100", "-r50-150", "127.0.0.1"),
    ],
    ids=["svwar", "svcrack"],
)  # fmt: skip
async def test_without_the_scanner_stage_sipvicious_finds_nothing_and_is_penalised(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Without the stage ``scanner``, which knows its name and the shape of its requests. Users 100 and 490 exist.

    The stage ``guess`` counts responses, so more attempts than its limit reach the registrar when they are under way at
    the same time. User 490, which svwar looks for, comes long after these.
    """
    more = '[screen]\nstages = ["acl", "pike", "ratelimit", "sanity", "method", "guess", "admission", "overload"]'
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "pbx") as pbx,
        running(tmp_path, policy_text(tmp_path, [f"sip:{pbx.address}"], more=more)) as app,
        trio.open_nursery() as nursery,
    ):
        registrar = Registrar(pbx, {"100": "105", "490": "105"})
        nursery.start_soon(registrar.run)
        port = str(at(app, "public-udp").port)
        output = await sipvicious(tmp_path, *(word.format(port=port) for word in command))
        nursery.cancel_scope.cancel()
        assert registrar.requests
        assert "| 105" not in output
        assert "| 100 " not in output
        assert "| 490 " not in output
        assert len(app.edge.pipeline.penalties) > 0
        assert any("reason guess" in line or "reason pike" in line for line in app.why("127.0.0.1").sentences())
