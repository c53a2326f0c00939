"""Stage guess: what counts as an attempt, and which sources are refused."""

from __future__ import annotations

import re

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase, Reject, Subject, Verdict
from edgesbc.screen.stages.guess import BruteForceGuard, GuessSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.digest import account_of, parse_digest
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message

CHALLENGE = 'Digest realm="inside", nonce="abc"'


def credentials(user: str = "alice", realm: str = "inside") -> str:
    return f'Authorization: Digest username="{user}", realm="{realm}", nonce="n", uri="sip:x", response="r"'


def answer(status: int, challenge: str = "") -> Response:
    name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    lines = [f"SIP/2.0 {status} X", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "From: <sip:a@b>;tag=1"]
    lines += ["To: <sip:a@b>;tag=2", "Call-ID: c", "CSeq: 1 REGISTER", "Content-Length: 0"]
    lines += [f"{name}: {challenge}"] if challenge else []
    message = parse_message(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(message, Response)
    return message


class GuessBench:
    """A stage, and methods to send requests and responses through it."""

    def __init__(self, subject, request_of, **settings) -> None:
        self.stage = BruteForceGuard(GuessSettings(**settings), Standings())
        self.now = 100.0
        self._subject = subject
        self._request_of = request_of

    def asking(
        self, *fields: str, method: str = "REGISTER", of: Flow | None = None, standing=Standing.UNPROVEN, **more
    ) -> Subject:
        """A request of the user of its credentials."""
        user = re.search('username="([^"]+)"', fields[0] if fields else "")
        if user is not None:
            more = {"to": f"<sip:{user[1]}@b>"} | more
        return self._subject(self._request_of(method, *fields, **more), standing, of=of)

    def judge(self, asking: Subject) -> Verdict:
        return self.stage.judge(asking, Phase.REQUEST, self.now)

    def tries(self, asking: Subject, times: int = 1, status: int = 401, challenge: str = CHALLENGE) -> int:
        """The number of requests that passed; each of these gets the response."""
        passed = 0
        for _ in range(times):
            if self.judge(asking) is PASS:
                passed += 1
                self.stage.answered(asking, answer(status, challenge), self.now)
        return passed


@pytest.fixture
def bench(subject, request_of) -> GuessBench:
    return GuessBench(subject, request_of)


# --- what is a try -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "MESSAGE"])
def test_a_refused_password_is_an_attempt(bench: GuessBench, status: int, field: str, method: str) -> None:
    asking = bench.asking(credentials().replace("Authorization", field), method=method)
    assert bench.tries(asking, 50, status) == 10


@pytest.mark.parametrize("status", [403, 404, 410, 604])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_an_unknown_user_is_an_attempt(bench: GuessBench, status: int, method: str) -> None:
    """THREATS 32: svwar and similar tools try another name each time."""
    passed = sum(
        bench.tries(bench.asking(method=method, to=f"<sip:{n}@edge.example>"), 1, status, "") for n in range(100, 150)
    )
    assert passed == 10


@pytest.mark.parametrize("status", [200, 202, 400, 408, 480, 486, 487, 500, 503, 603])
def test_other_responses_are_no_attempt(bench: GuessBench, status: int) -> None:
    assert bench.tries(bench.asking(credentials()), 50, status, "") == 50


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenge_is_no_attempt(bench: GuessBench, status: int) -> None:
    assert bench.tries(bench.asking(), 50, status) == 50


@pytest.mark.parametrize("stale", ["stale=true", 'stale="TRUE"', "Stale=True"])
def test_a_stale_nonce_is_no_attempt(bench: GuessBench, stale: str) -> None:
    assert bench.tries(bench.asking(credentials()), 50, 401, f"{CHALLENGE}, {stale}") == 50


@pytest.mark.parametrize("stale", ["stale=false", 'opaque="stale=true"', 'realm2="x, stale=true"'])
def test_a_nonce_is_stale_only_with_stale_true(bench: GuessBench, stale: str) -> None:
    assert bench.tries(bench.asking(credentials()), 50, 401, f"{CHALLENGE}, {stale}") == 10


@pytest.mark.parametrize("status", [404, 410, 604])
def test_wrong_numbers_of_a_registered_user_are_no_attempts(bench: GuessBench, status: int) -> None:
    asking = bench.asking(method="INVITE", standing=Standing.REGISTERED)
    assert bench.tries(asking, 50, status, "") == 50


def test_malformed_credentials_are_attempts(bench: GuessBench) -> None:
    assert bench.tries(bench.asking("Authorization: Digest username=,,"), 50) == 10
    assert bench.tries(bench.asking("Authorization: Basic abc", of=None, to="<sip:b@c>"), 1) == 0


# --- sources without attempts left -------------------------------------------------------------------------


def test_a_source_without_attempts_left_is_banned_by_flow_and_recorded_once(bench: GuessBench) -> None:
    asking = bench.asking(credentials())
    bench.tries(asking, 10)
    first, second = bench.judge(asking), bench.judge(asking)
    assert isinstance(first, Drop)
    assert isinstance(second, Drop)
    assert (first.reason, first.limit, first.ban, first.quiet) == (Reason.GUESS, 10, 60.0, False)
    assert (second.reason, second.ban, second.quiet) == (Reason.GUESS, 0.0, True)


def test_attempts_leave_the_window(bench: GuessBench) -> None:
    asking = bench.asking(credentials())
    bench.tries(asking, 10)
    bench.now += 59.9
    assert bench.judge(asking) is not PASS
    bench.now += 0.1
    assert bench.judge(asking) is PASS


def test_unproven_sources_are_one_address_and_proven_ones_a_flow(flow, bench: GuessBench) -> None:
    assert bench.tries(bench.asking(credentials("a"), of=flow(port=1)), 5) == 5
    assert bench.tries(bench.asking(credentials("b"), of=flow(port=2)), 50) == 5
    assert bench.tries(bench.asking(credentials("c"), of=flow(host="192.0.2.2")), 50) == 10
    for serial in (1, 2):
        asking = bench.asking(credentials(f"d{serial}"), of=flow("tls", serial=serial), standing=Standing.REACHABLE)
        assert bench.tries(asking, 50) == 10


def test_requests_in_a_call_pass_without_attempts_left(bench: GuessBench) -> None:
    """A tag in To alone shows no call, and a password may be guessed inside a call too."""
    bench.tries(bench.asking(credentials()), 10)
    for method in ("ACK", "BYE", "CANCEL"):
        assert bench.judge(bench.asking(method=method)) is PASS
    inside = bench.asking(method="INVITE", to="<sip:a@b>;tag=9")
    assert bench.judge(inside) is not PASS
    inside.in_call = True
    assert bench.judge(inside) is PASS
    guess = bench.asking(credentials(), method="INVITE", to="<sip:a@b>;tag=9")
    guess.in_call = True
    assert bench.judge(guess) is not PASS
    assert bench.judge(bench.asking(method="OPTIONS")) is not PASS


def test_a_token_that_was_made_for_another_is_an_attempt(flow, bench: GuessBench) -> None:
    asking = bench.asking(method="BYE")
    for _ in range(9):
        assert bench.stage.token_misused(asking, bench.now) is PASS
    tenth, next_one = bench.stage.token_misused(asking, bench.now), bench.stage.token_misused(asking, bench.now)
    assert isinstance(tenth, Drop)
    assert isinstance(next_one, Drop)
    assert (tenth.ban, next_one.ban, next_one.quiet) == (60.0, 0.0, True)
    for standing in (Standing.REGISTERED, Standing.TRUNK):  # the calls of a user, and of a carrier, must still work
        asking = bench.asking(method="BYE", of=flow("tls"), standing=standing)
        assert all(bench.stage.token_misused(asking, bench.now) is PASS for _ in range(30))


def test_a_registered_source_that_guesses_is_rejected_and_can_still_call(flow, bench: GuessBench) -> None:
    """The owner of one account must not guess the passwords of others."""
    asking = bench.asking(credentials("boss"), of=flow("tls"), standing=Standing.REGISTERED)
    assert bench.tries(asking, 50) == 10
    verdict = bench.judge(asking)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.reason) == (503, Reason.GUESS)
    assert verdict.retry_after is not None
    assert bench.judge(bench.asking(method="INVITE", of=flow("tls"), standing=Standing.REGISTERED)) is PASS


