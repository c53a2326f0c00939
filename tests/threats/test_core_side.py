"""THREATS 58: packets from outside at a listener of the private side, by the public device or from other sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.running import at, policy_text, running
from support.ua import Ua, UdpWire

from edgesbc.base.reasons import Reason

ROOT = Path(__file__).parents[2]
SERVER = """
import json, select, sys
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.transport.sockets import open_listeners
device = sys.argv[1]
settings = [
    ListenSettings(zone=Zone.PUBLIC, transport=Transport.UDP, bind=Source("203.0.113.1", 5060)),
    ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source("10.0.0.1", 5060), device=device),
    ListenSettings(zone=Zone.CORE, transport=Transport.TCP, bind=Source("10.0.0.1", 5060), device=device),
]
public, datagrams, streams = [opened.sock for opened in open_listeners(settings)]
print("ready", flush=True)
sys.stdin.readline()
hosts = {"datagrams": [], "streams": []}
while select.select([datagrams], [], [], 0)[0]:
    hosts["datagrams"].append(datagrams.recvfrom(100)[1][0])
while select.select([streams], [], [], 0)[0]:
    hosts["streams"].append(streams.accept()[1][0])
print(json.dumps(hosts), flush=True)
"""
SENDER = """
import select, socket, sys
for host in sys.argv[1:]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        sock.sendto(b"x", ("10.0.0.1", 5060))
with socket.socket() as sock:
    sock.setblocking(False)
    sock.bind((sys.argv[1], 0))
    sock.connect_ex(("10.0.0.1", 5060))
    select.select([], [sock], [], 0.2)
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str, str]]:
    """The machine of the edge, a host on its public network, and one on its private network."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("only root makes network namespaces, with ip of iproute2")
    names = [f"core-side-{os.getpid()}-{role}" for role in ("edge", "outside", "inside")]
    edge, outside, inside = names
    made: list[str] = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        for device, host, network, of in (("pub0", "1", "203.0.113", outside), ("int0", "1", "10.0.0", inside)):
            ip("-n", edge, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", of)
            ip("-n", edge, "address", "add", f"{network}.{host}/24", "dev", device)
            ip("-n", of, "address", "add", f"{network}.9/24", "dev", "eth0")
            ip("-n", edge, "link", "set", device, "up")
            ip("-n", of, "link", "set", "eth0", "up")
        ip("-n", outside, "address", "add", "10.0.0.77/32", "dev", "eth0")
        ip("-n", outside, "route", "add", "10.0.0.1", "via", "203.0.113.1")
        ip("-n", edge, "route", "add", "10.0.0.77", "dev", "pub0")
        for name in ("all", "pub0"):  # so that the kernel itself does not drop forged sources
            ip("netns", "exec", edge, "sh", "-c", f"echo 0 > /proc/sys/net/ipv4/conf/{name}/rp_filter")
        yield edge, outside, inside
    finally:
        for name in made:
            ip("netns", "delete", name)


def python(namespace: str, script: str, *arguments: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, sys.executable, "-c", script, *arguments]


def arrivals(namespaces: tuple[str, str, str], device: str) -> dict[str, list[str]]:
    """The sources of the datagrams and connections that a core listener gets: first those from outside are sent, then
    those from inside."""
    edge, outside, inside = namespaces
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        python(edge, SERVER, device), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        for namespace, hosts in ((outside, ["203.0.113.9", "10.0.0.77"]), (inside, ["10.0.0.9"])):
            subprocess.run(python(namespace, SENDER, *hosts), check=True, timeout=30)
        output, _ = server.communicate("\n", timeout=30)
    found: dict[str, list[str]] = json.loads(output)
    return found


@pytest.mark.parametrize("device", ["", "int0"])
def test_58_a_packet_by_the_public_device_does_not_reach_the_private_address(
    namespaces: tuple[str, str, str], device: str
) -> None:
    assert arrivals(namespaces, device) == {"datagrams": ["10.0.0.9"], "streams": ["10.0.0.9"]}


def test_58_without_the_check_it_would(namespaces: tuple[str, str, str]) -> None:
    """A listener of ``any`` device shows that the packets of these tests arrive."""
    found = arrivals(namespaces, "any")
    assert found == {"datagrams": ["203.0.113.9", "10.0.0.77", "10.0.0.9"], "streams": ["203.0.113.9", "10.0.0.9"]}


async def test_58_a_source_that_is_not_of_the_private_side_gets_no_answer(tmp_path: Path) -> None:
    policy = policy_text(tmp_path, ["sip:127.0.0.11:9"], more='[core]\nallow = ["127.0.0.12/32"]')
    async with (
        running(tmp_path, policy) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "core-udp"))) as stranger,
        Ua(await UdpWire.open("127.0.0.12", peer=at(app, "core-udp"))) as server,
    ):
        for ua in (stranger, server):
            await ua.dialog(f"sip:{at(app, 'core-udp')}").send("OPTIONS")
        await server.response(200)
        assert stranger.heard == []
        assert app.edge.pipeline.counts["core", "core-source"] == 1
        assert any(Reason.CORE_SOURCE.meaning in line for line in app.ledger.ask("127.0.0.66").sentences())
