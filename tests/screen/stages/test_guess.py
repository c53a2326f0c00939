"""Stage guess: what is a try, who has none left, and who is never hindered."""

from __future__ import annotations

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Flow
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase, Reject, Subject, Verdict
from edgesbc.screen.stages.guess import BruteForceGuard, GuessSettings
from edgesbc.screen.standing import Standing, Standings
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


class Door:
    """A stage, and a way to try something at it."""

    def __init__(self, subject, request_of, **settings) -> None:
        self.stage = BruteForceGuard(GuessSettings(**settings), Standings())
        self.now = 100.0
        self._subject = subject
        self._request_of = request_of

    def asking(
        self, *fields: str, method: str = "REGISTER", of: Flow | None = None, standing=Standing.UNPROVEN, **more
    ) -> Subject:
        return self._subject(self._request_of(method, *fields, **more), standing, of=of)

    def judge(self, asking: Subject) -> Verdict:
        return self.stage.judge(asking, Phase.REQUEST, self.now)

    def tries(self, asking: Subject, times: int = 1, status: int = 401, challenge: str = CHALLENGE) -> int:
        """How many of so many requests passed; each of those gets the answer."""
        passed = 0
        for _ in range(times):
            if self.judge(asking) is PASS:
                passed += 1
                self.stage.answered(asking, answer(status, challenge), self.now)
        return passed


@pytest.fixture
def door(subject, request_of) -> Door:
    return Door(subject, request_of)


# --- what is a try -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize("field", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "MESSAGE"])
def test_a_refused_password_is_one(door: Door, status: int, field: str, method: str) -> None:
    asking = door.asking(credentials().replace("Authorization", field), method=method)
    assert door.tries(asking, 50, status) == 10


@pytest.mark.parametrize("status", [403, 404, 410, 604])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_a_name_that_is_not_there_is_one(door: Door, status: int, method: str) -> None:
    """THREATS 32: svwar and the like, another name each time."""
    passed = sum(
        door.tries(door.asking(method=method, to=f"<sip:{n}@edge.example>"), 1, status, "") for n in range(100, 150)
    )
    assert passed == 10


@pytest.mark.parametrize("status", [200, 202, 400, 408, 480, 486, 487, 500, 503, 603])
def test_other_answers_are_none(door: Door, status: int) -> None:
    assert door.tries(door.asking(credentials()), 50, status, "") == 50


@pytest.mark.parametrize("status", [401, 407])
def test_to_be_asked_for_a_password_is_none(door: Door, status: int) -> None:
    assert door.tries(door.asking(), 50, status) == 50


@pytest.mark.parametrize("stale", ["stale=true", 'stale="TRUE"', "Stale=True"])
def test_an_old_nonce_is_none(door: Door, stale: str) -> None:
    assert door.tries(door.asking(credentials()), 50, 401, f"{CHALLENGE}, {stale}") == 50


@pytest.mark.parametrize("stale", ["stale=false", 'opaque="stale=true"', 'realm2="x, stale=true"'])
def test_only_where_it_says_so(door: Door, stale: str) -> None:
    assert door.tries(door.asking(credentials()), 50, 401, f"{CHALLENGE}, {stale}") == 10


@pytest.mark.parametrize("status", [404, 410, 604])
def test_a_registered_user_who_dials_wrong_numbers_guesses_nothing(door: Door, status: int) -> None:
    asking = door.asking(method="INVITE", standing=Standing.REGISTERED)
    assert door.tries(asking, 50, status, "") == 50


def test_credentials_that_cannot_be_read_are_tries_too(door: Door) -> None:
    assert door.tries(door.asking("Authorization: Digest username=,,"), 50) == 10
    assert door.tries(door.asking("Authorization: Basic abc", of=None, to="<sip:b@c>"), 1) == 0


# --- who has none left -------------------------------------------------------------------------------------


def test_who_has_none_left_is_banned_narrowly_and_that_is_told_once(door: Door) -> None:
    asking = door.asking(credentials())
    door.tries(asking, 10)
    first, second = door.judge(asking), door.judge(asking)
    assert isinstance(first, Drop)
    assert isinstance(second, Drop)
    assert (first.reason, first.limit, first.ban, first.quiet) == (Reason.GUESS, 10, 60.0, False)
    assert (second.reason, second.ban, second.quiet) == (Reason.GUESS, 0.0, True)


