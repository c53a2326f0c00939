"""Sources that are neither trunks nor registered: what they may send, and that responses do not reveal users."""

from __future__ import annotations

import pytest
from support.parser_work import count_calls
from support.signalling import ANSWER, BROWSERS, CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.base.reasons import Reason
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.guess import GuessSettings
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Close
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
UNLISTED = Flow(PUBLIC, Source("203.0.113.9", 5060))
CREDENTIALS = 'Authorization: Digest username="alice", realm="inside", nonce="n", uri="sip:x", response="r"\r\n'
CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="1764111600/0123456789abcdef", qop="auth", algorithm=MD5'
HOLD = limits.REGISTER_ANSWER_SECONDS


def connected(harness: EdgeHarness, port: int = 40000) -> Flow:
    browser = harness.edge.new_flow(BROWSERS, Source("203.0.113.5", port))
    harness.edge.flow_opened(browser)
    return browser


def answered(
    harness: EdgeHarness,
    flow: Flow,
    number: int,
    status: int,
    extra: str = "",
    fields: str = "",
    method: str = "REGISTER",
    contact: str = "<sip:alice@192.168.1.5:5062>",
    to: str = "sip:100@192.0.2.1",
) -> Response | None:
    """The response to a request that the inside answers with ``status`` and ``extra``; None without one."""
    data = invite(method, branch=f"z9hG4bKn{number}", cseq=number, extra=fields)
    data = data.replace(b"To: <sip:100@192.0.2.1>", f"To: <{to}>".encode())
    line = f"Contact: {contact}\r\n" if contact else ""
    sent = harness.receive(flow, data.replace(b"Contact: <sip:alice@192.168.1.5:5062>\r\n", line.encode()))
    for to, message in sent:
        if to == PBX:
            harness.receive(PBX, respond(message, status, tag="pbx", extra=extra, contact=False))
            outgoing = list(harness.sent) + harness.wait(HOLD)
            (response,) = [received for where, received in outgoing if where == flow and isinstance(received, Response)]
            return response
        assert isinstance(message, Response)
        return message
    return None


# --- admission ---------------------------------------------------------------------------------------------


def test_a_call_of_an_unproven_source_is_refused_before_routing(harness: EdgeHarness) -> None:
    assert harness.receive(UNLISTED, invite()) == []
    assert harness.reasons == ["admission"]
    assert harness.edge.idle
    ((_, refused),) = harness.receive(connected(harness), invite(branch="z9hG4bKb", body=OFFER))
    assert isinstance(refused, Response)
    assert refused.status == 403
    assert harness.edge.idle


def test_a_registered_flow_may_call_until_it_is_closed(harness: EdgeHarness) -> None:
    browser = connected(harness)
    registered = answered(harness, browser, 1, 200, "Contact: <sip:alice@192.168.1.5:5062>;expires=60", CREDENTIALS)
    assert registered is not None
    assert registered.status == 200
    assert [m.method for _, m in harness.receive(browser, invite()) if isinstance(m, Request)] == ["INVITE"]
    harness.wait(61)
    ((_, refused),) = harness.receive(browser, invite(branch="z9hG4bKlate", from_tag="late"))
    assert isinstance(refused, Response)
    assert refused.status == 403


BINDING = "Contact: <sip:alice@192.168.1.5:5062>;expires={}"
OTHERS = "Contact: <sip:alice@10.0.0.77>;expires=3000"


@pytest.mark.parametrize("flow", ["udp", "wss"])
@pytest.mark.parametrize(
    ("contact", "remaining"),
    [
        ("<sip:alice@192.168.1.5:5062>", ""),
        ("<sip:alice@192.168.1.5:5062>", BINDING.format(0)),
        ("<sip:alice@192.168.1.5:5062>", OTHERS),
        ("*", ""),
        ("*", OTHERS),
    ],
)
def test_a_flow_that_deregisters_may_not_call(harness: EdgeHarness, flow: str, contact: str, remaining: str) -> None:
    peer = connected(harness) if flow == "wss" else UNLISTED
    answered(harness, peer, 1, 200, BINDING.format(3600), CREDENTIALS)
    assert harness.standings.of(peer, harness.now) is Standing.REGISTERED
    answered(harness, peer, 2, 200, remaining, CREDENTIALS + "Expires: 0\r\n", contact=contact)
    assert harness.standings.of(peer, harness.now) < Standing.REGISTERED


