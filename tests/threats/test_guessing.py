"""THREATS 31 and 32: users, numbers and passwords are guessed, at a registrar behind a running edge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.registrar import Registrar, credentials
from support.running import at, policy_text, running, until
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.bans import BanScope
from edgesbc.sip.digest import is_stale, parse_digest
from edgesbc.sip.message import Response

PASSWORDS = {"100": "secret", "101": "other"}


@asynccontextmanager
async def inside(folder: Path) -> AsyncIterator[tuple[App, Registrar]]:
    """An edge with the default policy, and the registrar behind it."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "pbx") as pbx,
        running(folder, policy_text(folder, [f"sip:{pbx.address}"])) as app,
        trio.open_nursery() as nursery,
    ):
        registrar = Registrar(pbx, PASSWORDS)
        nursery.start_soon(registrar.run)
        yield app, registrar
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def phone(app: App, transport: str = "tcp", host: str = "127.0.0.1") -> AsyncIterator[Ua]:
    peer = at(app, f"public-{transport}")
    async with Ua(await (UdpWire.open(host, peer=peer) if transport == "udp" else StreamWire.open(peer))) as ua:
        yield ua


async def answer_to(ua: Ua, app: App, user: str, *fields: str, method: str = "REGISTER") -> Response:
    """The answer to a request of ``ua`` for ``user``."""
    dialog = ua.dialog(f"sip:{user}@{at(app, 'public-tcp')}")
    await dialog.send(method, extra=fields)
    answer = await ua.hear()
    assert isinstance(answer, Response)
    if method == "INVITE":
        await dialog.send("ACK")
    return answer


async def register(ua: Ua, app: App, user: str, password: str) -> Response:
    challenge = await answer_to(ua, app, user)
    assert challenge.status == 401
    return await answer_to(ua, app, user, credentials(user, password, challenge.get("WWW-Authenticate") or ""))


def shape(answer: Response) -> tuple[object, ...]:
    """All of an answer that must not depend on the user: without the values of its request, and of the nonce its length
    and alphabet."""
    own = {"Via", "From", "To", "Call-ID", "CSeq", "WWW-Authenticate"}
    head, _, rest = (answer.get("WWW-Authenticate") or "").partition('nonce="')
    nonce, _, tail = rest.partition('"')
    fields = [(name, "" if name in own else value) for name, value in answer.fields]
    return (
        answer.status,
        answer.phrase,
        fields,
        head,
        len(nonce),
        set(nonce) <= set("0123456789abcdef"),
        tail,
        answer.body,
    )


async def test_32_known_and_unknown_users_get_the_same_response(tmp_path: Path) -> None:
    async with inside(tmp_path) as (app, registrar), phone(app) as mallory:
        known = await answer_to(mallory, app, "100")
        assert known.status == 401
        nonces = {known.get("WWW-Authenticate")}
        for user in ("555", "admin", "100"):
            first = await answer_to(mallory, app, user)
            second = await answer_to(
                mallory, app, user, credentials(user, "guess", first.get("WWW-Authenticate") or "")
            )
            assert shape(first) == shape(second) == shape(known)
            nonces |= {first.get("WWW-Authenticate"), second.get("WWW-Authenticate")}
        assert len(nonces) == 7
        assert [request.to.uri.user for request in registrar.requests][1::2] == ["555", "admin", "100"]


class Domains:
    """A registrar whose realm depends on the domains that a REGISTER names, in Request-URI, To and From."""

    def __init__(self, realm: str) -> None:
        self.harness = EdgeHarness(trunks={})
        self.realm = realm
        self.count = 0

    def ask(self, status: int, uri: str, to: str, from_: str) -> str:
        """The realm of the answer that a stranger gets if the registrar's is ``status``."""
        self.count += 1
        data = invite("REGISTER", uri=f"sip:{uri}", branch=f"z9hG4bK{self.count}", cseq=self.count)
        data = data.replace(b"sip:100@192.0.2.1>", f"sip:100@{to}>".encode())
        data = data.replace(b"sip:alice@example.org", f"sip:alice@{from_}".encode())
        ((_, request),) = self.harness.receive(Flow(PUBLIC, Source("203.0.113.9", 5060)), data)
        realm = self.realm.format(uri=uri, to=to, from_=from_, lower=to.lower())
        extra = f'WWW-Authenticate: Digest realm="{realm}", nonce="00ff"' if status == 401 else ""
        self.harness.receive(Flow(CORE, MEMBERS[0]), respond(request, status, extra=extra, contact=False))
        (answer,) = [message for _, message in self.harness.wait(2.5) if isinstance(message, Response)]
        assert answer.status == 401
        return parse_digest(answer.get("WWW-Authenticate") or "").text("realm") or ""


@pytest.mark.parametrize("realm", ["{to}", "{lower}", "{from_}", "{uri}", "inside", "one.example"])
def test_32_the_domain_of_an_earlier_challenge_shows_no_user(realm: str) -> None:
    """The sender had challenges for other domains, maybe of its own, before it asks for users of one."""
    domains = Domains(realm)
    for number in range(40):
        mine = f"d{number}.example"
        domains.ask(401, *(("one.example",) * 3 if number == 3 else (mine, f"To.{mine}", f"from.{mine}")))
    for uri, to, from_ in (("two.example",) * 3, ("three.example", "Four.example", "Five.example")):
        unknown = domains.ask(404, uri, to, from_)
        assert unknown == domains.ask(401, uri, to, from_)
        assert unknown == domains.ask(404, uri, to, from_)


