"""The RTP of ``bench relay``, in a process of its own: sends, receives, and says what was lost and how late it was.

Latency is from just before a packet is sent to the kernel's time stamp of its arrival, so that what the
generator itself does in between counts for nobody.
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

__all__ = ["main"]

PACKET_BYTES = 172
"""RTP header and 20 ms of G.711."""
INTERVAL = 0.020
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the socket module has no name for it
_TIMESPEC = struct.Struct("@qq")
_HEAD = struct.Struct("!BBHIIqB")  # the RTP header (RFC 3550 section 5.1), when it was sent, whether it counts
_PADDING = bytes(PACKET_BYTES - _HEAD.size)
_SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
)


class End:
    """One party of a flow: a socket, what it sent and what it got of what counts."""

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
            pass  # counts as sent and will be missed
        self.sent += counts

    def drain(self) -> None:
        """Take what has come; each packet brings the kernel's time of its arrival."""
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


class Control:
    """A client of NG: one command at a time, sent again when no answer comes."""

    def __init__(self, host: str, port: int) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((host, port))
        self._sock.settimeout(0.5)
        self._cookie = 0

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """The reply. Raises ``OSError`` where none comes, ``ValueError`` for a refusal."""
        self._cookie += 1
        frame = ng.frame(f"bench_{self._cookie}", command)
        for _ in range(20):
            try:
                self._sock.send(frame)
                reply = ng.parse_frame(self._sock.recv(65_535))[1]
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.05)
                continue
            if reply.get("result") == "error":
                raise ValueError(f"{command['command']}: {reply.get('error-reason')}")
            return reply
        raise OSError(f"nothing answers {command['command']}")


def join_directly(flows: list[tuple[End, End]]) -> None:
    for one, other in flows:
        one.sock.connect(other.sock.getsockname())
        other.sock.connect(one.sock.getsockname())


def join_through(control: Control, flows: list[tuple[End, End]]) -> None:
    """Have a relay between the ends of each flow, by offer and answer."""
    control.ask(ng.ping())
    # what both relays are to do: plain RTP, and hear nobody but the peer
    plain = {"flags": ["strict source"], "ICE": "remove", "transport-protocol": "RTP/AVP"}
    for number, (one, other) in enumerate(flows):
        call, tag, to_tag = f"bench-{number}", f"a{number}", f"b{number}"
        offered = control.ask(ng.offer(call, tag, one.sdp(), ("public", "core")) | plain)
        answered = control.ask(ng.answer(call, tag, to_tag, other.sdp()) | plain)
        other.sock.connect(_audio(offered["sdp"]))
        one.sock.connect(_audio(answered["sdp"]))


def _audio(sdp: str) -> tuple[str, int]:
    lines = sdp.splitlines()
    host = next(line.split()[-1] for line in lines if line.startswith("c="))
    return host, int(next(line.split()[1] for line in lines if line.startswith("m=audio")))


def send_for(ends: list[End], seconds: float, counts: bool) -> None:
    """Each end sends every 20 ms, one after the other, spread evenly."""
    step = INTERVAL / len(ends)
    sleep: Callable[[float], None] = time.sleep
    begin = time.monotonic()
    for number in range(round(seconds / step)):
        wait = begin + number * step - time.monotonic()
        if wait > 0.0005:
            sleep(wait)
        end = ends[number % len(ends)]
        end.send(counts)
        end.drain()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--ng", default="", metavar="HOST:PORT", help="the relay; none: the ends send to each other")
    options.add_argument("--caller", required=True, metavar="HOST", help="where one end of each flow is")
    options.add_argument("--pbx", required=True, metavar="HOST", help="where the other end is")
    options.add_argument("--flows", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--warm-up", type=float, required=True)
    chosen = options.parse_args()
    flows = [(End(chosen.caller, 2 * n + 1), End(chosen.pbx, 2 * n + 2)) for n in range(chosen.flows)]
    if chosen.ng:
        host, _, port = chosen.ng.partition(":")
        join_through(Control(host, int(port)), flows)
    else:
        join_directly(flows)
    ends = [flow[0] for flow in flows] + [flow[1] for flow in flows]
    send_for(ends, chosen.warm_up, False)
    print("start", flush=True)
    send_for(ends, chosen.seconds, True)
    print("stop", flush=True)
    time.sleep(0.3)
    for end in ends:
        end.drain()
    late = sorted(each / 1000 for end in ends for each in end.latencies)
    result = {"sent": sum(end.sent for end in ends), "received": len(late)}
    quantiles = {
        f"p{share}_us": late[min(len(late) * share // 100, len(late) - 1)] if late else 0.0 for share in (50, 99)
    }
    print(json.dumps(result | quantiles), flush=True)


if __name__ == "__main__":
    main()