def test_a_success_on_one_account_takes_back_no_attempts_on_others(flow, bench: GuessBench) -> None:
    own = bench.asking(credentials("own"), of=flow("tls"), standing=Standing.REACHABLE)
    boss = bench.asking(credentials("boss"), of=flow("tls"), standing=Standing.REACHABLE)
    passed = 0
    for _ in range(50):
        bench.tries(own, 1, 200, "")
        passed += bench.tries(boss)
    assert passed == 10


@pytest.mark.parametrize("standing", [Standing.UNPROVEN, Standing.REACHABLE, Standing.REGISTERED])
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "MESSAGE"])
def test_a_success_without_a_look_at_the_password_takes_back_no_attempt(
    flow, bench: GuessBench, method: str, standing: Standing
) -> None:
    """A server that answers calls of a source without credentials does so too where these are wrong."""
    of = flow("tls" if standing else "udp")
    guess = bench.asking(credentials("boss"), of=of, standing=standing)
    passed = 0
    for _ in range(50):
        bench.tries(bench.asking(credentials("boss"), method=method, of=of, standing=standing), 1, 200, "")
        passed += bench.tries(guess)
    assert passed == 10


def test_a_success_as_the_user_of_the_flow_does(flow, bench: GuessBench) -> None:
    of = flow("tls")
    (account,) = [account_of(parse_digest(credentials("own").partition(": ")[2]))]
    assert account is not None
    bench.stage._standings.prove(of, Standing.REGISTERED, bench.now, 60.0, account)
    own = bench.asking(credentials("own"), method="INVITE", of=of, standing=Standing.REGISTERED)
    for _ in range(20):
        assert bench.tries(own, 3, 407) == 3
        assert bench.tries(own, 1, 200, "") == 1


