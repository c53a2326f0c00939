"""An offer changes nothing until it is answered, and one that is taken back has changed nothing (RFC 3261 section 14.1,
RFC 3311 section 5.3, RFC 6337 section 3.4)."""

from __future__ import annotations

import pytest
from support.media import TableHarness, answer, offer, sdp

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import Acknowledge, Consent, Offer, Rollback
from edgesbc.media.latch import NO_TARGET

CALLER, CALLEE = "198.51.100.1", "10.0.0.11"
VIDEO = "m=video 4002 RTP/AVP 99\r\n"
BOTH = VIDEO.replace("4002", "4012")

CHANGES = {
    "hold by address": sdp("0.0.0.0"),
    "hold by direction": sdp("192.0.2.9", audio="a=inactive\r\n"),
    "another address": sdp("192.0.2.9"),
    "another port": sdp("192.0.2.9", 6000),
    "audio rejected, video added": sdp("192.0.2.9", 0, more=BOTH),
    "video added": sdp("192.0.2.9", more=BOTH),
    "RTCP on the RTP port": sdp("192.0.2.9", audio="a=rtcp-mux\r\n"),
    "the same": "",
}


def a_call(harness: TableHarness, video: bool = False) -> None:
    more = VIDEO if video else ""
    harness.ok(offer("c", "a", sdp(CALLER, more=more)))
    harness.ok(answer("c", "a", "b", sdp(CALLEE, more=more)))


def new_offer(side: str, description: str) -> Offer:
    """An offer of one side inside the call."""
    if side == "a":
        return offer("c", "a", description or sdp(CALLER), answerer="b")
    described = (description or sdp(CALLEE)).replace("192.0.2.9", "10.0.0.12")
    return offer("c", "b", described, Zone.CORE, answerer="a")


def roll_back(harness: TableHarness, offerer: str) -> None:
    assert harness.table.receive(Rollback("c", offerer), 0.0) is None


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_an_offer_that_is_taken_back_changes_nothing(side: str, video: bool, change: str) -> None:
    harness = TableHarness()
    a_call(harness, video)
    agreed = harness.targets()
    harness.ok(new_offer(side, CHANGES[change]))
    assert harness.targets().items() >= agreed.items()  # the media of the call goes on meanwhile
    roll_back(harness, side)
    assert harness.targets() == agreed
    (session,) = harness.table.sessions()
    assert [bool(end.held) for end in session.sides] == [False, False]


@pytest.mark.parametrize("side", ["a", "b"])
def test_the_answer_changes_all_that_the_offer_asked_for(side: str) -> None:
    harness = TableHarness()
    a_call(harness, video=True)
    harness.ok(new_offer(side, sdp("192.0.2.9", 6000)))
    other = "b" if side == "a" else "a"
    answered = harness.ok(answer("c", side, other, sdp(CALLEE if side == "a" else CALLER)))
    zone, host = (Zone.PUBLIC, "192.0.2.9") if side == "a" else (Zone.CORE, "10.0.0.12")
    assert harness.facing(zone, answered).rtp.send_to == Source(host, 6000)
    assert len(harness.targets()) == 2  # the ports of the video are closed
    roll_back(harness, side)  # there is nothing to take back any more
    assert harness.facing(zone, answered).rtp.send_to == Source(host, 6000)


def test_a_section_that_an_offer_adds_can_be_sent_to_its_offerer_at_once() -> None:
    """The answerer may send as soon as it has the offer (RFC 3264 section 5.1)."""
    harness = TableHarness()
    a_call(harness)
    offered = harness.ok(new_offer("a", sdp("192.0.2.9", more=BOTH)))
    pair = harness.facing(Zone.CORE, offered, section=1)
    assert pair.rtp == NO_TARGET
    assert pair.other is not None
    assert pair.other.rtp.send_to == Source("192.0.2.9", 4012)  # type: ignore[attr-defined]


def test_early_media_of_the_first_offer_goes_to_the_caller_before_any_answer() -> None:
    harness = TableHarness()
    harness.ok(offer("c", "a", sdp(CALLER)))
    assert Source(CALLER, 4000) in [rtp.send_to for rtp, _ in harness.targets().values()]


def test_a_first_offer_that_is_taken_back_leaves_no_port() -> None:
    harness = TableHarness()
    harness.ok(offer("c", "b", sdp(CALLEE), Zone.CORE, answerer="a"))
    roll_back(harness, "b")
    assert harness.targets() == {}
    assert len(harness.table) == 1
    harness.refused(answer("c", "b", "a", sdp(CALLER)), 481)
    a_call(harness)
    assert len(harness.table) == 1


def test_a_second_offer_takes_the_place_of_the_first_on_the_ports_that_it_added() -> None:
    harness = TableHarness()
    a_call(harness)
    agreed = harness.targets()
    first = harness.ok(new_offer("a", sdp("192.0.2.9", more=BOTH)))
    second = harness.ok(new_offer("a", sdp("192.0.2.8", more=BOTH)))
    assert first.media[1].port == second.media[1].port
    harness.ok(new_offer("b", ""))
    assert harness.targets() == agreed
    roll_back(harness, "a")  # the offer that is pending is not this side's
    harness.refused(answer("c", "a", "b", sdp(CALLEE)), 481)
    harness.ok(answer("c", "b", "a", sdp("192.0.2.7")))
    assert Source("192.0.2.7", 4000) in [rtp.send_to for rtp, _ in harness.targets().values()]


