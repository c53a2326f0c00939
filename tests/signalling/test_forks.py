"""More than one answer to one INVITE: the core forked it (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

import pytest
from support.signalling import ANSWER, BROWSERS, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])


def answered(harness: EdgeHarness, forwarded: Request | Response, tag: str, where: str) -> str:
    """The URI that the caller is shown for the fork with this tag, which is at ``where``."""
    by = f"Contact: <sip:{tag}@{where}>\r\nRecord-Route: <sip:{where};lr>"
    data = respond(forwarded, 200, tag=tag, contact=False, extra=by).replace(
        b"Record-Route: <sip:10.0.0.11;lr>\r\n", b"", 1
    )
    ((_, ok),) = harness.receive(PBX, data)
    return (ok.get("Contact") or "").strip("<>")


def acknowledged(harness: EdgeHarness, contact: str, tag: str) -> Request:
    ((_, ack),) = harness.receive(CALLER, invite("ACK", contact, branch=f"z9hG4bK{tag}", to_tag=tag))
    assert isinstance(ack, Request)
    return ack


def test_the_route_set_is_that_of_the_fork_that_answers(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 180, tag="early"))
    ack = acknowledged(harness, answered(harness, forwarded, "late", "10.0.0.21"), "late")
    assert ack.get_all("Route") == ["<sip:10.0.0.21;lr>"]
    assert str(ack.uri) == "sip:late@10.0.0.21"


def test_the_caller_may_keep_the_fork_that_answered_second(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    first = answered(harness, forwarded, "one", "10.0.0.21")
    second = answered(harness, forwarded, "two", "10.0.0.22")
    ((to, bye),) = harness.receive(CALLER, invite("BYE", first, 2, "z9hG4bKbye1", to_tag="one"))
    harness.receive(to, respond(bye, 200))
    assert harness.edge.calls == harness.dispatcher.leases == 1
    assert str(acknowledged(harness, second, "two").uri) == "sip:two@10.0.0.22"
    sent = [message for _, message in harness.wait(4 * 3600)]
    byes = [str(message.uri) for message in sent if isinstance(message, Request) and message.method == "BYE"]
    assert byes.count("sip:two@10.0.0.22") > 0
    assert "sip:one@10.0.0.21" not in byes
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_bye_of_a_fork_after_the_caller_is_gone_ends_only_its_own_dialog(open_harness: EdgeHarness) -> None:
    browser = open_harness.edge.new_flow(BROWSERS, Source("203.0.113.5", 40000))
    open_harness.edge.flow_opened(browser)
    forwarded = open_harness.receive(browser, invite())[-1][1]
    contact = (forwarded.get("Contact") or "").strip("<>")
    for tag in ("one", "two"):
        open_harness.receive(PBX, respond(forwarded, 200, tag=tag))
    open_harness.edge.flow_closed(browser, open_harness.now)
    for tag, calls in (("two", 1), ("one", 0)):
        bye = invite("BYE", contact, 1, f"z9hG4bK{tag}", to_tag="alice", from_tag=tag)
        ((_, answer),) = open_harness.receive(PBX, bye)
        assert isinstance(answer, Response)
        assert answer.status == 480
        assert open_harness.edge.calls == calls


def by_callee(method: str, tag: str, contact: str, number: int = 1) -> bytes:
    """A request of a fork inside its dialog, by way of the proxy that is on its route."""
    data = invite(method, contact, number, f"z9hG4bK{tag}{method}", to_tag="alice", from_tag=tag)
    data = data.replace(b"198.51.100.7:5060", b"10.0.0.11:5060")
    return data.replace(b"<sip:alice@192.168.1.5:5062>", b"<sip:%b@10.0.0.99>" % tag.encode())


@pytest.mark.parametrize("status", [180, 200])
@pytest.mark.parametrize("tag", ["one", "two"])
def test_a_fork_that_changes_its_contact_keeps_its_route_set(harness: EdgeHarness, tag: str, status: int) -> None:
    """RFC 3261 section 12.2: a target refresh changes the remote target alone. A proxy on the way stays on it."""
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for other in ("one", "two"):
        harness.receive(PBX, respond(forwarded, status, tag=other))
    contact = (forwarded.get("Contact") or "").strip("<>")
    ((to, update),) = harness.receive(PBX, by_callee("UPDATE", tag, contact))
    assert to == CALLER
    uri = (update.get("Contact") or "").strip("<>")
    ((to, options),) = harness.receive(CALLER, invite("OPTIONS", uri, 2, "z9hG4bKo", to_tag=tag))
    assert to == PBX
    assert isinstance(options, Request)
    assert (str(options.uri), options.get_all("Route")) == (f"sip:{tag}@10.0.0.99", ["<sip:10.0.0.11;lr>"])


@pytest.mark.parametrize("tag", ["one", "two"])
def test_a_fork_refers_the_caller_by_way_of_the_proxy(harness: EdgeHarness, tag: str) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for other in ("one", "two"):
        harness.receive(PBX, respond(forwarded, 200, tag=other))
    contact = (forwarded.get("Contact") or "").strip("<>")
    refer = by_callee("REFER", tag, contact)
    refer = refer.replace(b"Max-Forwards", b"Refer-To: <sip:200@10.0.0.77?Replaces=x>\r\nMax-Forwards")
    ((_, referred),) = harness.receive(PBX, refer)
    uri = (referred.get("Refer-To") or "").strip("<>").partition("?")[0]
    ((to, call),) = harness.receive(CALLER, invite(uri=uri, branch="z9hG4bKr", from_tag="other"))
    assert isinstance(call, Request)
    assert (to, str(call.uri)) == (PBX, "sip:200@10.0.0.77")


def test_stored_early_dialogs_are_bounded(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    (call,) = harness.edge.parts.calls
    for number in range(12):
        harness.receive(PBX, respond(forwarded, 180, tag=f"t{number}"))
    assert len(call.early) == 8
    harness.receive(PBX, respond(forwarded, 200, tag="t11"))
    assert call.early == ()


def test_stored_forks_are_bounded(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for number in range(12):
        answered(harness, forwarded, f"t{number}", "10.0.0.21")
    (call,) = harness.edge.parts.calls
    assert len(call.forks) == 8


def test_two_forks_answer_and_one_is_hung_up(harness: EdgeHarness) -> None:
    forwarded = harness.receive(CALLER, invite())[-1][1]
    first = answered(harness, forwarded, "one", "10.0.0.21")
    second = answered(harness, forwarded, "two", "10.0.0.22")
    assert str(acknowledged(harness, first, "one").uri) == "sip:one@10.0.0.21"
    assert str(acknowledged(harness, second, "two").uri) == "sip:two@10.0.0.22"
    ((to, bye),) = harness.receive(CALLER, invite("BYE", second, 2, "z9hG4bKbye2", to_tag="two"))
    harness.receive(to, respond(bye, 200))
    assert harness.edge.calls == 1
    ((to, bye),) = harness.receive(CALLER, invite("BYE", first, 3, "z9hG4bKbye1", to_tag="one"))
    harness.receive(to, respond(bye, 200))
    assert harness.edge.calls == harness.dispatcher.leases == 0


def test_a_fork_whose_2xx_an_unproven_source_does_not_get_is_hung_up(open_harness: EdgeHarness) -> None:
    """A caller whose source may be forged gets two 2xx; the edge ends the later ones itself."""
    long = invite(extra=f"User-Agent: {'x' * 200}\r\n")
    forwarded = open_harness.receive(Flow(PUBLIC, Source("203.0.113.9", 5060)), long)[-1][1]
    for tag in ("one", "two"):
        (passed_on,) = open_harness.receive(PBX, respond(forwarded, 200, tag=tag))
        assert isinstance(passed_on[1], Response)
    sent = open_harness.receive(PBX, respond(forwarded, 200, tag="three"))
    assert [(to, m.method, m.to_tag) for to, m in sent if isinstance(m, Request)] == [
        (PBX, "ACK", "three"),
        (PBX, "BYE", "three"),
    ]
    for tag in ("one", "two"):
        assert open_harness.receive(PBX, respond(forwarded, 200, tag=tag)) == []
    assert open_harness.edge.calls == open_harness.dispatcher.leases == 1


def test_answers_beyond_the_bytes_of_an_unproven_source_end_other_forks_and_not_the_call(
    open_harness: EdgeHarness,
) -> None:
    forwarded = open_harness.receive(Flow(PUBLIC, Source("203.0.113.9", 5060)), invite())[-1][1]
    (passed_on,) = open_harness.receive(PBX, respond(forwarded, 200, tag="one"))
    assert isinstance(passed_on[1], Response)
    assert open_harness.receive(PBX, respond(forwarded, 200, tag="one", body=b"x" * 600)) == []
    for _ in range(2):
        sent = open_harness.receive(PBX, respond(forwarded, 200, tag="two", body=b"x" * 600))
        assert (PBX, "ACK", "two") in [(to, m.method, m.to_tag) for to, m in sent if isinstance(m, Request)]
    assert open_harness.edge.calls == open_harness.dispatcher.leases == 1
    open_harness.wait(40)
    assert open_harness.edge.calls == 1


def test_refused_sdp_of_a_second_fork_does_not_affect_the_call_and_lease_of_the_first() -> None:
    harness = EdgeHarness(anchor=True)
    harness.receive(CALLER, invite(body=OFFER))
    ((_, forwarded),) = harness.reply(OFFER)
    first = respond(forwarded, 200, tag="one", body=ANSWER)
    harness.receive(PBX, first)
    assert [message.status for _, message in harness.reply(ANSWER) if isinstance(message, Response)] == [200]
    harness.receive(PBX, respond(forwarded, 200, tag="two", body=ANSWER.replace(b"4000", b"4002")))
    sent = [message for _, message in harness.reply(None) if isinstance(message, Request)]
    assert [(request.method, request.to_tag) for request in sent] == [("ACK", "two"), ("BYE", "two")]
    assert harness.edge.audit_leases() == (1, 1, 0, [])
    repeated = [message for _, message in harness.receive(PBX, first) if isinstance(message, Request)]
    assert repeated == []  # in particular no BYE