def test_a_success_with_several_credentials_takes_back_no_attempt(flow, bench: GuessBench) -> None:
    """One would not know which of them was accepted."""
    of = flow("tls")
    guess = bench.asking(credentials("boss"), of=of, standing=Standing.REACHABLE)
    both = bench.asking(credentials("boss"), credentials("own"), of=of, standing=Standing.REACHABLE)
    passed = 0
    for _ in range(50):
        bench.tries(both, 1, 200, "")
        passed += bench.tries(guess)
    assert passed == 10


@pytest.mark.parametrize(
    "disguise",
    [
        lambda n: (credentials(f"u{n}", "elsewhere"), credentials("boss")),
        lambda n: (credentials("boss"), credentials(f"u{n}", "elsewhere")),
        lambda n: (credentials(f"u{n}"), credentials("boss").replace("Authorization", "Proxy-Authorization")),
        lambda n: (credentials(f"boss@x{n}"),),
    ],
)
def test_guesses_on_one_user_are_counted_for_it_whatever_else_they_name(flow, bench: GuessBench, disguise) -> None:
    passed = sum(
        bench.tries(
            bench.asking(
                *disguise(n), of=flow("tls", f"198.51.100.{n}"), standing=Standing.REACHABLE, to="<sip:boss@b>"
            )
        )
        for n in range(200)
    )
    assert passed == 30


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::{:x}"])
def test_attempts_over_many_connections_count_for_the_address_or_64(flow, bench: GuessBench, host: str) -> None:
    passed = 0
    for serial in range(1, 100):
        of = flow("tls", host.format(serial), port=serial, serial=serial)
        passed += bench.tries(bench.asking(credentials(f"u{serial}"), of=of, standing=Standing.REACHABLE), 9)
    assert passed == 100
    other = bench.asking(credentials(), of=flow("tls", host.format(500), serial=500), standing=Standing.REACHABLE)
    verdict = bench.judge(other)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.limit, verdict.detail) == (503, 100, "address")
    registered = bench.asking(credentials(), of=flow("tls", host.format(500), serial=500), standing=Standing.REGISTERED)
    assert bench.judge(registered) is PASS
    assert bench.judge(bench.asking(credentials(), of=flow("tls", "192.0.2.2"), standing=Standing.REACHABLE)) is PASS


def test_one_user_guessed_from_everywhere(flow, bench: GuessBench) -> None:
    passed = sum(
        bench.tries(bench.asking(credentials("boss"), of=flow("tls", f"198.51.100.{n}"), standing=Standing.REACHABLE))
        for n in range(200)
    )
    assert passed == 30
    verdict = bench.judge(bench.asking(credentials("boss"), of=flow("tls"), standing=Standing.REACHABLE))
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.limit, verdict.detail) == (503, 30, "user")
    silent = bench.judge(bench.asking(credentials("boss"), of=flow(host="203.0.113.1")))
    assert isinstance(silent, Drop)
    assert silent.ban == 0.0
    for asking in (
        bench.asking(credentials("boss"), of=flow(host="203.0.113.1"), standing=Standing.REGISTERED),
        bench.asking(credentials("boss"), of=flow(host="203.0.113.1"), standing=Standing.TRUNK),
        bench.asking(credentials("other"), of=flow(host="203.0.113.1")),
        bench.asking(credentials("boss", "elsewhere"), of=flow(host="203.0.113.1"), to="<sip:boss@elsewhere>"),
    ):
        assert bench.judge(asking) is PASS


