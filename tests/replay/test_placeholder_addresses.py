"""Placeholder addresses: one for each name, with a transport of the policy's listeners."""

from __future__ import annotations

import pytest
from support.captures import frame, udp
from support.replaying import EDGE, LISTENERS, OPEN, PHONE, message, replay_frames

from edgesbc.base.address import Listener, Transport, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.policy.load import parse_policy
from edgesbc.replay.placeholder_addresses import assign_placeholders
from edgesbc.replay.replayer import Replayer

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
CORE_UDP = Listener(0, "core-udp", Zone.CORE, UDP, "10.0.0.1", 5060)
CORE_TLS = Listener(1, "core-tls", Zone.CORE, TLS, "2001:db8::1", 5061)
PUBLIC_UDP = Listener(2, "public-udp", Zone.PUBLIC, UDP, "192.0.2.1", 5060)
PUBLIC_TCP = Listener(3, "public-tcp", Zone.PUBLIC, TCP, "192.0.2.1", 5060)


@pytest.mark.parametrize(
    ("uri", "addresses"),
    [
        ("sip:pbx.example.com", [("198.18.0.1", 5060, UDP)]),
        ("sip:pbx.example.com:5080", [("198.18.0.1", 5080, UDP)]),
        ("sips:pbx.example.com", [("2001:2::1", 5061, TLS)]),
        ("sip:pbx.example.com;transport=tcp", [("198.18.0.1", 5060, TCP)]),
    ],
)
def test_a_name_has_an_address_that_the_edge_can_send_to(uri: str, addresses: list[tuple[str, int, Transport]]) -> None:
    dispatcher = Dispatcher([SetSettings("pbx", members=(MemberSettings(uri),))], lambda: 0.5, 0.0)
    assign_placeholders(dispatcher, [PUBLIC_UDP, PUBLIC_TCP, CORE_TLS, CORE_UDP], 0.0)
    assert [(*member.target, member.transport) for member in dispatcher.members()] == addresses


def test_each_name_has_its_own_address_and_one_without_a_listener_has_none() -> None:
    members = tuple(
        MemberSettings(f"sip:{host}") for host in ("b.example.com", "a.example.com", "x.test;transport=tcp")
    )
    dispatcher = Dispatcher([SetSettings("pbx", members=members)], lambda: 0.5, 0.0)
    assign_placeholders(dispatcher, [CORE_UDP], 0.0)
    assert [member.target.host for member in dispatcher.members()] == ["198.18.0.2", "198.18.0.1"]


def test_a_call_to_a_name_is_played() -> None:
    text = f'{LISTENERS}\ndestinations = [{{ set = "pbx", members = [{{ uri = "sip:pbx.example.com" }}] }}]\n{OPEN}'
    result = replay_frames([(1.0, frame(udp(PHONE, EDGE, message())))], Replayer(parse_policy(text, "edge.toml")))
    assert result.forwarded["198.18.0.1:5060 INVITE"] == 1