def test_a_query_of_bindings_or_a_failed_deregistration_changes_nothing(harness: EdgeHarness) -> None:
    answered(harness, UNLISTED, 1, 200, BINDING.format(3600), CREDENTIALS)
    answered(harness, UNLISTED, 2, 200, OTHERS, CREDENTIALS, contact="")
    answered(harness, UNLISTED, 3, 401, CHALLENGE, CREDENTIALS + "Expires: 0\r\n", contact="*")
    answered(
        harness, UNLISTED, 4, 200, "", "Expires: 0\r\n", contact="*"
    )  # as from a registrar that checks no credentials
    assert harness.standings.of(UNLISTED, harness.now) is Standing.REGISTERED


def test_a_phone_that_deregisters_one_of_its_accounts_keeps_the_other(harness: EdgeHarness) -> None:
    """Otherwise any account could deregister any phone, by a forged datagram with its own name and password."""
    answered(harness, UNLISTED, 1, 200, BINDING.format(3600), CREDENTIALS)
    of_bob = CREDENTIALS.replace("alice", "bob")
    answered(harness, UNLISTED, 2, 200, BINDING.format(60), of_bob, to="sip:bob@192.0.2.1")
    harness.wait(61)
    assert harness.standings.of(UNLISTED, harness.now) is Standing.REGISTERED
    answered(harness, UNLISTED, 3, 200, "", of_bob + "Expires: 0\r\n", contact="*", to="sip:bob@192.0.2.1")
    assert harness.standings.of(UNLISTED, harness.now) is Standing.REGISTERED
    answered(harness, UNLISTED, 4, 200, "", CREDENTIALS + "Expires: 0\r\n", contact="*")
    assert harness.standings.of(UNLISTED, harness.now) < Standing.REGISTERED


def test_a_user_inside_calls_out_without_registration(harness: EdgeHarness) -> None:
    """Admission is for the public side only."""
    harness.receive(PBX, invite())
    assert "admission" not in harness.reasons


@pytest.mark.parametrize("how", ["answered", "refused", "cancelled"])
def test_ringing_calls_are_bounded_and_every_end_of_ringing_frees_one(how: str) -> None:
    harness = EdgeHarness(screen={"admission": AdmissionSettings(open=("public",), ringing=2)})
    browser = connected(harness)

    def call(number: int) -> list[tuple[Flow, Request | Response]]:
        return harness.receive(browser, invite(branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))

    first = call(0)[-1][1]
    call(1)
    ((_, refused),) = call(2)
    assert isinstance(refused, Response)
    assert (refused.status, harness.reasons[-1]) == (503, "ringing")
    assert refused.get("Retry-After")
    assert len(harness.receive(CALLER, invite(branch="z9hG4bKtrunk", from_tag="trunk"))) == 1, (
        "calls of other sources are not counted"
    )
    if how == "cancelled":
        harness.receive(PBX, respond(first, 180))
        harness.receive(browser, invite("CANCEL", branch="z9hG4bKr0", from_tag="r0"))
        harness.receive(PBX, respond(first, 487))
    else:
        harness.receive(PBX, respond(first, 200 if how == "answered" else 486))
    assert [to for to, m in call(3) if isinstance(m, Request)] == [PBX]
    ((_, refused),) = call(4)
    assert isinstance(refused, Response)
    assert refused.status == 503
    harness.wait(limits.SET_UP_SECONDS + 40)
    harness.wait(4 * 3600)
    assert harness.edge.parts.calls.ringing == harness.edge.parts.calls.by_trunk == {}
    assert harness.edge.parts.calls.by_holder == {}


@pytest.mark.parametrize("method", ["INVITE", "REFER", "MESSAGE"])
@pytest.mark.parametrize("proven", [False, True], ids=["unproven", "acknowledged"])
def test_a_request_by_the_contact_of_a_caller_that_may_be_forged_is_sent_once(method: str, proven: bool) -> None:
    """As an INVITE that replaces the call of that caller: a request outside its dialog, which timers would repeat."""
    harness = EdgeHarness(trunks={}, open=("public",))
    inward = harness.receive(CALLER, invite())[-1][1]
    contact = (inward.get("Contact") or "").strip("<>")
    ((_, ok),) = harness.receive(PBX, respond(inward, 200))
    if proven:
        uri = (ok.get("Contact") or "").strip("<>")
        harness.receive(CALLER, invite("ACK", uri, branch="z9hG4bKack", to_tag="bob"))
    request = invite(method, contact, branch="z9hG4bKr", from_tag="new", extra="Replaces: c1\r\n")
    request = request.replace(b"198.51.100.7", b"10.0.0.11").replace(b"Call-ID: c1", b"Call-ID: c2")
    ((to, sent),) = harness.receive(PBX, request)
    assert (to, str(sent.uri) if isinstance(sent, Request) else "") == (CALLER, "sip:alice@192.168.1.5:5062")
    again = [m for to, m in harness.wait(20) if to == CALLER and isinstance(m, Request) and m.method == method]
    assert bool(again) is proven


