"""Policies and messages for replays, and a function that replays frames and returns the result."""

from __future__ import annotations

import io
from collections.abc import Iterable

from support.captures import Timed, pcap

from edgesbc.base.address import Source
from edgesbc.policy.load import parse_policy
from edgesbc.policy.model import Policy
from edgesbc.replay.capture import Capture
from edgesbc.replay.replayer import Replayer
from edgesbc.replay.result import ReplayResult

EDGE = ("192.0.2.1", 5060)
PHONE = ("198.51.100.7", 5062)
MEMBER = ("10.0.0.11", 5060)

LISTENERS = """
listen = [
  { name = "public-udp", zone = "public", transport = "udp", bind = "192.0.2.1:5060" },
  { name = "public-tcp", zone = "public", transport = "tcp", bind = "192.0.2.1:5060" },
  { name = "public-tls", zone = "public", transport = "tls", bind = "192.0.2.1:5061" },
  { name = "browsers", zone = "public", transport = "ws", bind = "192.0.2.1:8080" },
  { name = "inside", zone = "core", transport = "udp", bind = "10.0.0.1:5060" },
]
"""


OPEN = '[screen.admission]\nopen = ["public-udp", "public-tcp"]\n'
"""Unknown sources may call over UDP and TCP, which a replay can read from a capture."""


def policy(more: str = "", listeners: str = LISTENERS, file: str = "edge.toml", admission: str = OPEN) -> Policy:
    """A policy with two destinations. Unknown sources may call, unless ``admission`` is another table; ``more`` are
    further tables."""
    more = f"{admission}{more}"
    members = '{ uri = "sip:10.0.0.11:5060" }, { uri = "sip:10.0.0.12:5060", priority = 1 }'
    return parse_policy(f'{listeners}\ndestinations = [{{ set = "pbx", members = [{members}] }}]\n{more}', file)


def make_replayer(more: str = "", inside: str = "obliging", **options: object) -> Replayer:
    return Replayer(policy(more), inside=inside, **options)  # type: ignore[arg-type]


def replay_frames(frames: Iterable[Timed], one: Replayer | None = None, link: int = 1) -> ReplayResult:
    return (one or make_replayer()).play(Capture(io.BytesIO(pcap(frames, link))), "test.pcap")


def message(
    method: str = "INVITE",
    call_id: str = "c1",
    cseq: int = 1,
    branch: str = "b1",
    to_tag: str = "",
    uri: str = "sip:100@192.0.2.1",
    extra: str = "",
    transport: str = "UDP",
    source: tuple[str, int] = PHONE,
) -> bytes:
    """A request of a phone."""
    to = f";tag={to_tag}" if to_tag else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {source[0]}:{source[1]};branch=z9hG4bK{branch};rport\r\n"
        f"From: <sip:alice@example.org>;tag=alice\r\nTo: <sip:100@192.0.2.1>{to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:alice@{source[0]}:{source[1]}>\r\nMax-Forwards: 70\r\n{extra}"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def answer(request: bytes, status: int, to_tag: str = "bob", extra: str = "") -> bytes:
    """A response of the captured edge to the phone."""
    lines = request.decode().split("\r\n")
    copied = [line for line in lines if line.startswith(("Via:", "From:", "Call-ID:", "CSeq:"))]
    to = next(line for line in lines if line.startswith("To:")).partition(";tag=")[0]
    head = "\r\n".join([f"SIP/2.0 {status} Whatever", *copied, f"{to};tag={to_tag}"])
    return f"{head}\r\n{extra}Content-Length: 0\r\n\r\n".encode()


def source_of(text: str) -> Source:
    host, _, port = text.rpartition(":")
    return Source(host, int(port))
