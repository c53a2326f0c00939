"""A flood of a UDP port of this machine from many sources: ``python -m support.many_sources HOST PORT COUNT [SOURCE]``.

Sends COUNT datagrams as fast as one process can, from addresses of 127.64.0.0/10, each below the limit of the rate
tracker; or all from SOURCE, from always new ports. It prints a line when it begins, and ends after ten seconds at most.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import sys
import time

DATAGRAMS_PER_SOURCE = 20
SOURCES_AT_ONCE = 100
SECONDS = 10.0
MOST = 200_000


def main(host: str, port: int, count: int, source: str = "") -> None:
    assert ipaddress.ip_address(host).is_loopback, "floods stay on loopback"
    until = time.monotonic() + SECONDS
    numbers = itertools.count(1)
    sent = 0
    print("begun", flush=True)
    while sent < min(count, MOST) and time.monotonic() < until:
        socks = []
        for _ in range(SOURCES_AT_ONCE):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((source or str(ipaddress.IPv4Address(0x7F400000 + next(numbers))), 0))
            sock.connect((host, port))
            sock.setblocking(False)
            socks.append(sock)
        for turn in range(DATAGRAMS_PER_SOURCE):
            for number, sock in enumerate(socks):
                data = message(host, port, f"{sent}-{turn}-{number}")
                try:
                    sock.send(data)
                except OSError:
                    pass  # the queue of the receiving socket is full, which is the aim
        sent += DATAGRAMS_PER_SOURCE * SOURCES_AT_ONCE
        for sock in socks:
            sock.close()


def message(host: str, port: int, unique: str) -> bytes:
    return (
        f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.64.0.1;branch=z9hG4bKf{unique};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:f@127.64.0.1>;tag=f\r\nTo: <sip:{host}>\r\nCall-ID: f{unique}\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
