"""The demo's attacker, in a process of its own: INVITEs at a steady rate, to loopback addresses only."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import time
from ipaddress import ip_address

from edgesbc.base import limits
from edgesbc.base.address import Source, split_host_port
from edgesbc.demo.children import loopback
from edgesbc.demo.messages import flood_invite

__all__ = ["FloodRate", "flood"]

TURN = 0.001
"""Seconds between two bursts: short beside what fills a receive buffer."""
PORTS = 16
"""Ports that the flood comes from; a real one has as many as it likes."""
_CALL_ID = re.compile(rb"\r\nCall-ID: ([^\r]+)\r\n")


class FloodRate:
    """How many packets are due at a time, so that ``rate`` a second is kept on average for ``seconds``.

    Raises ``ValueError`` outside the bounds of ``limits``.
    """

    __slots__ = ("_most", "_rate", "_start", "sent")

    def __init__(self, rate: int, seconds: float, start: float) -> None:
        if not 1 <= rate <= limits.DEMO_FLOOD_RATE:
            raise ValueError(f"expected 1 to {limits.DEMO_FLOOD_RATE} packets a second, found {rate}")
        if not 0 < seconds <= limits.DEMO_FLOOD_SECONDS:
            raise ValueError(f"expected up to {limits.DEMO_FLOOD_SECONDS} seconds, found {seconds:g}")
        self._rate = rate
        self._start = start
        self._most = round(rate * seconds)
        self.sent = 0

    def due(self, now: float) -> int:
        """Packets to send at ``now``: a burst is bounded, so that a process that was held up catches up slowly."""
        behind = min(self._most, round((now - self._start) * self._rate)) - self.sent
        return max(0, min(behind, 4 + int(self._rate * TURN * 10)))

    @property
    def done(self) -> bool:
        return self.sent >= self._most


def flood(edge: Source, host: str, rate: int, seconds: float) -> dict[str, float]:
    """Send; returns what was sent, to how many INVITEs anything came back, and when it began and ended.

    Raises ``ValueError`` for an address that is not loopback, or a rate or time out of bounds.
    """
    loopback(edge.host)
    loopback(host)
    pace = FloodRate(rate, seconds, time.monotonic())
    sockets = [_open(host, edge) for _ in range(PORTS)]
    templates = [flood_invite(edge, Source(*sock.getsockname())) for sock in sockets]
    run = secrets.token_hex(4)
    began = time.monotonic()
    give_up = began + 2 * seconds + 5
    answered: set[bytes] = set()
    turn = 0
    while not pace.done and time.monotonic() < give_up:
        turn += 1
        sock, (first, second, third, fourth) = sockets[turn % PORTS], templates[turn % PORTS]
        for number in range(pace.sent, pace.sent + pace.due(time.monotonic())):
            name = b"%s-%d" % (run.encode(), number)
            try:
                sock.send(b"".join((first, name, second, name, third, name, fourth)))
            except OSError:
                break  # the kernel takes no more just now; it is tried again
            pace.sent += 1
        _hear(sock, answered)
        time.sleep(TURN)
    ended = time.monotonic()
    for sock in sockets:
        _hear(sock, answered)
        sock.close()
    return {"began": began, "ended": ended, "sent": pace.sent, "answered": len(answered)}


def _open(host: str, edge: Source) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    sock.connect(tuple(edge))
    return sock


def _hear(sock: socket.socket, answered: set[bytes]) -> None:
    """Note which INVITEs were answered by anything at all."""
    for _ in range(64):
        try:
            data = sock.recv(2048)
        except OSError:
            return
        found = _CALL_ID.search(data)
        if found is not None and data.startswith(b"SIP/2.0"):
            answered.add(found[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=split_host_port, required=True)
    parser.add_argument("--host", type=lambda text: str(ip_address(text)), default="127.0.0.66")
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    print(json.dumps(flood(given.edge, given.host, given.rate, given.seconds)), flush=True)
