"""The connection of a caller closes before the answer: nothing of the call is left."""

from __future__ import annotations

import pytest
from support.signalling import BROWSERS, CALLER, CARRIERS, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.screen.standing import Standing
from edgesbc.signalling.calls import CallLimits
from edgesbc.signalling.effects import Close
from edgesbc.sip.message import Request

STREAM = Flow(Listener(0, "public", Zone.PUBLIC, Transport.TCP, "192.0.2.1", 5060), Source("203.0.113.7", 40007), 7)
PBX = Flow(CORE, MEMBERS[0])


def begun(harness: EdgeHarness, data: bytes) -> Request:
    """The message that the destination gets for a request over the connection."""
    harness.edge.flow_opened(STREAM)
    sent = harness.receive(STREAM, data)
    (forwarded,) = [message for flow, message in sent if flow == PBX]
    assert isinstance(forwarded, Request)
    return forwarded


def close(harness: EdgeHarness) -> list[str]:
    """Close the connection; the methods that are sent because of it."""
    harness.sent.clear()
    harness.sort(harness.edge.flow_closed(STREAM, harness.now))
    return [message.method for _, message in harness.sent if isinstance(message, Request)]


def nothing_stays(harness: EdgeHarness) -> None:
    assert harness.edge.calls == harness.dispatcher.leases == 0
    harness.wait(200)
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


def test_before_any_answer(open_harness: EdgeHarness) -> None:
    begun(open_harness, invite())
    assert close(open_harness) == []  # CANCEL waits for a provisional answer (RFC 3261 section 9.1)
    nothing_stays(open_harness)


def test_while_it_rings_the_destination_gets_cancel(open_harness: EdgeHarness) -> None:
    forwarded = begun(open_harness, invite())
    open_harness.receive(PBX, respond(forwarded, 180))
    assert close(open_harness) == ["CANCEL"]
    (ack,) = open_harness.receive(PBX, respond(forwarded, 487))
    assert isinstance(ack[1], Request)
    assert ack[1].method == "ACK"
    nothing_stays(open_harness)


def test_a_late_provisional_is_cancelled_and_a_late_answer_hung_up(open_harness: EdgeHarness) -> None:
    forwarded = begun(open_harness, invite())
    close(open_harness)
    sent = open_harness.receive(PBX, respond(forwarded, 180))
    assert [m.method for _, m in sent if isinstance(m, Request)] == ["CANCEL"]
    sent = open_harness.receive(PBX, respond(forwarded, 200))
    assert [m.method for _, m in sent if isinstance(m, Request)] == ["ACK", "BYE"]
    nothing_stays(open_harness)


def test_while_media_is_asked() -> None:
    harness = EdgeHarness(anchor=True, open=("public",))
    harness.edge.flow_opened(STREAM)
    harness.receive(STREAM, invite(body=OFFER))
    assert close(harness) == []
    assert harness.reply(b"v=0\r\n") == []
    nothing_stays(harness)


@pytest.mark.parametrize("status", [0, 200, 503])
def test_a_registration_releases_its_lease(open_harness: EdgeHarness, status: int) -> None:
    forwarded = begun(open_harness, invite("REGISTER"))
    close(open_harness)
    if status:
        open_harness.receive(PBX, respond(forwarded, status))
    open_harness.wait(64)
    assert open_harness.dispatcher.leases == 0


