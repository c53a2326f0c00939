"""THREATS 60: somebody forges the address and port of a phone that has registered over UDP.

What is forged has none of what the edge sends to the phone. The phone's own requests that show it go on.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from support.registrar import credentials, expires
from support.running import CORE_UDP, at, listen, policy_text, running
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond
from support.ua import Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import NO_SECRET, Standing
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
PHONE = Flow(PUBLIC, Source("203.0.113.9", 5060))
CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="{}"'
DIGEST = 'Authorization: Digest username="alice", realm="inside", nonce="{}", uri="sip:x", response="{}"\r\n'
"""With a nonce, and a response that the edge does not look at."""


class Phone:
    """A phone that has registered, with the nonce ``registered``, and a server that answers as the test says."""

    def __init__(self) -> None:
        self.harness = EdgeHarness(trunks={})
        self.count = 0
        self.challenge("registered")
        self.register(DIGEST.format("registered", 0))
        assert self.harness.standings.of(PHONE, self.harness.now) is Standing.REGISTERED
        self.harness.wait(10.0)

    def challenge(self, nonce: str, flow: Flow = PHONE) -> None:
        """A REGISTER without credentials from ``flow``, and the registrar's challenge with this nonce."""
        request = self.harness.receive(flow, self.request("REGISTER"))[-1][1]
        self.harness.receive(PBX, respond(request, 401, extra=CHALLENGE.format(nonce), contact=False))
        self.harness.wait(1.0)

    def register(self, digest: str, flow: Flow = PHONE, granted: str = "") -> None:
        """A REGISTER from ``flow`` that the registrar accepts; ``granted`` are more fields of its answer."""
        request = self.harness.receive(flow, self.request("REGISTER", extra=digest))[-1][1]
        extra = f"Contact: {request.get('Contact')};expires=3600{granted}"
        self.harness.receive(PBX, respond(request, 200, tag="pbx", extra=extra, contact=False))

    def request(self, method: str = "INVITE", extra: str = "", call: str = "", **fields: str) -> bytes:
        self.count += 1
        data = invite(method, extra=extra, **({"branch": f"z9hG4bKp{self.count}"} | fields))  # type: ignore[arg-type]
        return data.replace(b"Call-ID: c1", f"Call-ID: {call or self.count}".encode())

    def inward(self, data: bytes) -> list[Request]:
        """The requests that the private side gets because of ``data``."""
        sent = self.harness.receive(PHONE, data)
        return [message for flow, message in sent if flow == PBX and isinstance(message, Request)]

    def outward(self, data: bytes) -> list[Response]:
        """The responses that the phone gets because of ``data``, which the server sends."""
        sent = self.harness.receive(PBX, data)
        return [message for flow, message in sent if flow == PHONE and isinstance(message, Response)]

    def flood(self, number: int = 2_000, make: Callable[[int], bytes] | None = None) -> int:
        """Forge datagrams; how many of them the private side gets."""
        got = 0
        for n in range(number):
            data = make(n) if make is not None else self.request("OPTIONS", uri="sip:100@example.org")
            got += len(self.inward(data))
        return got


def test_60_credentials_with_a_nonce_of_the_registration_pass() -> None:
    phone = Phone()
    phone.flood()
    assert phone.inward(phone.request()) == []
    assert phone.inward(phone.request(extra=DIGEST.format("invented", 1))) == []
    assert len(phone.inward(phone.request(extra=DIGEST.format("registered", 1)))) == 1


def test_60_credentials_with_the_nonce_of_a_challenge_pass() -> None:
    phone = Phone()
    (request,) = phone.inward(phone.request())
    assert phone.outward(respond(request, 401, extra=CHALLENGE.format("fresh")))
    phone.flood()
    assert len(phone.inward(phone.request(extra=DIGEST.format("fresh", 1)))) == 1
    assert len(phone.inward(phone.request("REGISTER", extra=DIGEST.format("registered", 2)))) == 1


def test_60_of_another_flow_they_do_not() -> None:
    phone = Phone()
    other = Flow(PUBLIC, Source("203.0.113.10", 5060))
    phone.harness.standings.prove(other, Standing.REGISTERED, phone.harness.now, 3600.0, 1)
    phone.harness.standings.nonces.challenged(other.key, ["theirs"])
    phone.harness.standings.nonces.accepted(other.key, ["theirs"])
    phone.flood()
    assert phone.inward(phone.request(extra=DIGEST.format("theirs", 1))) == []


MALLORY = Flow(PUBLIC, Source("203.0.113.66", 5060))
THEIRS = DIGEST.replace("alice", "mallory")