def test_ringing_calls_of_unproven_sources_are_counted_by_address() -> None:
    harness = EdgeHarness(screen={"admission": AdmissionSettings(open=("public",), ringing=2)})
    for number in range(5):
        flow = Flow(PUBLIC, Source("203.0.113.9", 5060 + number))
        harness.receive(flow, invite(branch=f"z9hG4bKr{number}", from_tag=f"r{number}"))
    assert harness.edge.calls == 2
    assert harness.reasons.count("ringing") == 3


# --- guessing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [(401, CHALLENGE), (404, "")], ids=["a user", "nobody"])
def test_attempts_without_a_password_always_get_the_same_response(
    harness: EdgeHarness, inside: tuple[int, str]
) -> None:
    """They reveal nothing once a challenge is known, and counting those would tell known users from unknown ones."""
    browser = connected(harness)
    assert answered(harness, connected(harness, 40_001), 100, 401, CHALLENGE) is not None
    for number in range(1, 31):
        response = answered(harness, browser, number, *inside)
        assert response is not None
        assert response.status == 401
        harness.wait(1)
    assert "guess" not in harness.reasons


def test_after_ten_wrong_passwords_the_connection_is_closed(harness: EdgeHarness) -> None:
    browser = connected(harness)
    responses = [answered(harness, browser, n, 401, CHALLENGE, CREDENTIALS) for n in range(1, 13)]
    assert [response.status for response in responses if response is not None] == [401] * 10
    assert responses[10:] == [None, None]
    guess, ban = (d for d in harness.decisions if d.reason in (Reason.GUESS, Reason.BAN))
    assert (guess.reason, guess.limit, guess.stage) == (Reason.GUESS, 10, "guess")
    assert (ban.reason, ban.detail) == (Reason.BAN, "flow 203.0.113.5:40000, for guess")
    assert {effect.flow for effect in harness.other if isinstance(effect, Close)} == {browser}
    assert answered(harness, connected(harness, 40001), 20, 401, CHALLENGE, CREDENTIALS) is not None, (
        "another connection of the same address"
    )


def test_a_ban_of_a_connection_examines_only_connections_of_its_address() -> None:
    def banned(others: int) -> int:
        harness = EdgeHarness()
        for number in range(others):
            harness.edge.flow_opened(
                harness.edge.new_flow(BROWSERS, Source(f"198.18.{number >> 8}.{number & 255}", 5060))
            )
        browser = connected(harness)
        counts = [count_calls(lambda flow: harness.receive(flow, b"\r\n\r\n"), browser) for _ in range(31)]
        assert [effect.flow for effect in harness.other if isinstance(effect, Close)] == [browser]
        return counts[-1]

    assert banned(1000) <= banned(1) + 10


def test_three_wrong_passwords_and_a_right_one_may_be_repeated(harness: EdgeHarness) -> None:
    number = 0
    for _ in range(10):
        for status in (401, 401, 403, 200):
            number += 1
            extra = "Contact: <sip:alice@192.168.1.5:5062>;expires=0" if status == 200 else CHALLENGE
            assert answered(harness, UNLISTED, number, status, extra, CREDENTIALS) is not None
            harness.wait(1)
    assert "guess" not in harness.reasons


def test_unknown_numbers_count_as_guesses_of_unproven_sources_and_not_of_users() -> None:
    harness = EdgeHarness(open=("public",))
    user = connected(harness)
    harness.standings.prove(user, Standing.REGISTERED, harness.now)
    for number in range(1, 13):
        assert answered(harness, user, number, 404, method="INVITE") is not None
        harness.receive(user, invite("ACK", branch=f"z9hG4bKn{number}", cseq=number, to_tag="pbx"))
    responses = [answered(harness, UNLISTED, number, 404, method="INVITE") for number in range(21, 33)]
    assert [response is None for response in responses] == [False] * 10 + [True] * 2


