"""The listener of a packet, with exact, mapped and wildcard addresses."""

from __future__ import annotations

import pytest
from support.replaying import EDGE, policy

from edgesbc.base.address import Source
from edgesbc.replay.listeners import ReplayListeners, check_mapping
from edgesbc.replay.packets import Packet

SIX = """
listen = [
  { name = "six", zone = "public", transport = "udp", bind = "[::]:5060", advertise = "[2001:db8::1]" },
  { name = "any", zone = "public", transport = "tcp", bind = "0.0.0.0:5060", advertise = "192.0.2.1:5070" },
  { name = "inside", zone = "core", transport = "udp", bind = "10.0.0.1:0" },
]
media = { address = { public = "192.0.2.1", core = "10.0.0.1" } }
"""


def test_a_wildcard_matches_its_own_transport_and_address_family() -> None:
    listening = ReplayListeners(policy(listeners=SIX, admission=""), {})
    assert listening.of(False, Source("2001:db8::1", 5060)) == 0
    assert listening.of(True, Source("192.0.2.9", 5060)) == 1
    assert listening.of(False, Source("192.0.2.9", 5060)) is None
    assert listening.of(True, Source("2001:db8::1", 5060)) is None
    assert listening.of(False, Source("10.0.0.11", 5060)) is None


def test_listeners_advertise_their_own_or_mapped_address() -> None:
    to = {Source("203.0.113.9", 6000): "any", Source("203.0.113.10", 6000): "any"}
    six, any_, inside = ReplayListeners(policy(listeners=SIX, admission=""), to).listeners()
    assert (six.advertise_host, six.advertise_port) == ("2001:db8::1", 5060)
    assert (any_.advertise_host, any_.advertise_port, any_.port) == ("203.0.113.9", 6000, 5060)
    assert (inside.port, inside.advertise_port) == (5060, 5060)
    plain = ReplayListeners(policy(listeners=SIX, admission=""), {}).listeners()[1]
    assert (plain.advertise_host, plain.advertise_port) == ("192.0.2.1", 5070)


def test_every_mapped_address_leads_to_its_listener() -> None:
    to = {Source("203.0.113.9", 6000): "public-udp", Source("2001:db8::9", 6000): "public-udp"}
    listening = ReplayListeners(policy(), to)
    for source in (*to, Source(*EDGE)):
        packet = Packet(False, Source("198.51.100.7", 5062), source, b"")
        assert listening.of_packet(packet) == (0, True)
    assert listening.of_packet(Packet(False, Source(*EDGE), Source("198.51.100.7", 5062), b"")) == (0, False)


def test_an_unknown_listener_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"192\.0\.2\.1:5060=nobody: expected a listener of the policy \(public-udp, "):
        check_mapping([(Source(*EDGE), "nobody")], policy())
