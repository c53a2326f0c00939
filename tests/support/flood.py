"""A flood of datagrams to loopback, in a process of its own: every method without a dialog, from many addresses.

Stops by itself: after ``count`` datagrams, or when it has taken four times as long as ``count`` at ``rate`` takes.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import time

METHODS = ("INVITE", "REGISTER", "OPTIONS", "SUBSCRIBE", "MESSAGE", "BYE", "ACK", "CANCEL")
STATELESS = METHODS[3:]
"""The methods that the edge refuses or drops without keeping state, whatever their source."""
BURST = 0.002
IP_PKTINFO = 8  # linux/in.h; Python's socket module does not name it


def request(method: str, number: int, uri: str) -> bytes:
    contact = "Contact: <sip:a@127.0.0.1>\r\n" if method in ("INVITE", "REGISTER", "SUBSCRIBE") else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKflood{number};rport\r\n"
        f"From: <sip:flood@example.org>;tag={number}\r\nTo: <sip:9@example.org>\r\nCall-ID: flood-{number}\r\n"
        f"CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{contact}Content-Length: 0\r\n\r\n"
    ).encode()


def source(address: int) -> list[tuple[int, int, bytes]]:
    """Ancillary data for sendmsg(2): the kernel sends from this address of loopback (IP_PKTINFO, ip(7))."""
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, address.to_bytes(4, "big"), bytes(4)))]


def flood(edge: tuple[str, int], rate: int, count: int, several: int, rotating: int) -> int:
    """Send the flood. Every second datagram has one of ``several`` source addresses and any method; the others have one
    of ``rotating`` addresses and a method in :data:`STATELESS`. Returns how many were sent."""
    if not ipaddress.ip_address(edge[0]).is_loopback:
        raise ValueError("only to loopback")
    first, second = (int(ipaddress.ip_address(text)) for text in ("127.1.0.1", "127.2.0.1"))
    few = [source(first + n) for n in range(several)]
    many = [source(second + n) for n in range(rotating)]
    uri = f"sip:9@{edge[0]}:{edge[1]}"
    began = time.monotonic()
    give_up = began + 4 * count / rate
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        while sent < count and time.monotonic() < give_up:
            due = min(count, int((time.monotonic() - began) * rate))
            while sent < due:
                turn = sent >> 1
                if sent & 1:
                    data, ancillary = request(METHODS[turn % 8], sent, uri), few[turn % several]
                else:
                    data, ancillary = request(STATELESS[turn % 5], sent, uri), many[turn % rotating]
                sock.sendmsg([data], ancillary, 0, edge)
                sent += 1
            time.sleep(BURST)
    return sent


if __name__ == "__main__":
    host, port, *numbers = sys.argv[1:]
    print(json.dumps(flood((host, int(port)), *map(int, numbers))), flush=True)
