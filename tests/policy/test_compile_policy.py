"""Trunks of a policy: those that it lists, and destinations on the public side."""

from __future__ import annotations

import pytest

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.policy.compile_policy import trunks_of
from edgesbc.policy.load import parse_policy
from edgesbc.screen.standing import Standings

PUBLIC = Listener(0, "carriers", Zone.PUBLIC, Transport.UDP, "203.0.113.10", 5060)
POLICY = """
[[listen]]
name = "carriers"
zone = "public"
transport = "udp"
bind = "203.0.113.10:5060"
[[listen]]
name = "inside"
zone = "core"
transport = "udp"
bind = "10.0.0.1:5060"
{trunk}
[[destinations]]
set = "pbx"
members = [{{ uri = "sip:10.0.0.11" }}]
[[destinations]]
set = "out"
members = [{{ uri = "sip:198.51.100.7" }}, {{ uri = "sip:192.0.2.9" }}]
[[route]]
name = "in"
from = "public"
to = "pbx"
[[route]]
name = "out"
from = "core"
to = "out"
"""


def trunk_at(host: str, port: int, *addresses: str) -> str | None:
    """The trunk of a source, with a trunk *carrier* that has these addresses."""
    listed = ", ".join(f'"{address}"' for address in addresses)
    trunk = f'[[trunk]]\nname = "carrier"\naddresses = [{listed}]' if addresses else ""
    policy = parse_policy(POLICY.format(trunk=trunk), "policy.toml")
    return Standings(trunks_of(policy)).trunk(Flow(PUBLIC, Source(host, port)))


def test_destinations_on_the_public_side_are_trunks() -> None:
    assert trunk_at("198.51.100.7", 5060) == trunk_at("192.0.2.9", 40_000) == "destinations-out"
    assert trunk_at("192.0.2.10", 5060) is trunk_at("10.0.0.11", 5060) is None


@pytest.mark.parametrize("listed", ["198.51.100.7", "198.51.100.0/24", "198.51.100.7/32"])
def test_a_destination_that_a_trunk_lists_is_that_trunk_with_its_limits(listed: str) -> None:
    assert trunk_at("198.51.100.7", 5060, listed) == "carrier"
    assert trunk_at("192.0.2.9", 5060, listed) == "destinations-out"


def test_a_trunk_of_one_port_is_that_at_its_port() -> None:
    assert trunk_at("198.51.100.7", 5060, "198.51.100.7:5060") == "carrier"
    assert trunk_at("198.51.100.7", 40_000, "198.51.100.7:5060") == "destinations-out"


def test_a_set_whose_addresses_trunks_have_is_no_trunk() -> None:
    assert trunk_at("192.0.2.9", 5060, "198.51.100.0/24", "192.0.2.0/24") == "carrier"
