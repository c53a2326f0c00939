"""Which mode of the latch the media ports of a call have: that of the trunk, of the destination set, or the default."""

from __future__ import annotations

import attrs
import pytest
from support.signalling import (
    ANSWER,
    CALLER,
    CARRIERS,
    CORE,
    CORE_TCP,
    MEMBERS,
    OFFER,
    PUBLIC,
    EdgeHarness,
    invite,
    respond,
)

from edgesbc.base.address import Flow, Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.media.commands import Answer, Offer
from edgesbc.signalling.latch_modes import LatchModes
from edgesbc.sip.message import Request

PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("198.51.100.99", 5060))


def harness(trunk: LatchMode | None = None, members: LatchMode | None = None) -> EdgeHarness:
    edge = EdgeHarness(anchor=True, latch=members)
    edge.standings.trunks["carrier"] = attrs.evolve(edge.standings.trunks["carrier"], latch=trunk)
    return edge


def modes_of(edge: EdgeHarness, default: LatchMode = LatchMode.STRICT) -> LatchModes:
    return LatchModes(edge.edge.parts.live, edge.dispatcher, default)


@pytest.mark.parametrize("trunk", [None, *LatchMode])
@pytest.mark.parametrize("members", [None, *LatchMode])
def test_offer_and_answer_have_the_mode_of_their_sender(trunk: LatchMode | None, members: LatchMode | None) -> None:
    edge = harness(trunk, members)
    edge.receive(CALLER, invite(body=OFFER))
    (offer,) = (effect.command for effect in edge.media)
    assert isinstance(offer, Offer)
    assert offer.latch is (trunk or LatchMode.STRICT)
    ((_, invited),) = edge.reply(OFFER)
    assert isinstance(invited, Request)
    edge.receive(PBX, respond(invited, 200, body=ANSWER))
    (answer,) = (effect.command for effect in edge.media)
    assert isinstance(answer, Answer)
    assert answer.latch is (members or LatchMode.STRICT)


def test_what_neither_trunk_nor_set_says_is_the_default() -> None:
    modes = modes_of(harness(members=None), LatchMode.ROAMING)
    for flow in (CALLER, PBX, STRANGER, Flow(CORE, Source("10.0.0.99", 5060))):
        assert modes.of(flow) is LatchMode.ROAMING


def test_a_stranger_with_the_address_of_a_member_has_the_default() -> None:
    """On the public side an address alone is no member."""
    modes = modes_of(harness(members=LatchMode.ROAMING))
    assert modes.of(Flow(PUBLIC, MEMBERS[0])) is LatchMode.STRICT


def test_a_member_that_calls_over_a_connection_of_its_own_has_the_mode_of_its_set() -> None:
    edge = harness(members=LatchMode.SYMMETRIC_OFF)
    modes = modes_of(edge)
    calling = Flow(CORE_TCP, Source(MEMBERS[0].host, 50_123), 7)
    assert modes.of(calling) is LatchMode.SYMMETRIC_OFF
    moved = SetSettings("pbx", members=(MemberSettings("sip:10.0.0.50:5060"),), latch=LatchMode.ROAMING)
    edge.dispatcher.reload([moved], edge.now)
    assert modes.of(calling) is LatchMode.STRICT
    assert modes.of(Flow(CORE_TCP, Source("10.0.0.50", 50_123), 8)) is LatchMode.ROAMING


def test_a_destination_that_is_a_carrier_has_the_mode_of_its_set_unless_its_trunk_says_otherwise() -> None:
    edge = harness()
    carrier = MemberSettings(f"sip:{CALLER.peer.host}:5060")
    edge.dispatcher.reload([SetSettings("out", members=(carrier,), latch=LatchMode.SYMMETRIC_OFF)], edge.now)
    modes = modes_of(edge)
    over_tcp = Flow(CARRIERS, Source(CALLER.peer.host, 40_000), 9)
    assert [modes.of(flow) for flow in (CALLER, over_tcp)] == [LatchMode.SYMMETRIC_OFF] * 2
    edge.standings.trunks["carrier"] = attrs.evolve(edge.standings.trunks["carrier"], latch=LatchMode.ROAMING)
    assert modes.of(CALLER) is LatchMode.ROAMING