def test_an_offer_that_is_refused_leaves_the_pending_one() -> None:
    harness = TableHarness()
    a_call(harness)
    harness.ok(new_offer("a", sdp("192.0.2.9")))
    harness.refused(new_offer("a", sdp("127.0.0.1")), 488)
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source("192.0.2.9", 4000)


def test_a_provisional_answer_is_carried_out_and_taken_back() -> None:
    harness = TableHarness()
    a_call(harness, video=True)
    agreed = harness.targets()
    harness.ok(new_offer("a", sdp("192.0.2.9", 6000, more=VIDEO.replace("4002", "0"))))
    early = harness.ok(answer("c", "a", "b", sdp("10.0.0.12", more=VIDEO.replace("4002", "0")), final=False))
    assert harness.facing(Zone.PUBLIC, early).rtp.send_to == Source("192.0.2.9", 6000)
    harness.ok(answer("c", "a", "b", sdp("10.0.0.13", more=VIDEO.replace("4002", "0")), final=False))
    roll_back(harness, "a")
    assert harness.targets() == agreed


def test_a_final_answer_after_a_provisional_one_stays() -> None:
    harness = TableHarness()
    a_call(harness, video=True)
    harness.ok(new_offer("a", sdp("192.0.2.9")))
    for final in (False, True):
        harness.ok(answer("c", "a", "b", sdp("10.0.0.12"), final=final))
    assert len(harness.targets()) == 2
    agreed = harness.targets()
    roll_back(harness, "a")
    assert harness.targets() == agreed


def test_another_fork_that_offers_is_known_by_its_tag_while_its_offer_is_pending() -> None:
    harness = TableHarness()
    harness.ok(offer("c", "b", sdp(CALLEE), Zone.CORE, answerer="a"))
    harness.ok(answer("c", "b", "a", sdp(CALLER)))
    agreed = harness.targets()
    harness.ok(offer("c", "b2", sdp("10.0.0.12"), Zone.CORE, answerer="a"))
    roll_back(harness, "b2")
    assert harness.targets() == agreed
    (session,) = harness.table.sessions()
    assert [side.tag for side in session.sides] == ["b", "a"]


def test_an_answer_to_another_fork_than_the_one_that_offers_is_none_to_its_offer() -> None:
    harness = TableHarness()
    harness.ok(offer("c", "b", sdp(CALLEE), Zone.CORE, answerer="a"))
    harness.ok(answer("c", "b", "a", sdp(CALLER)))
    agreed = harness.targets()
    harness.ok(offer("c", "b2", sdp("10.0.0.12"), Zone.CORE, answerer="a"))
    harness.refused(answer("c", "b", "a", sdp("192.0.2.9")), 481)
    assert harness.targets() == agreed
    harness.ok(answer("c", "b2", "a", sdp(CALLER)))
    assert Source("10.0.0.12", 4000) in [rtp.send_to for rtp, _ in harness.targets().values()]


@pytest.mark.parametrize("final", [False, True])
def test_an_acknowledgement_holds_for_what_is_agreed_and_for_what_is_pending(final: bool) -> None:
    harness = TableHarness()
    harness.ok(offer("c", "a", sdp(CALLER), consent=Consent.NONE, received_from="203.0.113.9"))
    harness.ok(answer("c", "a", "b", sdp(CALLEE), final=final))
    harness.ok(offer("c", "a", sdp("192.0.2.9", more=BOTH), answerer="b", consent=Consent.NONE))
    assert any(rtp.limited for rtp, _ in harness.targets().values())
    harness.table.receive(Acknowledge("c", "a"), 0.0)
    assert not any(rtp.limited for rtp, _ in harness.targets().values())
    harness.ok(answer("c", "a", "b", sdp(CALLEE, more=BOTH)))
    assert not any(rtp.limited for rtp, _ in harness.targets().values())


def test_a_pending_offer_has_at_most_the_sections_of_a_call_beside_those_in_use() -> None:
    """What one call of a stranger can hold: the sections that are agreed and those of one offer."""
    harness = TableHarness()
    most = limits.MEDIA_SECTIONS
    harness.ok(offer("c", "a", sdp(CALLER, more=VIDEO * (most - 1))))
    harness.ok(answer("c", "a", "b", sdp(CALLEE, more=VIDEO * (most - 1))))
    rejected = VIDEO.replace("4002", "0") * (most - 1)
    for _ in range(3):
        harness.ok(new_offer("a", sdp("192.0.2.9", 0, more=rejected + VIDEO * (2 * most))))
        assert len(harness.targets()) == 2 * 2 * most
    roll_back(harness, "a")
    assert len(harness.targets()) == 2 * most


def test_ports_of_offers_that_were_taken_back_are_free_for_others() -> None:
    harness = TableHarness(max_streams=4)
    a_call(harness)
    for _ in range(5):
        harness.ok(new_offer("a", sdp("192.0.2.9", more=BOTH)))
        roll_back(harness, "a")
    harness.ok(offer("d", "x", sdp(CALLER), reserved=False))
