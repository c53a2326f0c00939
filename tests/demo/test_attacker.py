"""The attacker: its rate, its bounds, and its INVITE, which the edge must accept as valid."""

from __future__ import annotations

import socket

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.demo.attacker import FloodRate, flood
from edgesbc.demo.messages import flood_invite
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message


def test_the_rate_is_kept_on_average() -> None:
    rate = FloodRate(1000, 2, 100.0)
    for millisecond in range(1001):
        rate.sent += rate.due(100 + millisecond / 1000)
    assert rate.sent == 1000
    assert not rate.done


def test_no_more_is_due_than_the_whole_flood() -> None:
    rate = FloodRate(1000, 0.01, 0.0)
    for _ in range(10):
        rate.sent += rate.due(1e6)
    assert rate.sent == 10
    assert rate.done
    assert rate.due(1e6) == 0


def test_a_process_that_was_held_up_does_not_catch_up_at_once() -> None:
    assert FloodRate(20_000, 10, 0.0).due(5.0) < 20_000 / 50


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(0, 1), (limits.DEMO_FLOOD_RATE + 1, 1), (1, 0), (1, limits.DEMO_FLOOD_SECONDS + 1), (1, float("nan"))],
)
def test_the_rate_is_bounded(rate: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        FloodRate(rate, seconds, 0.0)


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::1", "8.8.8.8", "example.com"])
def test_only_loopback_is_flooded(host: str) -> None:
    with pytest.raises(ValueError):
        flood(Source(host, 5060), "127.0.0.66", 1, 0.001)
    with pytest.raises(ValueError):
        flood(Source("127.0.0.1", 5060), host, 1, 0.001)


def test_all_requests_arrive_and_are_different_calls() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.settimeout(5)
        victim.bind(("127.0.0.1", 0))
        report = flood(Source(*victim.getsockname()), "127.0.0.66", 500, 0.1)
        requests = [parse_message(victim.recv(4096)) for _ in range(50)]
    assert report["sent"] == 50
    assert report["answered"] == 0
    assert {request.call_id for request in requests} == {f"{requests[0].call_id.split('-')[0]}-{n}" for n in range(50)}
    assert len({request.via.branch for request in requests}) == 50


def test_the_invite_is_valid() -> None:
    message = parse_message(b"7".join(flood_invite(Source("127.0.0.1", 5060), Source("127.0.0.66", 4000))))
    assert isinstance(message, Request)
    assert message.method == "INVITE"
    assert (message.from_tag, message.call_id, message.via.branch) == ("7", "7", "z9hG4bK7")
    assert message.body.startswith(b"v=0")
