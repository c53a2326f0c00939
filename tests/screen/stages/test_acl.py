"""Stage acl."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.acl import Acl, AclSettings, ListenerAcl
from edgesbc.screen.standing import Standings

SETTINGS = AclSettings(deny=("192.0.2.0/24", "2001:db8::/32"), allow=("192.0.2.7",))


@pytest.mark.parametrize(
    ("host", "passes"),
    [("192.0.2.1", False), ("192.0.2.7", True), ("192.0.3.1", True), ("2001:db8::9", False), ("2001:db9::9", True)],
)
def test_denied_prefixes_and_their_exceptions(flow, subject, host: str, passes: bool) -> None:
    acl = Acl(SETTINGS, Standings())
    for phase in acl.phases:
        assert (acl.judge(subject(of=flow(host=host)), phase, 1.0) is PASS) == passes


def test_without_denied_prefixes_the_stage_has_no_phases() -> None:
    assert Acl(AclSettings(allow=("192.0.2.7",)), Standings()).phases == frozenset()


def test_the_first_packet_of_an_address_is_recorded_and_the_list_of_them_is_bounded(
    flow, subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REMEMBERED_ADDRESSES", 10)
    acl = Acl(SETTINGS, Standings())
    quiet = []
    for n in (1, 1, 2, 1):
        verdict = acl.judge(subject(of=flow(host=f"192.0.2.{n}")), Phase.PACKET, 1.0)
        assert isinstance(verdict, Drop)
        quiet.append(verdict.quiet)
    assert quiet == [False, True, False, True]
    for n in range(20, 200):
        acl.judge(subject(of=flow(host=f"192.0.2.{n}")), Phase.PACKET, 1.0)
        assert len(acl._recorded) <= 10


def test_rules_of_one_listener(flow, subject) -> None:
    closed = ListenerAcl("carriers", deny=("0.0.0.0/0", "::/0"), allow=("198.51.100.0/28",))
    acl = Acl(AclSettings(deny=("203.0.113.0/24",), listeners=(closed,)), Standings())
    assert acl.phases == {Phase.ACCEPT, Phase.PACKET}

    def passes(listener: str, host: str) -> bool:
        return acl.judge(subject(of=flow(listener, host)), Phase.PACKET, 1.0) is PASS

    assert passes("udp", "198.51.100.7")
    assert not passes("udp", "192.0.2.1")
    assert not passes("udp", "2001:db8::1")
    assert passes("tls", "192.0.2.1")
    assert not passes("tls", "203.0.113.1")


def test_a_listener_cannot_allow_what_is_denied_everywhere(flow, subject) -> None:
    welcoming = ListenerAcl("carriers", allow=("192.0.2.0/24",))
    acl = Acl(AclSettings(deny=("192.0.2.0/24",), listeners=(welcoming,)), Standings())
    assert acl.judge(subject(of=flow(host="192.0.2.1")), Phase.PACKET, 1.0) is not PASS


def test_a_listener_may_be_listed_once() -> None:
    with pytest.raises(ValueError, match="each listener once"):
        AclSettings(listeners=(ListenerAcl("a"), ListenerAcl("a")))