def test_another_address_in_to_does_not_hide_an_attempt(flow, bench: GuessBench) -> None:
    passed = 0
    for n in range(200):
        asking = bench.asking(credentials("boss"), of=flow(host=f"198.51.100.{n}"), to=f"<sip:{n}@edge.example>")
        passed += bench.tries(asking)
    assert passed == 30


# --- sources that are not refused --------------------------------------------------------------------------


def test_three_mistyped_passwords_are_accepted(bench: GuessBench) -> None:
    for _ in range(20):  # the phone is restarted again and again
        assert bench.tries(bench.asking(credentials()), 3) == 3
        assert bench.tries(bench.asking(credentials()), 1, 200, "") == 1


@pytest.mark.parametrize("standing", [Standing.UNPROVEN, Standing.REACHABLE])
def test_two_hundred_phones_behind_one_address_register_again(flow, bench: GuessBench, standing: Standing) -> None:
    for _ in range(3):
        for port in range(1, 201):
            of = flow("tls" if standing else "udp", port=port, serial=port)
            assert bench.tries(bench.asking(of=of, standing=standing), 1, 401) == 1
            assert bench.tries(bench.asking(credentials(f"u{port}"), of=of, standing=standing), 1, 200, "") == 1
    assert len(bench.stage._unproven) == len(bench.stage._proven) == len(bench.stage._users) == 0


def test_trunks_are_not_judged_by_guess(bench: GuessBench) -> None:
    assert bench.tries(bench.asking(credentials(), standing=Standing.TRUNK), 100, 403) == 100


# --- bounds ------------------------------------------------------------------------------------------------


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, flow, subject, request_of) -> None:
    monkeypatch.setattr(limits, "GUESS_KEYS", 32)
    bench = GuessBench(subject, request_of)
    for n in range(300):
        host = f"10.0.{n >> 8}.{n & 255}"
        bench.tries(bench.asking(credentials(f"u{n}"), of=flow(host=host)))
        bench.tries(bench.asking(credentials(f"v{n}"), of=flow("tls", host, serial=n + 1), standing=Standing.REACHABLE))
    stage = bench.stage
    assert [len(counter) for counter in (stage._unproven, stage._proven, stage._addresses, stage._users)] == [32] * 4


def test_unproven_sources_displace_no_proven_source(monkeypatch: pytest.MonkeyPatch, flow, subject, request_of) -> None:
    monkeypatch.setattr(limits, "GUESS_KEYS", 32)
    bench = GuessBench(subject, request_of)
    guesser = bench.asking(credentials(), of=flow("tls"), standing=Standing.REACHABLE)
    bench.tries(guesser, 10)
    for n in range(300):
        bench.tries(bench.asking(credentials(f"u{n}"), of=flow(host=f"10.0.{n >> 8}.{n & 255}")))
    assert bench.judge(guesser) is not PASS


def test_forged_datagrams_do_not_reject_proven_sources(bench: GuessBench, flow) -> None:
    """UDP behaviour never harms a TCP, TLS or WSS peer."""
    for number in range(10):
        bench.tries(bench.asking(credentials(), of=flow(host=f"198.51.100.{number}")), 5)
    assert bench.tries(bench.asking(credentials(), of=flow(host="198.51.100.77"))) == 0
    for peer in (flow("tls"), flow(port=7)):
        assert bench.tries(bench.asking(credentials(), of=peer, standing=Standing.REACHABLE)) == 1


def test_attempts_of_proven_sources_count_for_all(bench: GuessBench, flow) -> None:
    for serial in range(1, 11):
        bench.tries(bench.asking(credentials(), of=flow("tls", serial=serial), standing=Standing.REACHABLE), 3)
    assert bench.tries(bench.asking(credentials(), of=flow(host="198.51.100.77"))) == 0
    assert bench.tries(bench.asking(credentials(), of=flow("tls", serial=99), standing=Standing.REACHABLE)) == 0
