"""A media plane that has ended and is started again has the sessions of before, on the same ports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import TableHarness, answer, offer, sdp

from edgesbc.base.address import Zone
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    Offer,
    RelayLayout,
    Restore,
    Rollback,
)
from edgesbc.media.session_journal import SessionJournal

CALLER, CALLEE = "198.51.100.1", "10.0.0.11"
VIDEO = "m=video 4002 RTP/AVP 99\r\n"


class Plane:
    """A table of sessions and the journal of what was sent to it."""

    def __init__(self) -> None:
        self.harness = TableHarness()
        self.journal = SessionJournal()
        self.sent = 0

    def send(self, *commands: MediaCommand) -> None:
        """Carry out commands; the replies come after the last one."""
        replies = []
        for command in commands:
            self.sent += 1
            self.journal.sent(self.sent, command)
            reply = self.harness.table.receive(command, 0.0)
            if reply is not None:
                replies.append((self.sent, reply))
        for cookie, reply in replies:
            self.journal.replied(cookie, reply)

    def would_be_glare(self, command: MediaCommand) -> bool:
        """Whether it offers while an offer of the other side has no answer, or may have none: signalling does not."""
        if not isinstance(command, Offer):
            return False
        sessions = [one for one in self.harness.table.sessions() if one.session_id == command.session_id]
        return any(one.pending is not None and one.pending.side.tag != command.offerer for one in sessions)

    def restored(self) -> TableHarness:
        """Another table, with the sessions of the journal."""
        harness = TableHarness()
        for copy in self.journal.copies():
            for command in copy.commands:
                reply = harness.table.receive(command, 0.0)
                assert not isinstance(reply, MediaError), reply
        return harness


def assert_same(plane: Plane) -> None:
    """The ports are those of before, and so are their targets."""
    before, after = plane.harness, plane.restored()
    assert len(after.table) == len(list(plane.journal.copies()))
    assert after.targets() == before.targets()
    sessions = {session.session_id: session for session in after.table.sessions()}
    for one in before.table.sessions():
        if one.pending is None and not one.answered:
            continue  # its only offer was taken back
        two = sessions[one.session_id]
        assert {side.tag for side in one.sides} == {side.tag for side in two.sides}
        assert one.established == two.established
        assert (one.pending is None) == (two.pending is None)


OFFER = offer("c", "a", sdp(CALLER, more=VIDEO), consent=Consent.NONE)
ANSWER = answer("c", "a", "b", sdp(CALLEE, 5000, more="m=video 0 RTP/AVP 99\r\n"))
HOLD = offer("c", "b", sdp("0.0.0.0", 5000, more="m=video 5002 RTP/AVP 99\r\n"), Zone.CORE, answerer="a")
EARLY = answer("c", "b", "a", sdp("192.0.2.9", 6000, more="m=video 6002 RTP/AVP 99\r\n"), final=False)
FINAL = answer("c", "b", "a", sdp("192.0.2.9", 6000, more="m=video 6002 RTP/AVP 99\r\n"))
STEPS: dict[str, list[MediaCommand]] = {
    "offered": [OFFER],
    "answered": [OFFER, ANSWER],
    "established": [OFFER, ANSWER, Establish("c", "a", b"record")],
    "acknowledged": [OFFER, ANSWER, Establish("c", "a"), Acknowledge("c", "a")],
    "changing": [OFFER, ANSWER, HOLD],
    "answered early": [OFFER, ANSWER, HOLD, EARLY],
    "changed": [OFFER, ANSWER, HOLD, FINAL],
    "taken back": [OFFER, ANSWER, HOLD, EARLY, Rollback("c", "b")],
    "offered again after an early answer": [OFFER, ANSWER, HOLD, EARLY, HOLD],
    "offered again after the call was answered without a description": [
        OFFER,
        Establish("c", "a", b"record"),
        Rollback("c", "a"),
        OFFER,
        ANSWER,
    ],
    "another fork": [OFFER, ANSWER, answer("c", "a", "b2", sdp("10.0.0.12", 7000, more="m=video 0 RTP/AVP 99\r\n"))],
}


@pytest.mark.parametrize("step", STEPS)
def test_a_session_is_restored_on_its_ports(step: str) -> None:
    plane = Plane()
    for command in STEPS[step]:
        plane.send(command)
    assert len(plane.journal) == 1
    assert_same(plane)


def test_what_the_media_plane_has_not_replied_to_was_not_carried_out() -> None:
    plane = Plane()
    plane.send(OFFER, ANSWER)
    plane.journal.sent(8, HOLD)
    plane.journal.sent(9, Establish("c", "a", b"r"))
    assert plane.journal.fail_unanswered() == [8]
    (copy,) = plane.journal.copies()
    assert [exchange.answer for exchange in copy.exchanges] == [ANSWER]
    assert copy.establish == Establish("c", "a", b"r")
    assert copy.tags == ("a", "b")


def test_a_command_without_a_reply_counts_after_the_offers_before_it() -> None:
    plane = Plane()
    plane.send(OFFER, ANSWER, HOLD, Rollback("c", "b"), Delete("c", "a"))
    assert len(plane.journal) == 0
    plane.journal.replied(3, MediaReply(b""))  # a second time
    plane.send(OFFER)
    plane.send(Delete("c", "x"))  # no side has this tag
    assert len(plane.journal) == 1
    plane.send(Rollback("c", "a"))
    assert not list(plane.journal.copies())


def test_a_session_that_timed_out_is_not_restored() -> None:
    plane = Plane()
    plane.send(OFFER, ANSWER)
    plane.journal.ended("c")
    assert not list(plane.journal.copies())


def test_another_journal_takes_the_sessions_over() -> None:
    plane, other = Plane(), Plane()
    plane.send(OFFER, ANSWER, Establish("c", "a", b"record"), HOLD)
    (copy,) = plane.journal.copies()
    other.journal.take_over(copy)
    assert list(other.journal.copies()) == [copy]


def test_a_session_whose_answer_cannot_be_restored_leaves_nothing() -> None:
    plane = Plane()
    plane.send(OFFER, ANSWER)
    (copy,) = plane.journal.copies()
    (exchange,) = copy.exchanges
    assert exchange.answer is not None
    spoilt = answer("c", "a", "b", sdp(CALLEE))  # one section for two
    harness = TableHarness()
    harness.refused(Restore(exchange.offer, exchange.layout, spoilt), 488)
    elsewhere = RelayLayout(("192.0.2.77", "10.0.0.1"), exchange.layout.ports)
    harness.refused(Restore(exchange.offer, elsewhere, exchange.answer), 488)
    assert len(harness.table) == 0


def test_a_port_that_is_taken_refuses_the_session() -> None:
    plane = Plane()
    plane.send(OFFER, ANSWER)
    (copy,) = plane.journal.copies()
    plane.harness.refused(_renamed(copy.exchanges[0]), 503)


def _renamed(exchange: Restore) -> Restore:
    """The same for another session."""
    offered = exchange.offer
    renamed = Offer("d", "x", "y", offered.sdp, offered.offerer_zone, offered.answerer_zone)
    return Restore(renamed, exchange.layout)


def _commands() -> st.SearchStrategy[MediaCommand]:
    sections = st.sampled_from(["", VIDEO, "m=video 0 RTP/AVP 99\r\n"])
    sides = st.sampled_from([("a", "b"), ("b", "a")])
    session = st.sampled_from(["c", "d"])

    def description(side: str, port: int, more: str) -> str:
        return sdp(CALLER if side == "a" else CALLEE, port, more=more)

    def zone(side: str) -> Zone:
        return Zone.PUBLIC if side == "a" else Zone.CORE

    offers = st.builds(
        lambda call, pair, port, more: offer(call, pair[0], description(pair[0], port, more), zone(pair[0]), pair[1]),
        session, sides, st.sampled_from([4000, 5000]), sections,
    )  # fmt: skip
    answers = st.builds(
        lambda call, pair, port, more, final: Answer(
            call, pair[0], pair[1], description(pair[1], port, more).encode(), final=final
        ),
        session, sides, st.sampled_from([6000, 7000]), sections, st.booleans(),
    )  # fmt: skip
    others = st.builds(
        lambda kind, call, tag: kind(call, tag),
        st.sampled_from([Rollback, Establish, Acknowledge, Delete]), session, st.sampled_from("ab"),
    )  # fmt: skip
    return st.one_of(offers, offers, answers, answers, others)


@given(st.lists(_commands(), max_size=16))
def test_any_sessions_are_restored(commands: list[MediaCommand]) -> None:
    plane = Plane()
    for command in commands:
        if not plane.would_be_glare(command):
            plane.send(command)
    assert_same(plane)