def test_stages_get_every_final_response_as_the_public_side_gets_it(harness: EdgeHarness) -> None:
    """The 404 becomes a 403, since no challenge is known yet that could replace it."""
    finals: list[tuple[str, int]] = []

    class Listener:
        name = "listener"
        phases = frozenset()

        def judge(self, subject, phase, now):  # type: ignore[no-untyped-def]
            raise AssertionError("it wants to be asked in no phase")

        def answered(self, subject, response, now) -> None:  # type: ignore[no-untyped-def]
            finals.append((subject.request.method, response.status))

    harness.edge.pipeline._response_listeners.append(Listener())
    forwarded = harness.receive(CALLER, invite())[-1][1]
    harness.receive(PBX, respond(forwarded, 180))
    harness.receive(PBX, respond(forwarded, 200))
    assert answered(harness, UNLISTED, 3, 404) is not None
    harness.receive(PBX, invite("OPTIONS", "sip:100@198.51.100.7", branch="z9hG4bKcore"))
    assert finals == [("INVITE", 200), ("REGISTER", 403)]


# --- the same answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410, 604])
def test_an_unknown_user_gets_the_same_challenge_as_a_known_one(harness: EdgeHarness, status: int) -> None:
    extra = f'{CHALLENGE}, opaque="00ff"\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\nAllow: INVITE'
    real = answered(harness, UNLISTED, 1, 401, extra)
    nonces = set()
    for number, fields in ((2, ""), (3, CREDENTIALS), (4, CREDENTIALS)):
        refusal = answered(harness, UNLISTED, number, status, "Reason: SIP;cause=404\r\nRetry-After: 5", fields)
        assert refusal is not None
        assert real is not None
        assert (refusal.status, refusal.phrase) == (401, real.phrase)
        assert [name for name, _ in refusal.fields if name != "Date"] == [n for n, _ in real.fields if n != "Date"]
        assert refusal.get("Date") is None, "Date would be that of another response"
        assert refusal.get("Allow") == real.get("Allow")
        assert (refusal.call_id, refusal.cseq, refusal.to_tag) == ("c1", number, "pbx")
        assert refusal.body == b""
        challenge = refusal.get("WWW-Authenticate") or ""
        head, _, rest = challenge.partition('nonce="')
        nonce, _, tail = rest.partition('"')
        assert head == 'Digest realm="inside", '
        assert tail.startswith(', qop="auth", algorithm=MD5, opaque="')
        assert len(nonce) == len("1764111600/0123456789abcdef")
        assert nonce[10] == "/"
        assert set(nonce[11:]) <= set("0123456789abcdef")
        nonces.add(nonce)
    assert len(nonces) == 3


def test_before_the_first_challenge_all_refusals_are_the_same(harness: EdgeHarness) -> None:
    fields = []
    for number, status in enumerate((403, 404, 410, 604), 1):
        refusal = answered(harness, UNLISTED, number, status, "Reason: SIP;cause=404\r\nRetry-After: 5")
        assert refusal is not None
        assert (refusal.status, refusal.phrase) == (403, "Forbidden")
        fields.append([name for name, _ in refusal.fields])
    assert fields == [["Via", "From", "Call-ID", "CSeq", "To"]] * 4


@pytest.mark.parametrize("status", [400, 423, 486, 600])
def test_responses_that_reveal_nothing_about_users_pass(harness: EdgeHarness, status: int) -> None:
    answered(harness, UNLISTED, 1, 401, CHALLENGE)
    browser = connected(harness)
    answer = answered(harness, browser, 2, status, "Min-Expires: 60" if status == 423 else "")
    assert answer is not None
    assert answer.status == status
    assert answer.get("Min-Expires") == ("60" if status == 423 else None)


def test_registered_users_and_trunks_get_the_original_response(harness: EdgeHarness) -> None:
    answered(harness, UNLISTED, 1, 401, CHALLENGE)
    user = connected(harness)
    harness.standings.prove(user, Standing.REGISTERED, harness.now)
    for flow in (user, CALLER):
        refusal = answered(harness, flow, 2, 404)
        assert refusal is not None
        assert refusal.status == 404


@pytest.mark.parametrize(
    "screen",
    [
        {"guess": GuessSettings(same_answer=False)},
        {"stages": ("method",)},
        {"shadow": ("guess",)},
        {"mode": "shadow"},
    ],
)
def test_the_policy_can_disable_it(screen: dict[str, object]) -> None:
    harness = EdgeHarness(screen=screen)
    answered(harness, UNLISTED, 1, 401, CHALLENGE)
    refusal = answered(harness, UNLISTED, 2, 404)
    assert refusal is not None
    assert refusal.status == 404


