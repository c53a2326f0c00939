"""THREATS 64: strangers keep the edge busy, so that messages of calls wait, are repeated, and fail."""

from __future__ import annotations

import socket
from pathlib import Path

from support.running import at, policy_text, running, until

from edgesbc.base import limits
from edgesbc.base.address import Flow, Zone

STRANGERS, OTHERS = 300, 10 * limits.UDP_BATCH
KEEP_ALIVE = b"\r\n\r\n"


async def test_64_strangers_wait_while_messages_of_the_private_side_do(tmp_path: Path) -> None:
    """What strangers cause there comes back by the queue that has the responses of calls."""
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        heard: list[Zone] = []

        def hear(flow: Flow, data: bytes, now: float) -> None:
            heard.append(flow.listener.zone)

        for udp in app.plane._udp.values():
            udp._receive = hear
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        ):
            stranger.bind(("127.0.0.66", 0))
            server.bind(("127.0.0.11", 0))
            for sock, name, count in ((stranger, "public-udp", STRANGERS), (server, "core-udp", OTHERS)):
                for _ in range(count):
                    sock.sendto(KEEP_ALIVE, at(app, name))
            await until(lambda: len(heard) == STRANGERS + OTHERS)
    last = max(index for index, zone in enumerate(heard) if zone is Zone.CORE)
    waited_for = heard[:last].count(Zone.PUBLIC)
    # A turn before the edge knows, and between two turns of the private side at most two of strangers.
    assert waited_for <= limits.UDP_BATCH + 2 * limits.UDP_UNTRUSTED_LEAST * OTHERS / limits.UDP_BATCH
    assert waited_for > 0, "they are served even then"