def test_32_a_stale_nonce_of_a_phone_shows_no_user() -> None:
    """Every phone gets such a challenge now and then; a user that exists gets none for a first request."""
    domains = Domains('inside", stale=TRUE, opaque="0')
    domains.ask(401, *("one.example",) * 3)
    domains.realm = "inside"
    domains.ask(401, *("one.example",) * 3)
    domains.realm = 'inside", stale=TRUE, opaque="0'
    domains.ask(401, *("one.example",) * 3)
    (response,) = domains.harness.edge.parts.challenges._last["pbx"].values()
    assert not is_stale(response.get("WWW-Authenticate") or "")


def test_32_remembered_challenges_are_bounded() -> None:
    domains = Domains("{to}")
    for number in range(3 * limits.CHALLENGED_DOMAINS):
        domains.ask(401, "one.example", f"d{number}.example", "one.example")
    assert len(domains.harness.edge.parts.challenges._last["pbx"]) == limits.CHALLENGED_DOMAINS


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REFER", "NOTIFY"])
async def test_32_known_and_unknown_numbers_get_the_same_refusal(tmp_path: Path, method: str) -> None:
    async with inside(tmp_path) as (app, registrar), phone(app) as mallory:
        for user in ("100", "555"):
            dialog = mallory.dialog(f"sip:{user}@pbx.example")
            await dialog.send(method)
            answer = await mallory.hear()
            assert isinstance(answer, Response)
            assert answer.status == 403
            assert any("may not call" in line for line in app.ledger.ask(dialog.call_id).sentences())
        assert registrar.requests == []


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "PUBLISH", "FROBNICATE"])
async def test_31_methods_that_are_not_listed_are_refused(tmp_path: Path, method: str) -> None:
    async with inside(tmp_path) as (app, registrar), phone(app) as mallory:
        assert (await answer_to(mallory, app, "100", method=method)).status == 405
        assert registrar.requests == []


async def test_32_an_unproven_source_gets_no_response_to_its_call(tmp_path: Path) -> None:
    async with inside(tmp_path) as (app, registrar), phone(app, "udp", "127.0.0.66") as mallory:
        await mallory.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        await until(lambda: app.edge.pipeline.counts.get(("admission", "admission"), 0) > 0)
        assert await mallory.silent()
        assert registrar.requests == []


async def test_32_after_ten_attempts_the_connection_is_closed_and_others_go_on(tmp_path: Path) -> None:
    async with inside(tmp_path) as (app, registrar), phone(app) as mallory, phone(app) as alice:
        challenge = (await answer_to(mallory, app, "100")).get("WWW-Authenticate") or ""
        for number in range(10):
            refused = await answer_to(mallory, app, "100", credentials("100", f"guess{number}", challenge))
            assert refused.status == 401
            challenge = refused.get("WWW-Authenticate") or ""
        received = len(registrar.requests)
        serial = min(app.plane.connections)
        for _ in range(2):
            await mallory.dialog(f"sip:100@{at(app, 'public-tcp')}").send("REGISTER")
        await until(lambda: serial not in app.plane.connections)
        assert len(registrar.requests) == received == 11
        assert app.edge.pipeline.counts["guess", "guess"] == app.edge.pipeline.counts["guess", "ban"] == 1
        # The same user, from the same address, over another connection.
        for wrong in range(3):
            assert (await register(alice, app, "100", f"typo{wrong}")).status == 401
        assert (await register(alice, app, "100", "secret")).status == 200
        calling = alice.dialog(f"sip:101@{at(app, 'public-tcp')}")
        await calling.send("INVITE")
        await alice.response(486)
        assert registrar.requests[-1].method == "INVITE"


async def test_32_after_ten_names_the_source_is_banned(tmp_path: Path) -> None:
    """Datagrams with one user name after the other, as svwar sends them. The ban lasts a minute; from another address a
    user with a password can register."""
    async with inside(tmp_path) as (app, registrar), phone(app, "udp", "127.0.0.66") as mallory:
        for number in range(600, 610):
            answer = await answer_to(mallory, app, str(number))
            assert answer.status == 403
        for number in range(610, 620):
            await mallory.dialog(f"sip:{number}@{at(app, 'public-udp')}").send("REGISTER")
        await until(lambda: app.edge.pipeline.counts.get(("guess", "ban"), 0) == 1)
        assert await mallory.silent()
        assert len(registrar.requests) == 10
        (ban,) = app.edge.pipeline.penalties
        assert (ban.scope, ban.ttl, ban.reason.code) == (BanScope.FLOW, 60.0, "guess")
        async with phone(app, "udp", "127.0.0.66") as moved:  # another port of the address has no attempts left either
            await moved.dialog(f"sip:620@{at(app, 'public-udp')}").send("REGISTER")
            assert await moved.silent()
            assert len(registrar.requests) == 10
        async with phone(app, "udp", "127.0.0.67") as alice:
            assert (await register(alice, app, "101", "other")).status == 200
