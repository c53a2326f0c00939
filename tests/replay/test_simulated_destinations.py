"""The simulated destinations: responses match their requests, and pending requests are bounded."""

from __future__ import annotations

from support.replaying import answer, message
from support.signalling import CORE

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.replay.simulated_destinations import Answers, SimulatedDestinations
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message

FLOW = Flow(CORE, Source("10.0.0.11", 5060))


def responses(answers: Answers) -> list[Response]:
    messages = [parse_message(data) for _, data in answers]
    return [message for message in messages if isinstance(message, Response)]


def shown(request: bytes, status: int, extra: str = "") -> Response:
    response = parse_message(answer(request, status, extra=extra))
    assert isinstance(response, Response)
    return response


def test_obliging_rings_and_answers_with_one_tag_and_a_contact() -> None:
    ringing, ok = responses(SimulatedDestinations("obliging").take(FLOW, message()))
    assert (ringing.status, ok.status) == (180, 200)
    assert ringing.to_tag == ok.to_tag != ""
    assert ok.get("Contact") == "<sip:inside@10.0.0.11:5060>"
    assert ok.via.branch == "z9hG4bKb1"


def test_obliging_answers_other_requests_at_once_except_ack_and_register() -> None:
    inside = SimulatedDestinations("obliging")
    for method, statuses in (("OPTIONS", [200]), ("BYE", [200]), ("ACK", []), ("REGISTER", [100]), ("CANCEL", [200])):
        assert [response.status for response in responses(inside.take(FLOW, message(method)))] == statuses
    repeated = responses(inside.take(FLOW, message(to_tag="bob")))
    assert [response.status for response in repeated] == [200]
    assert repeated[0].to_tag == "bob"
    assert inside.forwarded[str(FLOW.peer), "INVITE"] == 1


def test_silent_sends_no_responses() -> None:
    inside = SimulatedDestinations("silent")
    assert [inside.take(FLOW, message(method)) for method in ("INVITE", "REGISTER", "CANCEL", "OPTIONS")] == [[]] * 4


def test_captured_responses_are_sent_up_to_the_first_final_one() -> None:
    inside = SimulatedDestinations("captured")
    assert [response.status for response in responses(inside.take(FLOW, message()))] == [100]
    assert inside.captured(shown(message(), 100)) == []
    assert [response.status for response in responses(inside.captured(shown(message(), 183)))] == [183]
    assert inside.captured(shown(message(call_id="other"), 200)) == []
    (ok,) = responses(inside.captured(shown(message(), 200, "Contact: <sip:token@192.0.2.1>\r\n")))
    assert (ok.status, ok.to_tag, ok.get("Contact")) == (200, "bob", "<sip:inside@10.0.0.11:5060>")
    assert inside.captured(shown(message(), 200)) == []


def test_a_register_gets_contacts_and_challenges_of_the_capture() -> None:
    inside = SimulatedDestinations("obliging")
    register = message("REGISTER")
    inside.take(FLOW, register)
    extra = 'WWW-Authenticate: Digest realm="r"\r\nContact: <sip:a@192.0.2.7>;expires=60\r\nServer: old\r\n'
    (challenge,) = responses(inside.captured(shown(register, 401, extra)))
    assert challenge.get("WWW-Authenticate") == 'Digest realm="r"'
    assert challenge.get("Contact") == "<sip:a@192.0.2.7>;expires=60"
    assert challenge.get("Server") is None


def test_a_cancel_ends_the_branch_that_it_names() -> None:
    inside = SimulatedDestinations("captured")
    for branch in ("one", "two"):
        inside.take(FLOW, message(branch=branch))
    ended = responses(inside.take(FLOW, message("CANCEL", branch="two")))
    assert [(response.status, response.cseq_method) for response in ended] == [(200, "CANCEL"), (487, "INVITE")]
    assert [response.via.branch for response in responses(inside.captured(shown(message(), 486)))] == ["z9hG4bKone"]


def test_pending_requests_are_bounded() -> None:
    inside = SimulatedDestinations("captured")
    for n in range(limits.REPLAY_PENDING + 1):
        inside.take(FLOW, message(call_id=f"c{n}"))
    assert inside.captured(shown(message(call_id="c0"), 200)) == []
    assert len(inside.captured(shown(message(call_id="c1"), 200))) == 1
    for n in range(limits.FORK_BRANCHES + 3):
        inside.take(FLOW, message(call_id="forked", branch=f"f{n}"))
    assert len(inside.captured(shown(message(call_id="forked"), 200))) == limits.FORK_BRANCHES


def test_malformed_requests_are_counted_and_not_answered() -> None:
    inside = SimulatedDestinations("obliging")
    assert inside.take(FLOW, b"INVITE nothing\r\n\r\n") == []
    assert inside.forwarded == {(str(FLOW.peer), "what the inside could not read"): 1}