def test_the_window_passes(door: Door) -> None:
    asking = door.asking(credentials())
    door.tries(asking, 10)
    door.now += 59.9
    assert door.judge(asking) is not PASS
    door.now += 0.1
    assert door.judge(asking) is PASS


def test_unproven_sources_are_one_address_and_proven_ones_a_flow(flow, door: Door) -> None:
    assert door.tries(door.asking(credentials("a"), of=flow(port=1)), 5) == 5
    assert door.tries(door.asking(credentials("b"), of=flow(port=2)), 50) == 5
    assert door.tries(door.asking(credentials("c"), of=flow(host="192.0.2.2")), 50) == 10
    for serial in (1, 2):
        asking = door.asking(credentials(f"d{serial}"), of=flow("tls", serial=serial), standing=Standing.REACHABLE)
        assert door.tries(asking, 50) == 10


def test_a_call_that_is_alive_goes_on(door: Door) -> None:
    door.tries(door.asking(credentials()), 10)
    for method in ("ACK", "BYE", "CANCEL"):
        assert door.judge(door.asking(method=method)) is PASS
    assert door.judge(door.asking(method="INVITE", to="<sip:a@b>;tag=9")) is PASS
    assert door.judge(door.asking(method="OPTIONS")) is not PASS


def test_a_registered_source_that_guesses_is_put_off_and_calls_on(flow, door: Door) -> None:
    """One account is not to be a door to the others."""
    asking = door.asking(credentials("boss"), of=flow("tls"), standing=Standing.REGISTERED)
    assert door.tries(asking, 50) == 10
    verdict = door.judge(asking)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.reason) == (503, Reason.GUESS)
    assert verdict.retry_after is not None
    assert door.judge(door.asking(method="INVITE", of=flow("tls"), standing=Standing.REGISTERED)) is PASS


def test_who_has_an_account_cannot_wash_off_what_it_tries_on_others(flow, door: Door) -> None:
    own = door.asking(credentials("own"), of=flow("tls"), standing=Standing.REACHABLE)
    boss = door.asking(credentials("boss"), of=flow("tls"), standing=Standing.REACHABLE)
    passed = 0
    for _ in range(50):
        door.tries(own, 1, 200, "")
        passed += door.tries(boss)
    assert passed == 10


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::{:x}"])
def test_connections_without_end_are_one_address_or_64_after_all(flow, door: Door, host: str) -> None:
    passed = 0
    for serial in range(1, 100):
        of = flow("tls", host.format(serial), port=serial, serial=serial)
        passed += door.tries(door.asking(credentials(f"u{serial}"), of=of, standing=Standing.REACHABLE), 9)
    assert passed == 100
    other = door.asking(credentials(), of=flow("tls", host.format(500), serial=500), standing=Standing.REACHABLE)
    verdict = door.judge(other)
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.limit, verdict.detail) == (503, 100, "address")
    registered = door.asking(credentials(), of=flow("tls", host.format(500), serial=500), standing=Standing.REGISTERED)
    assert door.judge(registered) is PASS
    assert door.judge(door.asking(credentials(), of=flow("tls", "192.0.2.2"), standing=Standing.REACHABLE)) is PASS


def test_one_user_guessed_from_everywhere(flow, door: Door) -> None:
    passed = sum(
        door.tries(door.asking(credentials("boss"), of=flow("tls", f"198.51.100.{n}"), standing=Standing.REACHABLE))
        for n in range(200)
    )
    assert passed == 30
    verdict = door.judge(door.asking(credentials("boss"), of=flow("tls"), standing=Standing.REACHABLE))
    assert isinstance(verdict, Reject)
    assert (verdict.status, verdict.limit, verdict.detail) == (503, 30, "user")
    silent = door.judge(door.asking(credentials("boss"), of=flow(host="203.0.113.1")))
    assert isinstance(silent, Drop)
    assert silent.ban == 0.0
    for asking in (
        door.asking(credentials("boss"), of=flow(host="203.0.113.1"), standing=Standing.REGISTERED),
        door.asking(credentials("boss"), of=flow(host="203.0.113.1"), standing=Standing.TRUNK),
        door.asking(credentials("other"), of=flow(host="203.0.113.1")),
        door.asking(credentials("boss", "elsewhere"), of=flow(host="203.0.113.1")),
    ):
        assert door.judge(asking) is PASS


