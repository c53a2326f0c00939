"""The RTP endpoints of ``bench relay``, in a process of their own: count lost packets and measure latency.

Latency is from just before a packet is sent to the kernel's time stamp of its arrival, so that it does not include
work of the generator.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from bench import ng
from edgesbc.ng.messages import frame, parse_frame

__all__ = ["main"]

PACKET_BYTES = 172
"""RTP header and 20 ms of G.711."""
INTERVAL = 0.020
TURNS = 20_000
"""Packets that are sent one after the other, each when the one before has come."""
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module has no name for it
_TIMESPEC = struct.Struct("@qq")
_HEAD = struct.Struct("!BBHIIqB")  # the RTP header (RFC 3550 section 5.1), when it was sent, whether it counts
_PADDING = bytes(PACKET_BYTES - _HEAD.size)
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
)


class Endpoint:
    """One endpoint of a flow: its socket, and the measured packets that it sent and received."""

    __slots__ = ("latencies", "sent", "sequence", "sock", "ssrc")

    def __init__(self, host: str, ssrc: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.ssrc = ssrc
        self.sequence = 0
        self.sent = 0
        self.latencies: list[int] = []

    def sdp(self) -> str:
        host, port = self.sock.getsockname()
        return _SDP.format(host=host, port=port)

    def send(self, counts: bool) -> None:
        self.sequence += 1
        number = self.sequence
        head = _HEAD.pack(0x80, 0, number & 0xFFFF, number * 160, self.ssrc, time.time_ns(), counts)
        try:
            self.sock.send(head + _PADDING)
        except (BlockingIOError, ConnectionRefusedError):
            pass  # counts as sent, and so as lost
        self.sent += counts

    def drain(self) -> None:
        """Receive all queued packets, each with the kernel's time stamp of its arrival."""
        while True:
            try:
                data, ancillary, _, _ = self.sock.recvmsg(2048, 64)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if len(data) == PACKET_BYTES and ancillary:
                *_, sent_at, counts = _HEAD.unpack_from(data)
                if counts:
                    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                    self.latencies.append(seconds * 1_000_000_000 + nanoseconds - sent_at)


class NgClient:
    """An NG client: one command at a time, retransmitted while there is no reply."""

    def __init__(self, host: str, port: int) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((host, port))
        self._sock.settimeout(0.5)
        self._cookie = 0

    def send_command(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return the reply. Raises ``OSError`` without a reply, ``ValueError`` for a refusal."""
        self._cookie += 1
        datagram = frame(b"bench_%d" % self._cookie, command)
        give_up = time.monotonic() + 10.0
        while time.monotonic() < give_up:
            try:
                self._sock.send(datagram)
                reply = parse_frame(self._sock.recv(65_535))[1]
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.05)
                continue
            if reply.get("result") == "error":
                raise ValueError(f"{command['command']}: {reply.get('error-reason')}")
            return reply
        raise OSError(f"no reply to {command['command']}")


def connect_directly(flows: list[tuple[Endpoint, Endpoint]]) -> None:
    for caller, callee in flows:
        caller.sock.connect(callee.sock.getsockname())
        callee.sock.connect(caller.sock.getsockname())


def connect_through(client: NgClient, flows: list[tuple[Endpoint, Endpoint]]) -> None:
    """Connect the endpoints of each flow to the relay, by offer and answer."""
    client.send_command(ng.ping())
    # Both relays use plain RTP, and accept packets of the peer only.
    plain = {"flags": ["strict source"], "ICE": "remove", "transport-protocol": "RTP/AVP"}
    for number, (caller, callee) in enumerate(flows):
        call, tag, to_tag = f"bench-{number}", f"a{number}", f"b{number}"
        offered = client.send_command(ng.offer(call, tag, caller.sdp(), ("public", "core")) | plain)
        answered = client.send_command(ng.answer(call, tag, to_tag, callee.sdp()) | plain)
        callee.sock.connect(_audio(offered["sdp"]))
        caller.sock.connect(_audio(answered["sdp"]))


def _audio(sdp: str) -> tuple[str, int]:
    lines = sdp.splitlines()
    host = next(line.split()[-1] for line in lines if line.startswith("c="))
    return host, int(next(line.split()[1] for line in lines if line.startswith("m=audio")))


def send_for(endpoints: list[Endpoint], seconds: float, counts: bool) -> None:
    """Have each endpoint send every 20 ms, spread evenly."""
    step = INTERVAL / len(endpoints)
    sleep: Callable[[float], None] = time.sleep
    started = time.monotonic()
    for number in range(round(seconds / step)):
        wait = started + number * step - time.monotonic()
        if wait > 0.0005:
            sleep(wait)
        endpoint = endpoints[number % len(endpoints)]
        endpoint.send(counts)
        endpoint.drain()


def turn_us(caller: Endpoint, callee: Endpoint) -> float:
    """CPU time of this process for a packet that is sent and received, then the next one, in µs.

    On loopback the kernel relays a packet within the call that sends it, so that its work is in this figure.
    """
    callee.drain()
    callee.sock.settimeout(1.0)
    began = time.process_time()
    for _ in range(TURNS):
        caller.send(False)
        try:
            callee.sock.recv(2048)
        except TimeoutError:
            pass  # it is lost
    return (time.process_time() - began) / TURNS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--ng", default="", metavar="HOST:PORT", help="the relay; without it the endpoints send to each other"
    )
    parser.add_argument("--caller", required=True, metavar="HOST", help="address of one endpoint of each flow")
    parser.add_argument("--pbx", required=True, metavar="HOST", help="address of the other")
    parser.add_argument("--flows", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    options = parser.parse_args()
    flows = [(Endpoint(options.caller, 2 * n + 1), Endpoint(options.pbx, 2 * n + 2)) for n in range(options.flows)]
    if options.ng:
        host, _, port = options.ng.partition(":")
        connect_through(NgClient(host, int(port)), flows)
    else:
        connect_directly(flows)
    endpoints = [flow[0] for flow in flows] + [flow[1] for flow in flows]
    send_for(endpoints, options.warm_up, False)
    print("start", flush=True)
    send_for(endpoints, options.seconds, True)
    print("stop", flush=True)
    time.sleep(0.3)
    for endpoint in endpoints:
        endpoint.drain()
    latencies_us = sorted(latency / 1000 for endpoint in endpoints for latency in endpoint.latencies)
    result = {
        "sent": sum(endpoint.sent for endpoint in endpoints),
        "received": len(latencies_us),
        "turn_us": turn_us(*flows[0]),
    }
    quantiles = {
        f"p{share}_us": latencies_us[min(len(latencies_us) * share // 100, len(latencies_us) - 1)]
        if latencies_us
        else 0.0
        for share in (50, 99)
    }
    print(json.dumps(result | quantiles), flush=True)


if __name__ == "__main__":
    main()
