"""Fuzz target: a capture file and its packets, replayed.

For any input:

- the file yields packets, or raises CaptureError with the number of the packet at which it breaks, and nothing else;
- every packet is replayed, is left out for a reason that is counted, or is a fragment: none is lost;
- every message that is replayed has a verdict, and every verdict a source;
- the same bytes give the same result.
"""

from __future__ import annotations

import io

from edgesbc.policy.load import parse_policy
from edgesbc.replay.capture import Capture, CaptureError
from edgesbc.replay.replayer import Replayer
from edgesbc.replay.result import ReplayResult

POLICY = parse_policy(
    """
listen = [
  { name = "udp", zone = "public", transport = "udp", bind = "192.0.2.1:5060" },
  { name = "tcp", zone = "public", transport = "tcp", bind = "192.0.2.1:5060" },
  { name = "any", zone = "public", transport = "udp", bind = "[::]:5060", advertise = "[2001:db8::1]" },
  { name = "inside", zone = "core", transport = "udp", bind = "10.0.0.1:5060" },
]
destinations = [{ set = "pbx", members = [{ uri = "sip:10.0.0.11" }, { uri = "sip:10.0.0.12", priority = 1 }] }]
media = { address = { public = "192.0.2.1", core = "10.0.0.1" } }
""",
    "fuzz.toml",
)
MODES = ("obliging", "captured", "silent")


def check(data: bytes) -> None:
    mode = MODES[sum(data[-8:]) % len(MODES)]
    result = replay(data, mode)
    if result is None:
        return
    assert result == replay(data, mode)
    fragments = result.notes.get("IP fragments that were not the last of their packet", 0)
    assert result.went_in + sum(result.left_out.values()) + fragments == result.packets
    assert sum(result.verdicts.values()) >= result.messages + result.connections
    assert sum(line.messages for line in result.sources) == sum(result.verdicts.values())
    if result.broken:
        assert f"packet {result.packets + 1}: " in result.broken
    if result.otherwise is not None:  # the policy that it is compared with is the same one
        assert not result.otherwise["differences"]
        assert not result.otherwise["routes"]


def replay(data: bytes, mode: str) -> ReplayResult | None:
    """The result of the replay; None if the input is not a capture."""
    try:
        capture = Capture(io.BytesIO(data))
    except CaptureError:
        return None
    return Replayer(POLICY, POLICY, inside=mode).play(capture, "fuzzed")