def test_the_last_challenge_of_each_set_is_stored(harness: EdgeHarness) -> None:
    for number in range(1, 5):
        answered(harness, UNLISTED, number, 401, f'WWW-Authenticate: Digest realm="r{number}", nonce="n"')
    assert len(harness.edge.parts.challenges._last) == 1
    refusal = answered(harness, UNLISTED, 9, 404)
    assert refusal is not None
    assert (refusal.get("WWW-Authenticate") or "").startswith('Digest realm="r4"')


# --- the same time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.09])
@pytest.mark.parametrize(("status", "extra"), [(401, CHALLENGE), (404, "")])
def test_refusals_have_the_same_delay_however_long_the_inside_takes(
    harness: EdgeHarness, delay: float, status: int, extra: str
) -> None:
    arrival = harness.now
    ((_, forwarded),) = harness.receive(UNLISTED, invite("REGISTER"))
    harness.wait(delay)
    assert harness.receive(PBX, respond(forwarded, status, extra=extra)) == []
    (deadline,) = [harness.edge.deadline()]
    assert deadline == pytest.approx(arrival + HOLD)
    ((to, refusal),) = harness.wait(HOLD - delay + 0.001)
    assert (to, isinstance(refusal, Response)) == (UNLISTED, True)
    ((_, repeated),) = harness.receive(UNLISTED, invite("REGISTER"))
    assert repeated.fields == refusal.fields, "the transaction answers the retransmission"
    harness.wait(40)
    assert harness.edge.idle


def test_a_refusal_after_a_longer_time_and_a_success_are_sent_at_once(harness: EdgeHarness) -> None:
    ((_, forwarded),) = harness.receive(UNLISTED, invite("REGISTER"))
    harness.wait(HOLD)
    assert len(harness.receive(PBX, respond(forwarded, 404))) == 1
    ((_, forwarded),) = harness.receive(UNLISTED, invite("REGISTER", branch="z9hG4bK2", extra=CREDENTIALS))
    assert len(harness.receive(PBX, respond(forwarded, 200))) == 1


def test_a_connection_that_closes_meanwhile_gets_no_delayed_answer(harness: EdgeHarness) -> None:
    browser = connected(harness)
    ((_, forwarded),) = harness.receive(browser, invite("REGISTER"))
    harness.receive(PBX, respond(forwarded, 404))
    harness.sort(harness.edge.flow_closed(browser, harness.now))
    assert harness.wait(40) == []
    assert harness.edge.idle
    assert harness.dispatcher.leases == 0


# --- overload ----------------------------------------------------------------------------------------------


def test_an_overloaded_edge_refuses_new_calls_of_low_standings_and_keeps_its_calls() -> None:
    harness = EdgeHarness(open=("public",))
    forwarded = harness.receive(CALLER, invite())[-1][1]
    for _ in range(40):
        harness.edge.note_lateness(0.6)
    assert harness.edge.lag == pytest.approx(0.6, abs=0.01)
    assert harness.receive(UNLISTED, invite(branch="z9hG4bKs", from_tag="s")) == []
    ((_, refused),) = harness.receive(connected(harness), invite(branch="z9hG4bKw", from_tag="w"))
    assert isinstance(refused, Response)
    assert (refused.status, harness.reasons[-1]) == (503, "overload")
    assert harness.receive(CALLER, invite(branch="z9hG4bKt", from_tag="t")) != [], "the trunk may still call"
    ok = harness.receive(PBX, respond(forwarded, 200, body=ANSWER))[-1][1]
    assert isinstance(ok, Response)
    uri = (ok.get("Contact") or "").strip("<>")
    bye = harness.receive(CALLER, invite("BYE", uri, 2, "z9hG4bKbye", to_tag="bob"))[-1][1]
    assert isinstance(bye, Request)
    for _ in range(40):
        harness.edge.note_lateness(0.0)
    assert [m.method for _, m in harness.receive(UNLISTED, invite(branch="z9hG4bKs2", from_tag="s2"))] == ["INVITE"]


def test_a_machine_that_was_suspended_once_is_not_overloaded(harness: EdgeHarness) -> None:
    for late in (0.001, 3600.0, 0.001):
        harness.edge.note_lateness(late)
    assert harness.edge.lag < 0.01