def test_60_somebody_with_an_account_plants_no_nonce() -> None:
    """The registrar accepts the credentials, whatever address the datagram with them came from."""
    phone = Phone()
    phone.challenge("mine", MALLORY)
    phone.register(THEIRS.format("mine", 1), MALLORY)
    for _ in range(3):
        phone.register(THEIRS.format("mine", 2), PHONE)
    phone.harness.wait(10.0)
    phone.flood()
    assert phone.inward(phone.request(extra=THEIRS.format("mine", 3))) == []
    assert len(phone.inward(phone.request(extra=DIGEST.format("registered", 1)))) == 1


def test_60_nor_is_the_phone_taken_for_their_account() -> None:
    """Its calls would count as theirs, of which there may be as many as are allowed."""
    phone = Phone()
    standings = phone.harness.standings
    before = standings.call_holder(PHONE, True, phone.harness.now)
    for number in range(limits.ACCOUNTS_OF_FLOW + 1):
        phone.challenge(f"n{number}", MALLORY)
        phone.register(THEIRS.replace("mallory", f"m{number}").format(f"n{number}", 1), PHONE)
        phone.harness.wait(2.0)
    assert standings.call_holder(PHONE, True, phone.harness.now) == before
    assert len(standings.accounts(PHONE, phone.harness.now)) == 1


def test_60_a_phone_with_two_lines_has_both() -> None:
    phone = Phone()
    phone.challenge("second")
    phone.register(THEIRS.format("second", 1), PHONE)
    assert len(phone.harness.standings.accounts(PHONE, phone.harness.now)) == 2


def test_60_a_nonce_that_another_flow_got_too_is_no_secret() -> None:
    """Some registrars give the same to all that ask within a second."""
    phone = Phone()
    phone.challenge("registered", MALLORY)
    phone.flood()
    assert phone.inward(phone.request(extra=DIGEST.format("registered", 1))) == []


def test_60_the_next_nonce_of_a_success_passes() -> None:
    phone = Phone()
    phone.register(DIGEST.format("registered", 1), granted='\r\nAuthentication-Info: nextnonce="next", qop=auth')
    phone.harness.wait(10.0)
    phone.flood()
    assert len(phone.inward(phone.request(extra=DIGEST.format("next", 1)))) == 1


def test_60_nonces_that_were_given_are_bounded() -> None:
    phone = Phone()
    nonces = phone.harness.standings.nonces
    for number in range(limits.GIVEN_NONCES + 100):
        nonces.given(MALLORY.key, [f"g{number}"])
    assert len(nonces._given) == limits.GIVEN_NONCES
    assert nonces.has(PHONE.key, "registered"), "an attacker's challenges displace no accepted nonce of a phone"


def set_up(phone: Phone) -> tuple[bytes, Response]:
    """A call of the phone: its INVITE, and the 200 that it gets."""
    data = phone.request(extra=DIGEST.format("registered", 1), call="own")
    (request,) = phone.inward(data)
    (answer,) = [one for one in phone.outward(respond(request, 200, tag="callee")) if one.status == 200]
    return data, answer


def target(answer: Response) -> str:
    return (answer.get("Contact") or "").strip("<>")


def test_60_requests_inside_its_calls_pass() -> None:
    phone = Phone()
    _, answer = set_up(phone)
    phone.flood()
    for number, method in enumerate(("ACK", "INVITE", "BYE")):
        inside = phone.request(method, uri=target(answer), call="own", cseq=number + 1, to_tag="callee")  # type: ignore[arg-type]
        forged = phone.request(method, uri=target(answer), call="own", cseq=number + 1, to_tag="guess")  # type: ignore[arg-type]
        dropped = phone.harness.edge.pipeline.counts["pike", "pike"]
        assert phone.inward(forged) == []
        assert phone.harness.edge.pipeline.counts["pike", "pike"] == dropped + 1, "before it was parsed"
        assert len(phone.inward(inside)) == 1, method


def test_60_the_other_party_of_a_call_uses_up_the_density_of_that_call_alone() -> None:
    """It may know Call-ID and tags, and forges requests of the phone with them."""
    phone = Phone()
    set_up(phone)
    other = invite(branch="z9hG4bKother", to_tag="callee").replace(b"Call-ID: c1", b"Call-ID: own")
    phone.flood()
    phone.flood(make=lambda number: other.replace(b"z9hG4bKother", f"z9hG4bKo{number}".encode()))
    assert len(phone.inward(phone.request(extra=DIGEST.format("registered", 2)))) == 1


