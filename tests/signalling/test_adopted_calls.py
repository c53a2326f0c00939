"""Signalling that was started again takes over the media sessions of its calls."""

from __future__ import annotations

import pytest
from support.devices import from_pbx, methods, statuses
from support.signalling import ANSWER, CALLER, CORE, MEMBERS, OFFER, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Zone
from edgesbc.media.commands import Delete, Establish, MediaTimeout, Offer, Refresh, RelayLayout, Restore
from edgesbc.media.session_journal import SessionCopy

PBX = Flow(CORE, MEMBERS[0])


def call(harness: EdgeHarness) -> tuple[SessionCopy, str, str]:
    """A call that is up: its media session, the Contact that the caller was given, and that of the PBX."""
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(OFFER)
    harness.receive(PBX, respond(forwarded, 200, body=ANSWER))
    ((_, ok),) = harness.reply(ANSWER)
    (effect,) = harness.established
    assert isinstance(effect.command, Establish)
    media_id = effect.command.session_id
    offer = Offer(media_id, "alice", "", OFFER, Zone.PUBLIC, Zone.CORE)
    copy = SessionCopy(media_id, (Restore(offer, RelayLayout(("", ""))),), effect.command)
    return copy, contact(ok.get("Contact")), contact(forwarded.get("Contact"))


def contact(value: str | None) -> str:
    return (value or "").strip("<>")


def started_again() -> EdgeHarness:
    harness = EdgeHarness(anchor=True)
    harness.edge.parts.flows.epoch = "another run"
    return harness


def commands(harness: EdgeHarness) -> list[object]:
    return [effect.command for effect in harness.media]


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("status", [200, 481])
def test_a_bye_that_is_answered_ends_the_session(by_caller: bool, status: int) -> None:
    copy, inward, outward = call(EdgeHarness(anchor=True))
    after = started_again()
    after.sort(after.edge.adopt_sessions([copy]))
    assert after.edge.adopted_calls == 1
    assert commands(after) == []
    if by_caller:
        ((_, bye),) = after.receive(CALLER, invite("BYE", inward, 2, "z9hG4bKbye", to_tag="bob"))
        after.receive(PBX, respond(bye, 401))
        assert after.edge.adopted_calls == 1  # it will be repeated with credentials
        ((_, bye),) = after.receive(CALLER, invite("BYE", inward, 3, "z9hG4bKagain", to_tag="bob"))
        after.receive(PBX, respond(bye, status))
    else:
        ((_, bye),) = after.receive(PBX, from_pbx("BYE", outward, "c1", 2, to_tag="alice", from_tag="bob"))
        after.receive(CALLER, respond(bye, status))
    assert commands(after) == [Delete(copy.session_id, "alice")]
    assert after.edge.adopted_calls == 0


def test_requests_of_other_dialogs_end_no_session() -> None:
    harness = EdgeHarness(anchor=True)
    copy, inward, _ = call(harness)
    after = started_again()
    after.sort(after.edge.adopt_sessions([copy]))
    assert statuses(after.receive(CALLER, invite("BYE", inward, 2, "z9hG4bKbye", to_tag="carol")), CALLER) == [481]
    assert methods(after.receive(CALLER, invite("OPTIONS", inward, 3, "z9hG4bKo", to_tag="bob")), PBX) == ["OPTIONS"]
    assert commands(after) == []
    assert after.edge.adopted_calls == 1


def test_an_update_refreshes_the_session() -> None:
    copy, inward, _ = call(EdgeHarness(anchor=True))
    after = started_again()
    after.sort(after.edge.adopt_sessions([copy]))
    assert methods(after.receive(CALLER, invite("UPDATE", inward, 2, "z9hG4bKu", to_tag="bob")), PBX) == ["UPDATE"]
    assert commands(after) == [Refresh(copy.session_id, "alice")]


def test_a_session_that_timed_out_is_no_longer_known() -> None:
    copy, _, _ = call(EdgeHarness(anchor=True))
    after = started_again()
    after.sort(after.edge.adopt_sessions([copy, copy]))
    assert after.edge.adopted_calls == 1
    after.sort(after.edge.media_event(MediaTimeout(copy.session_id, ("alice", "bob")), after.now))
    assert after.edge.adopted_calls == 0
    after.sort(after.edge.end_calls(after.now))
    assert commands(after) == []


def test_the_session_of_a_call_that_was_being_set_up_ends() -> None:
    copy, _, _ = call(EdgeHarness(anchor=True))
    after = started_again()
    after.sort(after.edge.adopt_sessions([SessionCopy(copy.session_id, copy.exchanges)]))
    assert after.edge.adopted_calls == 0
    assert commands(after) == [Delete(copy.session_id, "alice")]


@pytest.mark.parametrize("record", [b"", b"\xff", b"[]", b"7", b'[2, "c1"]', b'[1, "c1", "alice", 3]', b"[1]", b"{}"])
def test_a_record_of_another_form_leaves_the_session_to_its_timeout(record: bytes) -> None:
    copy, inward, _ = call(EdgeHarness(anchor=True))
    after = started_again()
    establish = Establish(copy.session_id, "alice", record)
    after.sort(after.edge.adopt_sessions([SessionCopy(copy.session_id, copy.exchanges, establish)]))
    assert after.edge.adopted_calls == 1
    after.receive(CALLER, invite("BYE", inward, 2, "z9hG4bKbye", to_tag="bob"))
    assert commands(after) == []
    after.sort(after.edge.end_calls(after.now))
    assert commands(after) == [Delete(copy.session_id, "alice")]
