"""The process of the demo's attacker: a flood of INVITE at a steady rate, to loopback addresses only."""

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
"""Seconds between two bursts: too short to fill a receive buffer."""
PORTS = 16
"""Number of source ports of the flood; a real attacker can use any number."""
_CALL_ID = re.compile(rb"\r\nCall-ID: ([^\r]+)\r\n")


class FloodRate:
    """Computes the packets to send at a time, so that their average is ``rate`` a second, for ``seconds``.

    Raises ``ValueError`` outside the bounds of ``limits``.
    """

    __slots__ = ("_rate", "_start", "_total", "sent")

    def __init__(self, rate: int, seconds: float, start: float) -> None:
        if not 1 <= rate <= limits.DEMO_FLOOD_RATE:
            raise ValueError(f"expected 1 to {limits.DEMO_FLOOD_RATE} packets a second, found {rate}")
        if not 0 < seconds <= limits.DEMO_FLOOD_SECONDS:
            raise ValueError(f"expected up to {limits.DEMO_FLOOD_SECONDS} seconds, found {seconds:g}")
        self._rate = rate
        self._start = start
        self._total = round(rate * seconds)
        self.sent = 0

    def due(self, now: float) -> int:
        """The number of packets to send at ``now``, bounded so that the process catches up slowly after a delay."""
        behind = min(self._total, round((now - self._start) * self._rate)) - self.sent
        return max(0, min(behind, 4 + int(self._rate * TURN * 10)))

    @property
    def done(self) -> bool:
        return self.sent >= self._total


def flood(edge: Source, host: str, rate: int, seconds: float) -> dict[str, float]:
    """Send the flood. Returns the number of INVITEs sent, the number that got any response, and the times of begin and
    end.

    Raises ``ValueError`` for an address that is not loopback, or a rate or time out of bounds.
    """
    loopback(edge.host)
    loopback(host)
    flood_rate = FloodRate(rate, seconds, time.monotonic())
    sockets = [_open(host, edge) for _ in range(PORTS)]
    templates = [flood_invite(edge, Source(*sock.getsockname())) for sock in sockets]
    run = secrets.token_hex(4)
    began = time.monotonic()
    give_up = began + 2 * seconds + 5
    answered: set[bytes] = set()
    burst = 0
    while not flood_rate.done and time.monotonic() < give_up:
        burst += 1
        sock, (first, second, third, fourth) = sockets[burst % PORTS], templates[burst % PORTS]
        for number in range(flood_rate.sent, flood_rate.sent + flood_rate.due(time.monotonic())):
            name = b"%s-%d" % (run.encode(), number)
            try:
                sock.send(b"".join((first, name, second, name, third, name, fourth)))
            except OSError:
                break  # the kernel accepts no more now; the rest is sent in a later burst
            flood_rate.sent += 1
        _read_responses(sock, answered)
        time.sleep(TURN)
    ended = time.monotonic()
    for sock in sockets:
        _read_responses(sock, answered)
        sock.close()
    return {"began": began, "ended": ended, "sent": flood_rate.sent, "answered": len(answered)}


def _open(host: str, edge: Source) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    sock.connect(tuple(edge))
    return sock


def _read_responses(sock: socket.socket, answered: set[bytes]) -> None:
    """Note the INVITEs that got a response."""
    for _ in range(64):
        try:
            data = sock.recv(2048)
        except OSError:
            return
        match = _CALL_ID.search(data)
        if match is not None and data.startswith(b"SIP/2.0"):
            answered.add(match[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=split_host_port, required=True)
    parser.add_argument("--host", type=lambda text: str(ip_address(text)), default="127.0.0.66")
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    print(json.dumps(flood(options.edge, options.host, options.rate, options.seconds)), flush=True)
