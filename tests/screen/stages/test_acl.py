"""Stage acl."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.acl import Acl, AclSettings
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


def test_with_nothing_to_deny_it_is_not_asked() -> None:
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
        assert len(acl._told) <= 10
