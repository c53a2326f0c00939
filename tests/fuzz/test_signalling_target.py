"""The target that plays whole calls: its seeds reach what they are for, and edges that break a promise are found."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.media.commands import Delete, MediaError, MediaReply
from edgesbc.screen.stages.sanity import Sanity
from edgesbc.signalling import call, contact_tokens, responder, topology
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.call import Call, Leg
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Media, Open, Send
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.in_dialog import InDialogRequests
from edgesbc.signalling.incoming import Incoming
from edgesbc.signalling.offer_answer import OfferAnswer
from edgesbc.signalling.request_sender import RequestSender
from edgesbc.signalling.responder import Responder
from edgesbc.signalling.tokens import RemoteTarget
from edgesbc.sip.machines import INVITE_SERVER, TransactionEvent, TransactionState
from edgesbc.sip.message import Request, Response
from edgesbc.sip.transaction import ClientTransaction, ServerTransaction
from edgesbc.sip.transactions import Transactions
from fuzz import run
from fuzz.dsl import VICTIM
from fuzz.environment import BROWSERS, CORE, PUBLIC
from fuzz.signalling import check, play

SEEDS = run.ROOT / "corpus" / "signalling"


def seed(name: str) -> bytes:
    return (SEEDS / name).read_bytes()


# --- programs --------------------------------------------------------------------------------------------


def test_any_bytes_are_a_program() -> None:
    random = Random(1)
    for size in (0, 1, 3, 40, 200):
        for _ in range(20):
            check(random.randbytes(size))
    check(bytes(range(256)))


def said(name: str) -> tuple[set[str], dict[str, int], dict[tuple[str, ...], int]]:
    """The first words of what a seed has the edge send, how its calls ended, and what the screen refused."""
    seen = play(seed(name))
    words = {data.removeprefix(b"SIP/2.0 ").split(b" ")[0].decode() for _, data in seen.sent}
    outcomes = {labels[0]: count for labels, count in seen.edge.counters.outcomes.items()}
    return words, outcomes, {**seen.edge.pipeline.counts, ("malformed",): sum(seen.edge.counters.malformed.values())}


@pytest.mark.parametrize(
    ("name", "words", "outcomes"),
    [
        ("call", "INVITE 180 200 ACK BYE", {"answered": 1}),
        ("stranger-call", "INVITE PRACK 180 200 ACK BYE", {"answered": 1}),
        ("failover", "INVITE 200 ACK BYE CANCEL", {"answered": 2}),
        ("all-silent", "INVITE 503 CANCEL ACK BYE", {"failed": 2}),
        ("forks", "INVITE 183 200 ACK BYE CANCEL", {"answered": 1}),
        ("forks-of-one", "INVITE 180 183 200 ACK BYE", {"answered": 1}),
        ("forks-of-a-stranger", "INVITE 200 ACK BYE", {"answered": 1}),
        ("broadcast-refused", "INVITE 401 603 CANCEL ACK", {"refused": 2}),
        ("second-fork-refused", "INVITE 200 ACK BYE", {"answered": 1}),
        ("cancel-races", "INVITE CANCEL 481 487 200 ACK", {"cancelled": 1, "answered": 1}),
        ("cancel-at-media", "INVITE 487 CANCEL ACK BYE", {"cancelled": 2, "answered": 1}),
        ("closed-at-media", "REGISTER INVITE 480", {"failed": 1, "answered": 1}),
        ("media-trouble", "INVITE 488 503 500 ACK BYE", {"answered": 1, "no-media": 3}),
        ("media-refuses", "INVITE 488 503", {"no-media": 3}),
        ("register", "REGISTER 401 200 INVITE ACK BYE 480", {"answered": 1, "failed": 1}),
        ("register-by-udp", "REGISTER INVITE 200 ACK BYE MESSAGE", {"answered": 1}),
        ("users-that-are-not", "REGISTER 403 401", {}),
        ("late-offer", "INVITE PRACK UPDATE 183 200 ACK", {"answered": 1}),
        ("hidden-offers", "INVITE INFO BYE OPTIONS ACK 488", {"answered": 1, "no-media": 5}),
        ("plain", "INVITE UPDATE ACK BYE 200", {"answered": 1}),
        ("browsers-and-streams", "INVITE ACK 180 200 400 BYE", {"answered": 1}),
        ("bye-to-who-is-gone", "INVITE REGISTER CANCEL 480 408", {"timeout": 1}),
        ("never-acknowledged", "INVITE 200 BYE", {"answered": 1}),
        ("drain", "INVITE 503 CANCEL ACK BYE", {"answered": 1, "draining": 1}),
        ("answered-without-contact", "INVITE ACK BYE", {"answered": 1}),
        ("loops", "INVITE REGISTER 482 483 440", {}),
        ("out-again", "INVITE ACK BYE 200", {"answered": 2}),
        ("tokens", "INVITE 481 ACK INFO BYE", {"answered": 1}),
        ("wrong-sources", "INVITE 481 486 ACK", {"refused": 1}),
        ("repeated", "INVITE 180 200 486 BYE", {"answered": 1}),
        ("flood", "503 INVITE", {}),
        ("scanner-on-streams", "200 INVITE", {}),
        ("time", "408 CANCEL INVITE BYE 503", {"answered": 1, "timeout": 1}),
        ("health", "OPTIONS INVITE", {"answered": 1}),
        ("steering", "INVITE ACK 200 486 BYE", {"answered": 2}),
        ("odd-texts", "400 405 416 INVITE NOTIFY SUBSCRIBE MESSAGE", {"answered": 1}),
    ],
)
def test_a_seed_reaches_what_it_is_for(name: str, words: str, outcomes: dict[str, int]) -> None:
    told, ended, _ = said(name)
    assert told >= set(words.split())
    assert {how: ended.get(how, 0) for how in outcomes} == outcomes


def test_every_seed_is_looked_at() -> None:
    (mark,) = test_a_seed_reaches_what_it_is_for.pytestmark  # type: ignore[attr-defined]
    assert {name for name, _, _ in mark.args[1]} == {path.name for path in SEEDS.iterdir()}


def test_the_flood_is_banned_and_what_is_no_message_is_counted() -> None:
    assert said("flood")[2]["penalties", "banned"] > 0
    assert said("odd-texts")[2]["malformed",] > 2
    assert said("scanner-on-streams")[2]["conduct", "ban"] > 1


# --- edges that break a promise, by what they say ---------------------------------------------------------


class _Broken(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        return self.spoil(super().receive(flow, data, now))

    def media_replied(self, cookie: int, reply: MediaReply | MediaError, now: float) -> list[Effect]:
        return self.spoil(super().media_replied(cookie, reply, now))

    def expire(self, now: float) -> list[Effect]:
        return self.spoil(super().expire(now))

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        raise NotImplementedError


def _swapped(effects: list[Effect], start: bytes, old: bytes, new: bytes) -> list[Effect]:
    """The effects, with another text in the messages that begin so."""
    return [
        Send(each.flow, each.data.replace(old, new, 1)) if isinstance(each, Send) and each.data[:9] == start else each
        for each in effects
    ]


class Raises(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        raise KeyError("oh")


class CallsStrangers(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        victim = Flow(PUBLIC, Source(VICTIM, 5060))
        return effects + [Send(victim, each.data) for each in effects if isinstance(each, Send)][-1:]


class ConnectsOutside(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [*effects, Open(Flow(BROWSERS, Source(VICTIM, 443), 99), VICTIM)]


class WritesCompactNames(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return _swapped(effects, b"INVITE si", b"\r\nCall-ID: ", b"\r\ni: ")


class KeepsVias(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        more = b"\r\nVia: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bK1;rport\r\nFrom: "
        return _swapped(effects, b"INVITE si", b"\r\nFrom: ", more)


class AnswersTwice(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        more = [each for each in effects if isinstance(each, Send) and each.data.startswith(b"SIP/2.0 4")]
        return effects + _swapped(list(more), b"SIP/2.0 4", b"SIP/2.0 4", b"SIP/2.0 5")


class InventsAnswers(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return _swapped(effects, b"SIP/2.0 4", b"SIP/2.0 486", b"SIP/2.0 200")


class SwallowsRefusals(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [each for each in effects if not (isinstance(each, Send) and each.data.startswith(b"SIP/2.0 486"))]


class ForgetsToCancel(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [each for each in effects if not (isinstance(each, Send) and each.data.startswith(b"CANCEL "))]


class SwallowsForks(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        return [] if data.startswith(b"SIP/2.0 200 ") and b";tag=t2\r\n" in data else effects


class LeaksLeases(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        self.dispatcher.acquire("pbx", 1000.0)
        return effects


class LeavesMediaOpen(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [each for each in effects if not (isinstance(each, Media) and isinstance(each.command, Delete))]


class SaysTooMuch(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return effects * 100


class HearsTheBanned(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        if not effects and self.pipeline.penalties:
            self._parse(flow, data, now)
        return effects + self.take_effects()


class KeepsTheBanned(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not isinstance(effect, Close)]


class ClosesAnybody(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        return effects + [Close(each) for each in self.parts.flows if each.listener.zone is Zone.PUBLIC]


@pytest.mark.parametrize(
    ("harness", "name", "says"),
    [
        (Raises, "call", "'oh'"),
        (CallsStrangers, "call", f"to Flow(public {VICTIM}"),
        (ConnectsOutside, "call", "a connection to the public side"),
        (WritesCompactNames, "call", "written otherwise"),
        (KeepsVias, "stranger-call", "Via: SIP/2.0/UDP 203.0.113.9"),
        (AnswersTwice, "wrong-sources", "several final answers"),
        (InventsAnswers, "wrong-sources", "that nobody gave"),
        (SwallowsRefusals, "wrong-sources", "had no final answer"),
        (ForgetsToCancel, "all-silent", "never told of the end"),
        (SwallowsForks, "forks-of-a-stranger", "nothing comes of the 2xx"),
        (LeaksLeases, "call", "nothing that lives holds it"),
        (LeavesMediaOpen, "call", "'media sessions': 1"),
        (SaysTooMuch, "call", "effects of"),
        (HearsTheBanned, "flood", "a banned source moves something"),
        (KeepsTheBanned, "scanner-on-streams", "is banned and stays open"),
        (ClosesAnybody, "scanner-on-streams", "is closed for nothing"),
    ],
)
def test_an_edge_that_breaks_a_promise_is_found_out(harness: type[Edge], name: str, says: str) -> None:
    with pytest.raises((AssertionError, KeyError)) as caught:
        play(seed(name), harness)
    assert says in str(caught.value)


# --- and by how they are made ------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def believes_any_source(patch: pytest.MonkeyPatch) -> None:
    receive = Transactions.receive

    def believing(self: Transactions, response: Response, flow: Flow, now: float) -> ClientTransaction | None:
        client = self._clients.get((response.via.branch, response.cseq_method))
        return receive(self, response, client.flow if client is not None else flow, now)

    patch.setattr(Transactions, "receive", believing)


def opens_tokens_of_the_other_side(patch: pytest.MonkeyPatch) -> None:
    def either(self: ContactTokens, token: str, holder: Flow) -> RemoteTarget | None:
        zone = holder.listener.zone
        return self._sealer.open(token, zone) or self._sealer.open(token, zone.other)

    patch.setattr(ContactTokens, "open", either)


def answers_where_via_says(patch: pytest.MonkeyPatch) -> None:
    def steered(request: Request, flow: Flow) -> Flow:
        host = request.via.param("maddr")
        return Flow(flow.listener, Source(host, 5060)) if host else flow

    patch.setattr(responder, "reply_flow", steered)


def follows_any_uri(patch: pytest.MonkeyPatch) -> None:
    """A URI that a stranger called is taken for the place where the callee is."""
    target = call.remote_target

    def careless(leg: Leg, epoch: str) -> RemoteTarget:
        leg.contact_value = leg.contact_value or "there was none"
        return target(leg, epoch)

    patch.setattr(contact_tokens, "remote_target", careless)


def follows_public_contacts(patch: pytest.MonkeyPatch) -> None:
    target = call.remote_target

    def careless(leg: Leg, epoch: str) -> RemoteTarget:
        found = target(leg, epoch)
        return (
            RemoteTarget(found.listener, Source(VICTIM, 5060), 0, found.epoch, found.uri) if not found.serial else found
        )

    patch.setattr(contact_tokens, "remote_target", careless)


def lets_all_fields_cross(patch: pytest.MonkeyPatch) -> None:
    own = {"Via", "Contact", "Record-Route", "Route", "Max-Forwards", "Content-Length"}
    patch.setattr(topology, "_crossing", lambda fields, to: [pair for pair in fields if pair[0] not in own])


def tells_of_the_inside(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(topology, "_STOPS_OUTWARD", topology._STOPS_INWARD)


def asserts_what_strangers_say(patch: pytest.MonkeyPatch) -> None:
    forward = topology.forward_request
    patch.setattr(topology, "forward_request", lambda *given: forward(*given[:7], trusted=True))


def lets_descriptions_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OfferAnswer, "should_anchor", lambda self, message: False)
    patch.setattr(OfferAnswer, "body_without_sdp", lambda self, message: None)


def lets_hidden_descriptions_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OfferAnswer, "hides_sdp_from_media", lambda self: False)
    patch.setattr(OfferAnswer, "body_without_sdp", lambda self, message: None)


def sends_every_ack_on(patch: pytest.MonkeyPatch) -> None:
    absorb = Transactions.absorb
    patch.setattr(
        Transactions,
        "absorb",
        lambda self, request, now, size: request.method != "ACK" and absorb(self, request, now, size),
    )

    def send_on(self: InDialogRequests, incoming: Incoming, now: float) -> None:
        parts, request = self._parts, incoming.message
        data = topology.forward_request(request, CORE, parts.branches.sender.new_branch(), str(request.uri))
        parts.effects.send(Flow(CORE, Source("10.0.0.11", 5060)), data)

    patch.setattr(InDialogRequests, "forward_ack", send_on)


def repeats_to_everybody(patch: pytest.MonkeyPatch) -> None:
    """Timer G runs, and a 2xx is repeated, to sources that may be forged too."""
    patch.setattr(ServerTransaction, "proven", property(lambda self: True, lambda self, value: None))


def repeats_bye_to_everybody(patch: pytest.MonkeyPatch) -> None:
    send = RequestSender.send

    def repeated(self: RequestSender, *given: Any, in_dialog: bool = False, **named: Any) -> ClientTransaction:
        return send(self, *given[:6], **named)

    patch.setattr(RequestSender, "send", repeated)


def says_much(patch: pytest.MonkeyPatch) -> None:
    answer, allow = topology.answer, [("Allow", "INVITE, " * 900 + "ACK")]
    patch.setattr(topology, "answer", lambda *given: answer(given[0], given[1], given[2], given[3], allow))
    patch.setattr(Responder, "credit", lambda self, flow, size, now: math.inf)


def cancels_at_once(patch: pytest.MonkeyPatch) -> None:
    send = Branch._send_cancel

    def hasty(self: Branch, now: float, reasons: Any = ()) -> None:
        client = self._client
        if client is not None and client.state is TransactionState.CALLING:
            client.state = TransactionState.PROCEEDING
            client.timeout_at = None
            send(self, client, now)

    patch.setattr(Branch, "cancel", hasty)


def has_no_limits(patch: pytest.MonkeyPatch) -> None:
    for name in ("full", "half_full"):
        patch.setattr(Transactions, name, property(lambda self: False))
    patch.setattr(Calls, "full", property(lambda self: False))


def counts_trunks_wrong(patch: pytest.MonkeyPatch) -> None:
    end = Calls.end

    def forgetful(self: Calls, call: Call, outcome: str = "") -> None:
        call.trunk = ""
        end(self, call, outcome)

    patch.setattr(Calls, "end", forgetful)


def lets_a_stage_fail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sanity, "judge", lambda self, subject, phase, now: {}[phase])


def sends_to_closed_connections(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flows, "is_open", lambda self, flow: True)


def ends_calls_that_ring(patch: pytest.MonkeyPatch) -> None:
    """A BYE whose token leads nowhere ends its call, and forgets the INVITE that is under way."""

    def hasty(self: InDialogRequests, call: Call, bye: Request) -> None:
        if not call.survives_bye((bye.from_tag, bye.to_tag)):
            self._calls.end(call)

    patch.setattr(InDialogRequests, "_end_call", hasty)


def never_lingers_out(patch: pytest.MonkeyPatch) -> None:
    # Set, not taken out: a machine keeps its order, in which its page is drawn.
    patch.setitem(INVITE_SERVER, (TransactionState.ACCEPTED, TransactionEvent.LINGER), (TransactionState.ACCEPTED, ()))


def gives_up_no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Branch, "release", lambda self: None)


def ignores_media_errors(patch: pytest.MonkeyPatch) -> None:
    """SDP that the media plane refused is forwarded as it came."""

    def careless(self: Any, cookie: int, reply: MediaReply | MediaError, now: float) -> None:
        pending = self._pending.pop(cookie)
        self._deadlines.schedule(pending, None)
        pending.callback(reply.sdp if isinstance(reply, MediaReply) else b"v=0\r\ns=refused\r\n", now)

    patch.setattr("edgesbc.signalling.media_client.MediaClient.replied", careless)


@pytest.mark.parametrize(
    ("mutant", "name", "says"),
    [
        (believes_any_source, "wrong-sources", "answers nothing, and moves something"),
        (opens_tokens_of_the_other_side, "tokens", "with a token of nobody's is forwarded"),
        (answers_where_via_says, "steering", "which asked nothing"),
        (follows_any_uri, "answered-without-contact", f"BYE to Flow(core {VICTIM}"),
        (follows_public_contacts, "steering", VICTIM),
        (lets_all_fields_cross, "odd-texts", "Diversion: <sip:10.0.0.7> in"),
        (tells_of_the_inside, "steering", "Server: Inside/1.0"),
        (asserts_what_strangers_say, "odd-texts", "Diversion: <sip:10.0.0.7>"),
        (lets_descriptions_pass, "call", "a description that the media plane did not make"),
        (lets_hidden_descriptions_pass, "hidden-offers", "a hidden description"),
        (sends_every_ack_on, "wrong-sources", "of a refusal is forwarded"),
        (repeats_to_everybody, "repeated", "is told"),
        (repeats_bye_to_everybody, "never-acknowledged", "which has proven nothing"),
        (says_much, "loops", "bytes for"),
        (cancels_at_once, "cancel-races", "before anything came back"),
        (has_no_limits, "flood", "over the limit"),
        (counts_trunks_wrong, "call", "is said to have"),
        (lets_a_stage_fail, "call", "stage sanity failed"),
        (sends_to_closed_connections, "closed-at-media", "which is closed"),
        (ends_calls_that_ring, "bye-to-who-is-gone", "left over"),
        (never_lingers_out, "call", "left over"),
        (gives_up_no_lease, "register", "nothing that lives holds it"),
        (ignores_media_errors, "media-refuses", "that the media plane did not make"),
    ],
)
def test_an_edge_that_is_made_otherwise_is_found_out(
    monkeypatch: pytest.MonkeyPatch, mutant: Patch, name: str, says: str
) -> None:
    play(seed(name))
    mutant(monkeypatch)
    with pytest.raises((AssertionError, KeyError)) as caught:
        play(seed(name))
    assert says in str(caught.value)
