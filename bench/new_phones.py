"""New phones, in a process of its own: each registers with a password, places one call, and hangs up.

Each has an address of 127.224.0.0/12 of its own, few of them in one /24. Requests are repeated as RFC 3261 section
17.1 says, until there is an answer or half a minute is over. Figures are printed as JSON at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable

__all__ = ["PASSWORD", "REALM", "Phone", "main"]

REALM, PASSWORD = "inside", "a password of all phones"
T1, T2, GIVE_UP = 0.5, 4.0, 32.0  # seconds (RFC 3261 section 17.1.1.1); Timers B and F
_FIRST = int(ipaddress.ip_address("127.224.0.1"))
_SPREAD = 0x9E3779B1  # neighbours in number are far apart
_SDP = "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=sendrecv\r\n"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Phone:
    """One phone at ``host``; ``send`` sends a message to the edge. ``step`` is what it waits for: ``REGISTER``,
    ``INVITE``, ``BYE``, or ``done`` or ``failed`` at its end."""

    def __init__(self, user: str, host: str, port: int, edge: str, send: Callable[[bytes], object], now: float) -> None:
        self.user = user
        self.step = "REGISTER"
        self.registered = False
        self.called = False
        self.repeated = 0
        self.reason = ""
        self.due = now
        """When :meth:`expire` is to be called."""
        self._contact = f"{host}:{port}"
        self._host = host
        self._edge = edge
        self._send = send
        self._tag, self._call = os.urandom(6).hex(), os.urandom(8).hex()
        self._number = 0
        self._target = f"sip:{edge}"
        self._to = f"<sip:{user}@{edge}>"
        self._routes = ""
        self._request("REGISTER", now)

    def receive(self, data: bytes, now: float) -> None:
        """Take a response to the request that it waits for; anything else is nothing."""
        head = data.partition(b"\r\n\r\n")[0].decode()
        if f"CSeq: {self._number} {self.step}\r\n" not in head + "\r\n":
            return
        status = int(head[8:11])
        if status < 200:
            if self.step == "INVITE":
                self._interval = GIVE_UP  # a provisional response ends the repetitions
                self.due = self._give_up_at
        elif self.step == "REGISTER" and status == 401 and "Authorization" not in self._last:
            values = dict(_PARAMETER.findall(_field(head, "WWW-Authenticate")))
            self._request("REGISTER", now, f"Authorization: {self._credentials(values)}\r\n")
        elif status >= 300:
            if self.step == "INVITE":
                self._acknowledge(_field(head, "To"), self._branch)
            self._fail(f"{self.step}: {status}")
        elif self.step == "REGISTER":
            self.registered = True
            self._to, self._call, self._number = f"<sip:15550123@{self._edge}>", os.urandom(8).hex(), 0
            self._target = f"sip:15550123@{self._edge}"
            self._request("INVITE", now)
        elif self.step == "INVITE":
            self._to = _field(head, "To")
            self._target = _field(head, "Contact").partition("<")[2].partition(">")[0]
            routes = re.findall(r"(?im)^record-route:\s*(.*?)\r?$", head)
            self._routes = "".join(f"Route: {route}\r\n" for route in reversed(routes))
            self._acknowledge(self._to, os.urandom(8).hex())
            self._request("BYE", now)
        else:
            self.called = True
            self.step = "done"

    def expire(self, now: float) -> None:
        """Repeat the request, or give up."""
        if now >= self._give_up_at:
            self._fail(f"{self.step}: no answer")
            return
        self.repeated += 1
        self._interval = min(2 * self._interval, GIVE_UP if self.step == "INVITE" else T2)
        self.due = min(now + self._interval, self._give_up_at)
        self._send(self._last.encode())

    def _request(self, method: str, now: float, more: str = "") -> None:
        self.step = method
        self._number += 1
        self._branch = os.urandom(8).hex()
        self._interval, self._give_up_at = T1, now + GIVE_UP
        self.due = now + T1
        contact = f"Contact: <sip:{self.user}@{self._contact}>\r\n"
        body = ""
        if method == "REGISTER":
            more += "Expires: 600\r\n"
        elif method == "INVITE":
            body = _SDP.format(host=self._host)
            more += "Content-Type: application/sdp\r\n"
        self._last = self._message(method, self._to, self._branch, self._routes + contact + more, body)
        self._send(self._last.encode())

    def _acknowledge(self, to: str, branch: str) -> None:
        self._send(self._message("ACK", to, branch, self._routes).encode())

    def _message(self, method: str, to: str, branch: str, more: str, body: str = "") -> str:
        return (
            f"{method} {self._target} SIP/2.0\r\nVia: SIP/2.0/UDP {self._contact};branch=z9hG4bK{branch};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{self.user}@{self._edge}>;tag={self._tag}\r\nTo: {to}\r\n"
            f"Call-ID: {self._call}\r\nCSeq: {self._number} {method}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def _credentials(self, challenge: dict[str, str]) -> str:
        """Of RFC 2617 without qop, which RFC 3261 section 22.4 still allows."""
        realm, nonce, uri = challenge.get("realm", ""), challenge.get("nonce", ""), self._target
        one, two = _md5(f"{self.user}:{realm}:{PASSWORD}"), _md5(f"REGISTER:{uri}")
        response = _md5(f"{one}:{nonce}:{two}")
        return f'Digest username="{self.user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}"'

    def _fail(self, reason: str) -> None:
        self.step, self.reason = "failed", reason


def _field(head: str, name: str) -> str:
    match = re.search(rf"(?im)^{name}:\s*(.*?)\r?$", head)
    return match[1] if match else ""


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def run(edge: str, rate: float, seconds: float) -> dict[str, object]:
    """Let ``rate`` phones a second begin for so many seconds, and wait for all of them."""
    host, _, port = edge.partition(":")
    ready = selectors.DefaultSelector()
    phones: dict[socket.socket, Phone] = {}
    ended: list[Phone] = []
    began = time.monotonic()
    total = round(rate * seconds)
    asked = 0
    while asked < total or phones:
        now = time.monotonic()
        while asked < total and now >= began + asked / rate:
            source = str(ipaddress.ip_address(_FIRST + (asked * _SPREAD & 0xFFFFF)))
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((source, 0))
            sock.connect((host, int(port)))
            sock.setblocking(False)
            phones[sock] = Phone(f"phone{asked}", source, sock.getsockname()[1], edge, sock.send, now)
            ready.register(sock, selectors.EVENT_READ)
            asked += 1
        due = min([phone.due for phone in phones.values()] + [began + asked / rate] * (asked < total))
        for key, _ in ready.select(max(0.0, due - now)):
            assert isinstance(key.fileobj, socket.socket)
            phones[key.fileobj].receive(key.fileobj.recv(65_536), time.monotonic())
        now = time.monotonic()
        for sock, phone in list(phones.items()):
            if phone.step not in ("done", "failed") and phone.due <= now:
                phone.expire(now)
            if phone.step in ("done", "failed"):
                ended.append(phones.pop(sock))
                ready.unregister(sock)
                sock.close()
    reasons: dict[str, int] = {}
    for phone in ended:
        if phone.reason:
            reasons[phone.reason] = reasons.get(phone.reason, 0) + 1
    return {
        "phones": asked,
        "phones_registered": sum(phone.registered for phone in ended),
        "phones_called": sum(phone.called for phone in ended),
        "phones_failed": sum(phone.step == "failed" for phone in ended),
        "phones_repeated": sum(phone.repeated for phone in ended),
        "reasons": reasons,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", required=True, metavar="HOST:PORT", help="on loopback")
    parser.add_argument("--rate", type=float, required=True, help="new phones a second")
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    if not ipaddress.ip_address(options.edge.partition(":")[0]).is_loopback:
        parser.error("only to loopback")
    print(json.dumps(run(options.edge, options.rate, options.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
