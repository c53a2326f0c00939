"""tcpdump captures the traffic of a running edge; a replay of it gives the verdicts, calls and sources of the edge."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.peers import called, needs, place
from support.running import PATIENCE, EdgeProcess, edge_process, end, free_port, listen, policy_text, until

pytestmark = [
    *(needs("sipp"), needs("tcpdump")),
    pytest.mark.skipif(os.geteuid() != 0, reason="recording packets needs root"),
]
SCANNER, FLOODER = "127.0.0.66", "127.0.0.67"
MARK = b"the last packet of the recording"


@asynccontextmanager
async def recording(file: Path, interface: str, ports: list[int]) -> AsyncIterator[None]:
    """tcpdump on loopback, for these ports only, until it has written all packets of the block.

    Its ring has slots of the snap length (``-s``): too large a slot, or too small a ring (``-B``, in KiB), gives few
    slots, and packets are lost. These values give some thousands.
    """
    wanted = " or ".join(f"port {port}" for port in ports)
    command = [
        "tcpdump",
        "-i",
        interface,
        "-Z",
        "root",
        "-U",
        "--immediate-mode",
        "-s",
        "8192",
        "-B",
        "16384",
        "-w",
        str(file),
        wanted,
    ]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    output = b""
    try:
        with trio.fail_after(PATIENCE):
            while b"listening on" not in output:
                some = await process.stderr.receive_some()
                assert some, output
                output += some
        yield
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(MARK, ("127.0.0.3", ports[0]))  # where no program listens
        await until(lambda: MARK in file.read_bytes())
        process.send_signal(signal.SIGINT)
    finally:
        await end(process)
        await process.stderr.aclose()


def ask(source: str, port: int, count: int, agent: str) -> None:
    """Send ``count`` OPTIONS to the edge, without waiting for responses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        for n in range(count):
            sock.sendto(
                (
                    f"OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {source};branch=z9hG4bK{n};rport\r\n"
                    f"From: <sip:s@{source}>;tag={n}\r\nTo: <sip:127.0.0.1:{port}>\r\nCall-ID: {source}-{n}\r\n"
                    "CSeq: 1 OPTIONS\r\n"
                    f"User-Agent: {agent}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
                ).encode(),
                ("127.0.0.1", port),
            )


async def banned(edge: EdgeProcess, count: int) -> None:
    """Wait until ``count`` sources are banned; the edge or the kernel drops all else that they send."""

    async def done() -> bool:
        return await edge.metric('edgesbc_screened_total{reason="ban"}') >= count

    await until(done)


async def replay(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "edgesbc", "replay", *arguments]
    done = await trio.run_process(command, capture_stdout=True, check=False)
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("interface", ["lo", "any"])
async def test_a_replay_of_a_recording_has_the_verdicts_of_the_edge(tmp_path: Path, interface: str) -> None:
    udp, tcp, http = free_port(), free_port(), free_port()
    async with called(tmp_path, "called", "127.0.0.11") as one:
        listeners = [
            listen("public", "udp", f"127.0.0.1:{udp}", "carriers"),
            listen("public", "tcp", f"127.0.0.1:{tcp}", "carriers-tcp"),
            listen("core", "udp", "127.0.0.2:0", "inside"),
        ]
        text = policy_text(tmp_path, [one.uri], listeners, trunks=["127.0.0.1"], http=f"127.0.0.1:{http}")
        file = tmp_path / "recorded.pcap"
        async with edge_process(tmp_path, text, http) as edge, recording(file, interface, [udp, tcp]):
            for port, over_tcp in ((udp, False), (tcp, True)):
                calls = await place(tmp_path, "caller", f"127.0.0.1:{port}", 10, 20, tcp=over_tcp)
                assert calls.status == 0, calls.errors
            await trio.to_thread.run_sync(ask, SCANNER, udp, 100, "friendly-scanner")
            await trio.to_thread.run_sync(ask, FLOODER, udp, 100, "phone")
            await banned(edge, 2)
            screened = {
                reason: await edge.metric(f'edgesbc_screened_total{{reason="{reason}"}}')
                for reason in ("scanner", "pike", "ban")
            }
    strict = tmp_path / "strict.toml"
    strict.write_text(text.replace('127.0.0.1"]', '127.0.0.77"]') + '[screen.method]\npublic = ["OPTIONS"]\n')
    status, out = await replay(str(file), str(tmp_path / "policy.toml"), "--against", str(strict), "--json")
    assert status == 0
    result: dict[str, Any] = json.loads(out)
    assert result["calls"] == {"answered": 20}
    assert result["calls_left"] == 0
    assert result["requests"]["INVITE"] == result["requests"]["BYE"] == 20
    assert (result["verdicts"]["scanner"], result["verdicts"]["pike"]) == (screened["scanner"], screened["pike"])
    assert result["bans"] == screened["ban"] == 2
    sources = {source["address"]: source["messages"] for source in result["sources"]}
    assert sources[SCANNER] == sources[FLOODER] == 100  # also the messages that the kernel dropped before the edge
    differences = {(pair["live"], pair["other"]): pair["count"] for pair in result["otherwise"]["differences"]}
    assert differences["pass", "method"] >= 20
    assert (status, out) == await replay(str(file), str(tmp_path / "policy.toml"), "--against", str(strict), "--json")