def test_60_its_cancel_passes() -> None:
    phone = Phone()
    data = phone.request(extra=DIGEST.format("registered", 1), call="own")
    (request,) = phone.inward(data)
    phone.outward(respond(request, 180, tag="callee"))
    phone.flood()
    cancel = data.replace(b"INVITE ", b"CANCEL ", 1).replace(b"CSeq: 1 INVITE", b"CSeq: 1 CANCEL")
    cancel = cancel.replace(DIGEST.format("registered", 1).encode(), b"")
    assert [one.method for one in phone.inward(cancel)] == ["CANCEL"]


def test_60_the_branch_of_a_forged_invite_is_no_secret() -> None:
    phone = Phone()
    forged = phone.request(call="forged")
    (request,) = phone.inward(forged)
    phone.outward(respond(request, 180, tag="callee"))
    phone.flood()
    cancel = forged.replace(b"INVITE ", b"CANCEL ", 1).replace(b"CSeq: 1 INVITE", b"CSeq: 1 CANCEL")
    assert phone.inward(cancel) == []


def test_60_its_answers_to_calls_pass() -> None:
    phone = Phone()
    (request,) = phone.inward(phone.request("REGISTER", extra=DIGEST.format("registered", 5)))
    path = (request.get("Path") or "").strip("<>").removesuffix(";lr")
    call = invite(uri=path, branch="z9hG4bKcore", from_tag="server").replace(b"Call-ID: c1", b"Call-ID: inward")
    ((flow, called),) = [
        pair for pair in phone.harness.receive(PBX, call) if isinstance(pair[1], Request) and pair[1].method == "INVITE"
    ]
    assert flow == PHONE
    phone.flood()
    answer = respond(called, 200, tag="phone").replace(b"bob@10.0.0.11:5070", b"alice@203.0.113.9")
    forged = answer.replace((called.via.branch).encode(), b"z9hG4bKguess")
    assert phone.harness.receive(PHONE, forged) == []
    sent = phone.harness.receive(PHONE, answer)
    assert [message.status for to, message in sent if to == PBX and isinstance(message, Response)] == [200]
    bye = phone.request("BYE", uri=(called.get("Contact") or "").strip("<>"), call="inward", to_tag="server",
                        from_tag="phone")  # fmt: skip
    assert [message.method for _, message in phone.harness.receive(PHONE, bye) if isinstance(message, Request)] == [
        "BYE"
    ]


def test_60_forged_requests_use_up_no_attempt_and_no_call_of_the_phone() -> None:
    """Forged credentials are wrong, and forged calls many."""
    phone = Phone()

    def forge(number: int) -> bytes:
        return phone.request("INVITE", extra=DIGEST.format("invented", number))

    for _ in range(30):
        for request in (one for n in range(40) for one in phone.inward(forge(n))):
            phone.outward(respond(request, 403))
        phone.harness.wait(2.5)
    phone.flood(make=forge)
    assert len(phone.inward(phone.request(extra=DIGEST.format("registered", 1)))) == 1


def test_60_forged_calls_that_are_answered_do_not_count_for_the_account() -> None:
    """A server that asks calls of registered users for no credentials answers them."""
    phone = Phone()
    for _ in range(12):
        for _ in range(20):
            for request in phone.inward(phone.request()):
                phone.outward(respond(request, 200, tag=f"b{phone.count}"))
        phone.harness.wait(2.5)
    assert phone.harness.reasons[-1] == "source-calls"
    assert len(phone.inward(phone.request(extra=DIGEST.format("registered", 1)))) == 1


def test_60_the_phone_itself_is_held_to_the_density() -> None:
    phone = Phone()
    got = phone.flood(500, lambda number: phone.request(extra=DIGEST.format("registered", number)))
    assert got <= 2 * phone.harness.edge.pipeline.settings.pike.reqs_density_per_unit


def test_60_remembered_nonces_are_bounded() -> None:
    phone = Phone()
    nonces = phone.harness.standings.nonces
    for number in range(10 * limits.CHALLENGES_OF_FLOW):
        nonces.challenged(PHONE.key, [f"a{number}"])
        nonces.accepted(PHONE.key, [f"a{number}"])
        nonces.challenged(PHONE.key, [f"n{number}"])
    for number in range(limits.GIVEN_NONCES):
        nonces.given(MALLORY.key, [f"g{number}"])
    assert len(nonces._challenges[PHONE.key]) == limits.CHALLENGES_OF_FLOW
    assert len(nonces._accepted[PHONE.key]) == limits.ACCEPTED_NONCES_OF_FLOW
    phone.harness.standings.withdraw(PHONE)
    assert len(nonces) == 0