def test_a_bye_whose_connection_closes_ends_its_call(open_harness: EdgeHarness) -> None:
    open_harness.edge.flow_opened(STREAM)
    sent = open_harness.receive(STREAM, invite())
    forwarded = next(message for flow, message in sent if flow == PBX)
    ((_, ok),) = open_harness.receive(PBX, respond(forwarded, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    open_harness.receive(STREAM, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    open_harness.receive(STREAM, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    close(open_harness)
    nothing_stays(open_harness)


def test_a_connection_that_is_banned_is_closed(open_harness: EdgeHarness) -> None:
    unproven = Flow(STREAM.listener, Source("203.0.113.9", 40000), 9)
    open_harness.edge.flow_opened(unproven)
    for number in range(40):
        open_harness.receive(unproven, invite("OPTIONS", "sip:192.0.2.1", branch=f"z9hG4bK{number}"))
    assert [effect.flow for effect in open_harness.other if isinstance(effect, Close)][:1] == [unproven]


@pytest.mark.parametrize("connected", [False, True])
def test_sources_without_an_account_leave_half_of_the_transactions_to_others(
    open_harness: EdgeHarness, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    monkeypatch.setattr(open_harness.edge.parts.transactions, "_limit", 8)
    listener = STREAM.listener if connected else CALLER.listener
    for number in range(10):
        stranger = Flow(listener, Source(f"203.0.113.{number}", 5060), (100 + number) * connected)
        if connected:
            open_harness.edge.flow_opened(stranger)
        open_harness.receive(stranger, invite(branch=f"z9hG4bKs{number}", from_tag=f"s{number}"))
    assert open_harness.edge.calls == 4
    open_harness.receive(CALLER, invite())
    assert open_harness.edge.calls == 5


def test_sources_without_an_account_leave_half_of_the_bytes_of_transactions_to_others(
    open_harness: EdgeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few thousand of the largest requests would otherwise take gigabytes."""
    monkeypatch.setattr(open_harness.edge.parts.transactions, "_stored_limit", 1_000_000)
    body = b"x" * 50_000
    for number in range(20):
        stranger = Flow(STREAM.listener, Source(f"203.0.113.{number}", 5060), 100 + number)
        open_harness.edge.flow_opened(stranger)
        open_harness.receive(stranger, invite("REGISTER", branch=f"z9hG4bKs{number}", from_tag=f"s{number}", body=body))
    assert 500_000 <= open_harness.edge.parts.transactions.stored_bytes < 700_000
    assert open_harness.reasons[-1] == "overload"
    open_harness.receive(CALLER, invite())
    assert open_harness.edge.calls == 1


def account_flow(harness: EdgeHarness, account: int, port: int) -> Flow:
    """A connection that is registered as that account."""
    flow = Flow(STREAM.listener, Source("203.0.113.66", port), 1_000 * account + port)
    harness.edge.flow_opened(flow)
    harness.standings.prove(flow, Standing.REGISTERED, harness.now, 60.0, account)
    return flow


@pytest.mark.parametrize("size", [0, 50_000])
def test_an_account_has_a_share_of_the_transactions_over_all_its_flows(
    open_harness: EdgeHarness, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Also of the bytes that these keep."""
    transactions = open_harness.edge.parts.transactions
    monkeypatch.setattr(transactions, *(("_stored_limit", 1_600_000) if size else ("_limit", 32)))
    body = b"x" * size
    passed = 0
    for number in range(20):
        flow = account_flow(open_harness, 1, number + 1)
        sent = open_harness.receive(
            flow, invite("OPTIONS", "sip:100@example.org", branch=f"z9hG4bKs{number}", from_tag="s", body=body)
        )
        passed += any(to == PBX for to, _ in sent)
    assert passed == 4
    assert open_harness.reasons[-1] == "overload"
    other = account_flow(open_harness, 2, 1)
    assert [to for to, _ in open_harness.receive(other, invite(branch="z9hG4bKother", from_tag="other"))] == [PBX]
    open_harness.wait(200)
    assert not transactions._shares
    assert transactions.stored_bytes == 0


def test_accounts_leave_an_eighth_of_the_transactions_to_trunks(
    open_harness: EdgeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_harness.edge.parts.transactions, "_limit", 32)
    for number in range(40):
        flow = account_flow(open_harness, number + 1, number + 1)
        open_harness.receive(flow, invite("OPTIONS", "sip:100@example.org", branch=f"z9hG4bKs{number}", from_tag="s"))
    assert len(open_harness.edge.parts.transactions) == 2 * 28
    assert [to for to, _ in open_harness.receive(CALLER, invite())] == [PBX]


def test_the_calls_of_a_connection_without_an_account_go_on_when_strangers_have_their_half(
    open_harness: EdgeHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarded = begun(open_harness, invite())
    ((_, ok),) = open_harness.receive(PBX, respond(forwarded, 200))
    contact = (ok.get("Contact") or "").strip("<>")
    open_harness.receive(STREAM, invite("ACK", contact, branch="z9hG4bKack", to_tag="bob"))
    monkeypatch.setattr(open_harness.edge.parts.transactions, "_limit", 2)
    ((_, bye),) = open_harness.receive(STREAM, invite("BYE", contact, 2, "z9hG4bKbye", to_tag="bob"))
    assert isinstance(bye, Request)


@pytest.mark.parametrize("kind", ["datagrams", "proven addresses", "tcp", "wss"])
def test_sources_without_an_account_leave_half_of_the_calls_to_others(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Answered calls count as well. An address is cheap to prove."""
    harness = EdgeHarness(open=("public", "carriers", "browsers"))
    calls = harness.edge.parts.calls
    monkeypatch.setattr(
        calls, "limits", CallLimits(8, calls.limits.set_up, calls.limits.ringing, calls.limits.duration)
    )
    listener = {"tcp": CARRIERS, "wss": BROWSERS}.get(kind, PUBLIC)
    for number in range(10):
        serial = 0 if listener is PUBLIC else 100 + number
        stranger = Flow(listener, Source(f"203.0.113.{number}", 5060), serial)
        if serial:
            harness.edge.flow_opened(stranger)
        elif kind == "proven addresses":
            harness.standings.prove(stranger, Standing.REACHABLE, harness.now)
        sent = harness.receive(stranger, invite(branch=f"z9hG4bKs{number}", from_tag=f"s{number}"))
        forwarded = [message for flow, message in sent if flow == PBX]
        if number % 2 and forwarded:
            harness.receive(PBX, respond(forwarded[0], 200))
    assert harness.edge.calls == 4
    assert "overload" in harness.reasons
    harness.receive(CALLER, invite())
    assert harness.edge.calls == 5
