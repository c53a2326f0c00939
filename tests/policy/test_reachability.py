"""Members that the listeners can reach, from a policy and from a table."""

from __future__ import annotations

import pytest

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.policy.model import ListenSettings
from edgesbc.policy.reachability import fit_for, sockets_of, unreachable_members

LISTENERS = [
    ListenSettings(Zone.PUBLIC, Transport.UDP, Source("192.0.2.1", 5060), name="carriers"),
    ListenSettings(Zone.CORE, Transport.UDP, Source("10.0.0.1", 5060), name="inside"),
    ListenSettings(Zone.CORE, Transport.TCP, Source("2001:db8::1", 5070), name="six"),
]


@pytest.mark.parametrize(
    ("uri", "socket", "field", "text"),
    [
        ("sip:10.0.0.11", None, "", ""),
        ("sip:sip.example.com", None, "", ""),
        ("sip:203.0.113.7", "carriers", "", ""),
        ("sip:[2001:db8::7];transport=tcp", None, "", ""),
        ("sip:10.0.0.11;transport=tcp", None, "uri", "needs a [[listen]] of zone core with tcp over IPv4"),
        ("sip:[2001:db8::7]", None, "uri", "with udp over IPv6"),
        ("sips:sip.example.com", None, "uri", "with tls"),
        ("sip:10.0.0.1:5060", None, "uri", "is the listener inside of this edge"),
        ("sip:10.0.0.11", "nowhere", "socket", "expected the name of a listener, found 'nowhere'"),
        ("sip:10.0.0.11", "six", "socket", "found 'six' with tcp over IPv6"),
    ],
)
def test_mistakes_of_reachability(uri: str, socket: str | None, field: str, text: str) -> None:
    unreachable = list(unreachable_members(MemberSettings(uri, socket=socket), LISTENERS))
    assert list(fit_for(LISTENERS)(MemberSettings(uri, socket=socket))) == unreachable
    assert [name for name, _ in unreachable] == ([field] if field else [])
    assert all(text in message for _, message in unreachable)


def test_a_broken_listener_causes_no_second_mistake() -> None:
    member = MemberSettings("sip:10.0.0.11;transport=tls", socket="broken")
    assert list(unreachable_members(member, LISTENERS, False, {"broken"}.__contains__)) == []
    assert list(unreachable_members(MemberSettings("sip:10.0.0.11;transport=tls"), LISTENERS, False)) == []


def test_listeners_by_address() -> None:
    assert sockets_of(LISTENERS) == {
        "udp:192.0.2.1:5060": "carriers", "udp:10.0.0.1:5060": "inside", "tcp:2001:db8::1:5070": "six",
    }  # fmt: skip