@pytest.mark.parametrize(
    "part", ["Authorization: Digest ", " nonce=", ' nonce="', "\r\nTo: ", "\r\nTo: ;tag=", ";tag="]
)
def test_60_a_look_is_linear(part: str) -> None:
    """Each part repeated fills what is searched; a look finds nothing, and ends."""
    phone = Phone()
    data = b"OPTIONS sip:x SIP/2.0\r\nAuthorization: Digest " + part.encode() * limits.SECRET_BYTES
    assert phone.harness.standings.secret_in(PHONE, data) == NO_SECRET


# --- real traffic ----------------------------------------------------------------------------------------

NONCE = secrets.token_hex(16)
CALLS = 25


async def serve(pbx: Ua) -> None:
    """A registrar and server that challenges what has no credentials with its nonce."""
    while True:
        request = await pbx.hear(patience=float("inf"))
        if not isinstance(request, Request) or request.method == "ACK":
            continue
        challenge = f'WWW-Authenticate: Digest realm="inside", nonce="{NONCE}"'
        if request.method not in ("BYE", "OPTIONS") and NONCE not in (request.get("Authorization") or ""):
            await pbx.answer(request, 401, tag=secrets.token_hex(4), extra=(challenge,))
        elif request.method == "REGISTER":
            contact = f"Contact: {request.get('Contact')};expires={expires(request)}"
            await pbx.answer(request, 200, tag=secrets.token_hex(4), extra=(contact,))
        else:
            await pbx.answer(request, 200, tag=request.from_tag[::-1])


async def answer_to(phone: Ua, call_id: str, status: int) -> Response:
    """The final response to the phone's own request; others are to what was forged."""
    while True:
        message = await phone.hear()
        if isinstance(message, Response) and message.call_id == call_id and message.status >= 200:
            assert message.status == status, message
            return message


class Forger:
    """Sends requests and garbage from the phone's own address and port: it has the phone's socket."""

    def __init__(self, wire: UdpWire, target: str) -> None:
        self.wire = wire
        self.target = target
        self.sent = 0

    async def forge(self, number: int) -> None:
        for _ in range(number):
            self.sent += 1
            method = ("OPTIONS", "INVITE", "REGISTER", "garbage")[self.sent % 4]
            uri, name = f"sip:9@{self.target}", f"f{self.sent}"
            forged = invite(method, uri=uri, branch=f"z9hG4bK{name}", from_tag=name)
            await self.wire.send(forged.replace(b"Call-ID: c1", f"Call-ID: {name}".encode()))


@pytest.mark.alone
async def test_60_a_phone_whose_address_is_forged_calls_on(tmp_path: Path) -> None:
    """Every call of the phone succeeds without a retransmission, from INVITE with credentials to BYE."""
    async with Ua(await UdpWire.open("127.0.0.11"), "pbx") as pbx, trio.open_nursery() as nursery:
        nursery.start_soon(serve, pbx)
        text = policy_text(
            tmp_path, [f"sip:{pbx.address}"], [listen("public", "udp", "127.0.0.1:0", "public-udp"), CORE_UDP],
            trunks=["127.0.0.99"],
            more="[screen.pike]\nreqs_density_per_unit = 100",  # the phone's own calls are 75 messages
        )  # fmt: skip
        async with running(tmp_path, text) as app:
            target = at(app, "public-udp")
            wire = await UdpWire.open("127.0.0.61", target)
            async with Ua(wire, "alice") as phone:
                register = phone.dialog(f"sip:alice@{target}")
                await register.send("REGISTER", uri=f"sip:{target}")
                challenge = (await answer_to(phone, register.call_id, 401)).get("WWW-Authenticate") or ""
                own = credentials("alice", "secret", challenge)
                await register.send("REGISTER", extra=(own,), uri=f"sip:{target}")
                await answer_to(phone, register.call_id, 200)
                forger = Forger(wire, str(target))
                await forger.forge(1_000)
                for _ in range(CALLS):
                    call = phone.dialog(f"sip:100@{target}")
                    await forger.forge(200)
                    await call.send("INVITE", extra=(own,))
                    call.learn(await answer_to(phone, call.call_id, 200))
                    await call.send("ACK")
                    await forger.forge(200)
                    await call.send("BYE")
                    await answer_to(phone, call.call_id, 200)
                assert app.plane.edge.pipeline.counts["pike", "pike"] > forger.sent // 2
                nursery.cancel_scope.cancel()
