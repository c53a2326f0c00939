"""Callers whose connection ends before their answer: nothing of theirs may stay."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, OFFER, Brain, invite, respond

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.signalling.effects import Close
from edgesbc.sip.message import Request

STREAM = Flow(Listener(0, "public", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060), Source("198.51.100.7", 5060), 7)
PBX = Flow(CORE, MEMBERS[0])


def begun(brain: Brain, data: bytes) -> Request:
    """What the destination got of a request that came by a connection."""
    brain.edge.flow_opened(STREAM)
    sent = brain.receive(STREAM, data)
    (forwarded,) = [message for flow, message in sent if flow == PBX]
    assert isinstance(forwarded, Request)
    return forwarded


def close(brain: Brain) -> list[str]:
    """Close the connection; the methods that are sent because of it."""
    brain.sent.clear()
    brain.sort(brain.edge.flow_closed(STREAM, brain.now))
    return [message.method for _, message in brain.sent if isinstance(message, Request)]


def nothing_stays(brain: Brain) -> None:
    assert brain.edge.calls == brain.dispatcher.leases == 0
    brain.wait(200)
    assert brain.edge.idle
    assert brain.dispatcher.leases == 0


def test_before_any_answer(brain: Brain) -> None:
    begun(brain, invite())
    assert close(brain) == []  # CANCEL waits for a provisional answer (RFC 3261 section 9.1)
    nothing_stays(brain)


def test_while_it_rings_the_destination_is_told(brain: Brain) -> None:
    forwarded = begun(brain, invite())
    brain.receive(PBX, respond(forwarded, 180))
    assert close(brain) == ["CANCEL"]
    (ack,) = brain.receive(PBX, respond(forwarded, 487))
    assert isinstance(ack[1], Request)
    assert ack[1].method == "ACK"
    nothing_stays(brain)


def test_a_late_provisional_is_cancelled_and_a_late_answer_hung_up(brain: Brain) -> None:
    forwarded = begun(brain, invite())
    close(brain)
    sent = brain.receive(PBX, respond(forwarded, 180))
    assert [m.method for _, m in sent if isinstance(m, Request)] == ["CANCEL"]
    sent = brain.receive(PBX, respond(forwarded, 200))
    assert [m.method for _, m in sent if isinstance(m, Request)] == ["ACK", "BYE"]
    nothing_stays(brain)


def test_while_media_is_asked() -> None:
    brain = Brain(anchor=True)
    brain.edge.flow_opened(STREAM)
    brain.receive(STREAM, invite(body=OFFER))
    assert close(brain) == []
    assert brain.reply(b"v=0\r\n") == []
    nothing_stays(brain)


@pytest.mark.parametrize("status", [0, 200, 503])
def test_a_registration_gives_its_place_back(brain: Brain, status: int) -> None:
    forwarded = begun(brain, invite("REGISTER"))
    close(brain)
    if status:
        brain.receive(PBX, respond(forwarded, status))
    brain.wait(64)
    assert brain.dispatcher.leases == 0


def test_a_bye_ends_its_call_all_the_same(brain: Brain) -> None:
    brain.edge.flow_opened(STREAM)
    sent = brain.receive(STREAM, invite())
    forwarded = next(message for flow, message in sent if flow == PBX)
    ((_, ok),) = brain.receive(PBX, respond(forwarded, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    brain.receive(STREAM, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    brain.receive(STREAM, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    close(brain)
    nothing_stays(brain)


def test_a_connection_that_is_banned_is_closed(brain: Brain) -> None:
    stranger = Flow(STREAM.listener, Source("203.0.113.9", 40000), 9)
    brain.edge.flow_opened(stranger)
    for number in range(40):
        brain.receive(stranger, invite("OPTIONS", "sip:192.0.2.1", branch=f"z9hG4bK{number}"))
    assert [effect.flow for effect in brain.other if isinstance(effect, Close)][:1] == [stranger]


def test_strangers_leave_half_of_the_transactions_to_others(open_brain: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_brain.edge.board.transactions, "_limit", 8)
    for number in range(10):
        stranger = Flow(CALLER.listener, Source(f"203.0.113.{number}", 5060))
        open_brain.receive(stranger, invite(branch=f"z9hG4bKs{number}", from_tag=f"s{number}"))
    assert open_brain.edge.calls == 4
    open_brain.receive(CALLER, invite())
    assert open_brain.edge.calls == 5