def test_the_address_in_to_hides_no_guess(flow, door: Door) -> None:
    passed = 0
    for n in range(200):
        asking = door.asking(credentials("boss"), of=flow(host=f"198.51.100.{n}"), to=f"<sip:{n}@edge.example>")
        passed += door.tries(asking)
    assert passed == 30


# --- who is never hindered ---------------------------------------------------------------------------------


def test_a_user_who_mistypes_three_times(door: Door) -> None:
    for _ in range(20):  # each time that the phone is restarted
        assert door.tries(door.asking(credentials()), 3) == 3
        assert door.tries(door.asking(credentials()), 1, 200, "") == 1


@pytest.mark.parametrize("standing", [Standing.UNPROVEN, Standing.REACHABLE])
def test_two_hundred_phones_behind_one_address_register_again(flow, door: Door, standing: Standing) -> None:
    for _ in range(3):
        for port in range(1, 201):
            of = flow("tls" if standing else "udp", port=port, serial=port)
            assert door.tries(door.asking(of=of, standing=standing), 1, 401) == 1
            assert door.tries(door.asking(credentials(f"u{port}"), of=of, standing=standing), 1, 200, "") == 1
    assert len(door.stage._strangers) == len(door.stage._proven) == len(door.stage._users) == 0


def test_a_trunk_is_not_asked(door: Door) -> None:
    assert door.tries(door.asking(credentials(), standing=Standing.TRUNK), 100, 403) == 100


# --- bounds ------------------------------------------------------------------------------------------------


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, flow, subject, request_of) -> None:
    monkeypatch.setattr(limits, "GUESS_KEYS", 32)
    door = Door(subject, request_of)
    for n in range(300):
        host = f"10.0.{n >> 8}.{n & 255}"
        door.tries(door.asking(credentials(f"u{n}"), of=flow(host=host)))
        door.tries(door.asking(credentials(f"v{n}"), of=flow("tls", host, serial=n + 1), standing=Standing.REACHABLE))
    stage = door.stage
    assert [len(each) for each in (stage._strangers, stage._proven, stage._addresses, stage._users)] == [32] * 4


def test_strangers_who_may_be_forged_push_no_proven_source_out(
    monkeypatch: pytest.MonkeyPatch, flow, subject, request_of
) -> None:
    monkeypatch.setattr(limits, "GUESS_KEYS", 32)
    door = Door(subject, request_of)
    guesser = door.asking(credentials(), of=flow("tls"), standing=Standing.REACHABLE)
    door.tries(guesser, 10)
    for n in range(300):
        door.tries(door.asking(credentials(f"u{n}"), of=flow(host=f"10.0.{n >> 8}.{n & 255}")))
    assert door.judge(guesser) is not PASS


def test_forged_datagrams_lock_nobody_out_who_is_there(door: Door, flow) -> None:
    """UDP behaviour never harms a TCP, TLS or WSS peer."""
    for number in range(10):
        door.tries(door.asking(credentials(), of=flow(host=f"198.51.100.{number}")), 5)
    assert door.tries(door.asking(credentials(), of=flow(host="198.51.100.77"))) == 0
    for peer in (flow("tls"), flow(port=7)):
        assert door.tries(door.asking(credentials(), of=peer, standing=Standing.REACHABLE)) == 1


def test_tries_of_those_who_are_there_count_for_all(door: Door, flow) -> None:
    for serial in range(1, 11):
        door.tries(door.asking(credentials(), of=flow("tls", serial=serial), standing=Standing.REACHABLE), 3)
    assert door.tries(door.asking(credentials(), of=flow(host="198.51.100.77"))) == 0
    assert door.tries(door.asking(credentials(), of=flow("tls", serial=99), standing=Standing.REACHABLE)) == 0
