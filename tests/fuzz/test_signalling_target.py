"""The target `signalling`: its seeds reach the intended messages and outcomes, and faulty edges fail its invariants."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from edgesbc.base.address import Flow, Source, Zone
from edgesbc.media.commands import Delete, MediaError, MediaReply
from edgesbc.screen.stages.sanity import Sanity
from edgesbc.screen.standing import Standing
from edgesbc.signalling import call, contact_tokens, live_pipeline, request_branches, responder, topology
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.call import Call, Leg
from edgesbc.signalling.calls import Calls
from edgesbc.signalling.contact_tokens import ContactTokens
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Close, Effect, Media, Open, Send
from edgesbc.signalling.flows import Flows
from edgesbc.signalling.header_rules import ASSERTED, OUTWARD_TO_TRUNKS, OWN, UNREGISTERED, FieldFilter, HeaderRules
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

PBX = Flow(CORE, Source("10.0.0.11", 5060))

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


def summary_of(name: str) -> tuple[set[str], dict[str, int], dict[tuple[str, ...], int]]:
    """The methods and status codes that the edge sends in a seed, the outcomes of calls, and refusals by the screen."""
    invariants = play(seed(name))
    sent_names = {data.removeprefix(b"SIP/2.0 ").split(b" ")[0].decode() for _, data in invariants.sent}
    outcomes = {labels[0]: count for labels, count in invariants.edge.counters.outcomes.items()}
    return (
        sent_names,
        outcomes,
        {**invariants.edge.pipeline.counts, ("malformed",): sum(invariants.edge.counters.malformed.values())},
    )


@pytest.mark.parametrize(
    ("name", "sent_names", "outcomes"),
    [
        ("call", "INVITE 180 200 ACK BYE", {"answered": 1}),
        ("unproven-call", "INVITE PRACK 180 200 ACK BYE", {"answered": 1}),
        ("failover", "INVITE 200 ACK BYE CANCEL", {"answered": 2}),
        ("all-silent", "INVITE 503 CANCEL ACK BYE", {"failed": 2}),
        ("forks", "INVITE 183 200 ACK BYE CANCEL", {"answered": 1}),
        ("forks-of-one-member", "INVITE 180 183 200 ACK BYE", {"answered": 1}),
        ("forks-of-an-unproven-call", "INVITE 200 ACK BYE", {"answered": 1}),
        ("broadcast-refused", "INVITE 401 603 CANCEL ACK", {"refused": 2}),
        ("one-call-id-of-two-callers", "INVITE 183 200 488", {"answered": 2}),
        ("second-fork-refused", "INVITE 200 ACK BYE", {"answered": 1}),
        ("cancel-races", "INVITE CANCEL 481 487 200 ACK", {"cancelled": 1, "answered": 1}),
        ("cancel-at-media", "INVITE 487 CANCEL ACK BYE", {"cancelled": 2, "answered": 1}),
        ("closed-at-media", "REGISTER INVITE 480", {"failed": 1, "answered": 1}),
        ("media-answers-no-offer", "INVITE 200 ACK", {"answered": 1}),
        ("media-errors", "INVITE 488 503 500 ACK BYE", {"answered": 1, "no-media": 3}),
        ("media-refuses", "INVITE 488 503", {"no-media": 3}),
        ("register", "REGISTER 401 200 INVITE ACK BYE 480", {"answered": 1, "failed": 1}),
        ("register-by-udp", "REGISTER INVITE 200 ACK BYE MESSAGE", {"answered": 1}),
        ("unknown-users", "REGISTER 403 401", {}),
        ("late-offer", "INVITE PRACK UPDATE 183 200 ACK", {"answered": 1}),
        ("hidden-offers", "INVITE INFO BYE OPTIONS ACK 488", {"answered": 1, "no-media": 4}),
        ("offers-in-parts", "INVITE INFO ACK 183 200 488", {"answered": 2, "no-media": 2}),
        ("without-media", "INVITE UPDATE ACK BYE 200", {"answered": 1}),
        ("browsers-and-streams", "INVITE ACK 180 200 400 BYE", {"answered": 1}),
        ("bye-to-closed-connection", "INVITE REGISTER CANCEL 481 408", {"timeout": 1}),
        ("bye-while-ringing", "INVITE 180 BYE CANCEL 200 408", {"timeout": 1}),
        ("device-connects-again", "REGISTER INVITE 180 200 ACK", {"answered": 2}),
        ("device-moves-to-a-trunk", "REGISTER INVITE 180 CANCEL", {"cancelled": 1}),
        ("never-acknowledged", "INVITE 200 BYE", {"answered": 1}),
        ("drain", "INVITE 503 CANCEL ACK BYE", {"answered": 1, "draining": 1}),
        ("answered-without-contact", "INVITE ACK BYE", {"answered": 1}),
        ("loops", "INVITE REGISTER 482 483 440", {}),
        ("sent-out-again-by-proxy", "INVITE ACK BYE 200", {"answered": 2}),
        ("forking-proxy", "INVITE 180 CANCEL 487 200 ACK BYE", {"answered": 3, "cancelled": 1}),
        ("transfers", "INVITE REFER 202 ACK BYE 403", {"answered": 3}),
        ("tokens", "INVITE 481 ACK INFO BYE", {"answered": 1}),
        ("wrong-sources", "INVITE 481 486 ACK", {"refused": 1}),
        ("repeated", "INVITE 180 200 486 BYE", {"answered": 1}),
        ("flood", "503 INVITE", {}),
        ("scanner-on-streams", "200 INVITE", {}),
        ("time", "408 CANCEL INVITE BYE 503", {"answered": 1, "timeout": 1}),
        ("health", "OPTIONS INVITE", {"answered": 1}),
        ("health-by-tcp", "OPTIONS", {}),
        ("second-answer-unusable", "INVITE 200 ACK BYE", {"answered": 1}),
        ("third-party-addresses", "INVITE ACK 200 486 BYE", {"answered": 2}),
        ("asserted-identity", "INVITE 183 200 ACK BYE 486", {"answered": 2, "refused": 1}),
        ("malformed-and-unusual", "400 404 405 416 INVITE NOTIFY SUBSCRIBE MESSAGE", {"answered": 1}),
    ],
)
def test_a_seed_reaches_its_messages_and_outcomes(name: str, sent_names: str, outcomes: dict[str, int]) -> None:
    sent, counts, _ = summary_of(name)
    assert sent >= set(sent_names.split())
    assert {outcome: counts.get(outcome, 0) for outcome in outcomes} == outcomes


def test_every_seed_is_in_the_table() -> None:
    (mark,) = test_a_seed_reaches_its_messages_and_outcomes.pytestmark  # type: ignore[attr-defined]
    assert {name for name, _, _ in mark.args[1]} == {path.name for path in SEEDS.iterdir()}


def test_a_flood_is_banned_and_malformed_messages_are_counted() -> None:
    assert summary_of("flood")[2]["penalties", "banned"] > 0
    assert summary_of("malformed-and-unusual")[2]["malformed",] > 2
    assert summary_of("scanner-on-streams")[2]["conduct", "ban"] > 1


# --- edges with wrong effects ----------------------------------------------------------------------------


class _FaultyEdge(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        return self.change(super().receive(flow, data, now))

    def media_replied(self, cookie: int, reply: MediaReply | MediaError, now: float) -> list[Effect]:
        return self.change(super().media_replied(cookie, reply, now))

    def expire(self, now: float) -> list[Effect]:
        return self.change(super().expire(now))

    def change(self, effects: list[Effect]) -> list[Effect]:
        raise NotImplementedError


def _with_text_replaced(effects: list[Effect], start: bytes, old: bytes, new: bytes) -> list[Effect]:
    """The effects, with one text replaced in the messages that begin with ``start``."""
    return [
        Send(it.flow, it.data.replace(old, new, 1)) if isinstance(it, Send) and it.data[:9] == start else it
        for it in effects
    ]


class Raises(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        raise KeyError("fault")


class SendsToThirdParty(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        victim = Flow(PUBLIC, Source(VICTIM, 5060))
        return effects + [Send(victim, effect.data) for effect in effects if isinstance(effect, Send)][-1:]


class ConnectsOutside(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return [*effects, Open(Flow(BROWSERS, Source(VICTIM, 443), 99), VICTIM)]


class WritesCompactNames(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return _with_text_replaced(effects, b"INVITE si", b"\r\nCall-ID: ", b"\r\ni: ")


class KeepsVias(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        more = b"\r\nVia: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bK1;rport\r\nFrom: "
        return _with_text_replaced(effects, b"INVITE si", b"\r\nFrom: ", more)


class AnswersTwice(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        more = [effect for effect in effects if isinstance(effect, Send) and effect.data.startswith(b"SIP/2.0 4")]
        return effects + _with_text_replaced(list(more), b"SIP/2.0 4", b"SIP/2.0 4", b"SIP/2.0 5")


class InventsAnswers(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return _with_text_replaced(effects, b"SIP/2.0 4", b"SIP/2.0 486", b"SIP/2.0 200")


class DropsRefusals(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return [
            effect for effect in effects if not (isinstance(effect, Send) and effect.data.startswith(b"SIP/2.0 486"))
        ]


class DropsCancel(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not (isinstance(effect, Send) and effect.data.startswith(b"CANCEL "))]


class DropsForks(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        return [] if data.startswith(b"SIP/2.0 200 ") and b";tag=t2\r\n" in data else effects


class LeaksLeases(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        self.dispatcher.acquire("pbx", 1000.0)
        return effects


class LeavesMediaOpen(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not (isinstance(effect, Media) and isinstance(effect.command, Delete))]


class SendsTooMuch(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return effects * 100


class ProcessesBanned(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        if not effects and self.pipeline.penalties:
            self._received._parse(flow, data, now)
        return effects + self.take_effects()


class KeepsBannedConnections(_FaultyEdge):
    def change(self, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not isinstance(effect, Close)]


class ClosesAllConnections(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        effects = super().receive(flow, data, now)
        return effects + [Close(effect) for effect in self.parts.flows if effect.listener.zone is Zone.PUBLIC]


@pytest.mark.parametrize(
    ("faulty_edge", "name", "message"),
    [
        (Raises, "call", "'fault'"),
        (SendsToThirdParty, "call", f"to Flow(public {VICTIM}"),
        (ConnectsOutside, "call", "a connection to the public side"),
        (WritesCompactNames, "call", "not as the library serialises it"),
        (KeepsVias, "unproven-call", "Via: SIP/2.0/UDP 203.0.113.9"),
        (AnswersTwice, "wrong-sources", "several final responses"),
        (InventsAnswers, "wrong-sources", "that no destination gave"),
        (DropsRefusals, "wrong-sources", "had no final response"),
        (DropsCancel, "all-silent", "never cancelled"),
        (DropsForks, "forks-of-an-unproven-call", "neither forwarded nor acknowledged"),
        (LeaksLeases, "call", "nothing that lives holds it"),
        (LeavesMediaOpen, "call", "'media sessions': 1"),
        (SendsTooMuch, "call", "effects of"),
        (ProcessesBanned, "flood", "a banned source has effects"),
        (KeepsBannedConnections, "scanner-on-streams", "is banned and stays open"),
        (ClosesAllConnections, "scanner-on-streams", "is closed without a ban"),
    ],
)
def test_wrong_effects_fail_an_invariant(faulty_edge: type[Edge], name: str, message: str) -> None:
    with pytest.raises((AssertionError, KeyError)) as raised:
        play(seed(name), faulty_edge)
    assert message in str(raised.value)


# --- edges with faults in their parts --------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def accepts_any_source(patch: pytest.MonkeyPatch) -> None:
    receive = Transactions.receive

    def accepting(self: Transactions, response: Response, flow: Flow, now: float) -> ClientTransaction | None:
        client = self._clients.get((response.via.branch, response.cseq_method))
        return receive(self, response, client.flow if client is not None else flow, now)

    patch.setattr(Transactions, "receive", accepting)


def opens_tokens_of_the_other_side(patch: pytest.MonkeyPatch) -> None:
    def either(self: ContactTokens, token: str, holder: Flow) -> RemoteTarget | None:
        zone = holder.listener.zone
        return self._sealer.open(token, zone) or self._sealer.open(token, zone.other)

    patch.setattr(ContactTokens, "open", either)
    patch.setattr(InDialogRequests, "_may_use", lambda *arguments: True)


def answers_where_via_says(patch: pytest.MonkeyPatch) -> None:
    def replaced(request: Request, flow: Flow) -> Flow:
        host = request.via.param("maddr")
        return Flow(flow.listener, Source(host, 5060)) if host else flow

    patch.setattr(responder, "reply_flow", replaced)


def uses_any_uri(patch: pytest.MonkeyPatch) -> None:
    """A fault: the URI that a caller has called is used as the address of the callee."""
    target = call.remote_target

    def replaced(leg: Leg, epoch: str) -> RemoteTarget:
        leg.contact_value = leg.contact_value or "there was none"
        return target(leg, epoch)

    patch.setattr(contact_tokens, "remote_target", replaced)


def uses_public_contacts(patch: pytest.MonkeyPatch) -> None:
    target = call.remote_target

    def replaced(leg: Leg, epoch: str) -> RemoteTarget:
        remote = target(leg, epoch)
        return (
            RemoteTarget(remote.listener, Source(VICTIM, 5060), 0, remote.epoch, remote.uri)
            if not remote.serial
            else remote
        )

    patch.setattr(contact_tokens, "remote_target", replaced)


def lets_all_fields_cross(patch: pytest.MonkeyPatch) -> None:
    own = {"Via", "Contact", "Record-Route", "Route", "Max-Forwards", "Content-Length"}
    patch.setattr(FieldFilter, "crossing", lambda self, fields: [pair for pair in fields if pair[0] not in own])


def lets_inside_fields_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live_pipeline, "OUTWARD", HeaderRules().inward(Standing.TRUNK))


def trusts_unregistered_sources_with_all_fields(patch: pytest.MonkeyPatch) -> None:
    inward = HeaderRules.inward
    patch.setattr(HeaderRules, "inward", lambda self, standing: inward(self, max(standing, Standing.REGISTERED)))


def trusts_identity_of_unproven_sources(patch: pytest.MonkeyPatch) -> None:
    inward, believed = HeaderRules.inward, FieldFilter(OWN, UNREGISTERED, ASSERTED)
    patch.setattr(
        HeaderRules,
        "inward",
        lambda self, standing: believed if standing < Standing.REGISTERED else inward(self, standing),
    )


def asserts_identity_to_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live_pipeline, "OUTWARD", OUTWARD_TO_TRUNKS)


def lets_descriptions_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OfferAnswer, "should_anchor", lambda self, message: False)
    patch.setattr(OfferAnswer, "sdp_outside_session", lambda self: None)


def lets_hidden_descriptions_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OfferAnswer, "request_error", lambda self: None)
    patch.setattr(OfferAnswer, "sdp_outside_session", lambda self: None)


def keeps_parts_as_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(request_branches, "crossing_body", lambda message, sdp, rule: None)


def sends_every_ack_on(patch: pytest.MonkeyPatch) -> None:
    absorb = Transactions.absorb
    patch.setattr(
        Transactions,
        "absorb",
        lambda self, request, flow, now, size: request.method != "ACK" and absorb(self, request, flow, now, size),
    )

    def send_on(self: InDialogRequests, incoming: Incoming, now: float) -> None:
        parts, request = self._parts, incoming.message
        branch, crossing = parts.branches.sender.new_branch(), parts.live.crossing(Standing.TRUNK, PBX, now)
        data = topology.forward_request(request, CORE, branch, str(request.uri), crossing)
        parts.effects.send(PBX, data)

    patch.setattr(InDialogRequests, "forward_ack", send_on)


def repeats_to_unproven(patch: pytest.MonkeyPatch) -> None:
    """Timer G and 2xx retransmissions run for sources that may be forged too."""
    patch.setattr(ServerTransaction, "proven", property(lambda self: True, lambda self, value: None))


def repeats_bye_to_unproven(patch: pytest.MonkeyPatch) -> None:
    send = RequestSender.send

    def repeated(self: RequestSender, *arguments: Any, in_dialog: bool = False, **named: Any) -> ClientTransaction:
        return send(self, *arguments[:6], **named)

    patch.setattr(RequestSender, "send", repeated)


def sends_long_responses(patch: pytest.MonkeyPatch) -> None:
    answer, allow = topology.answer, [("Allow", "INVITE, " * 900 + "ACK")]
    patch.setattr(
        topology, "answer", lambda *arguments: answer(arguments[0], arguments[1], arguments[2], arguments[3], allow)
    )
    patch.setattr(Responder, "credit", lambda self, flow, size, now: math.inf)


def cancels_at_once(patch: pytest.MonkeyPatch) -> None:
    send = Branch._send_cancel

    def replaced(self: Branch, now: float, reasons: Any = ()) -> None:
        client = self._client
        if client is not None and client.state is TransactionState.CALLING:
            client.state = TransactionState.PROCEEDING
            client.timeout_at = None
            send(self, client, now)

    patch.setattr(Branch, "cancel", replaced)


def has_no_limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transactions, "full", property(lambda self: False))
    patch.setattr(Transactions, "has_place_in_half", lambda self: True)
    patch.setattr(Calls, "full", property(lambda self: False))


def counts_trunks_wrong(patch: pytest.MonkeyPatch) -> None:
    end = Calls.end

    def replaced(self: Calls, call: Call, outcome: str = "") -> None:
        call.trunk = ""
        end(self, call, outcome)

    patch.setattr(Calls, "end", replaced)


def lets_a_stage_fail(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sanity, "judge", lambda self, subject, phase, now: {}[phase])


def sends_to_closed_connections(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Flows, "is_open", lambda self, flow: True)


def ends_calls_that_ring(patch: pytest.MonkeyPatch) -> None:
    """A BYE within an early dialog ends its call, and its pending INVITE is forgotten."""

    def replaced(self: InDialogRequests, call: Call, bye: Request, now: float) -> None:
        if not call.survives_bye((bye.from_tag, bye.to_tag)):
            self._calls.end(call, now)

    patch.setattr(InDialogRequests, "_end_call", replaced)


def keeps_accepted_transactions(patch: pytest.MonkeyPatch) -> None:
    # Set, not removed: the order of the table is that of the diagram in the docs.
    patch.setitem(INVITE_SERVER, (TransactionState.ACCEPTED, TransactionEvent.LINGER), (TransactionState.ACCEPTED, ()))


def releases_no_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Branch, "release", lambda self: None)


def ignores_media_errors(patch: pytest.MonkeyPatch) -> None:
    """SDP that the media plane refused is forwarded as it came."""

    def replaced(self: Any, cookie: int, reply: MediaReply | MediaError, now: float) -> None:
        pending = self._pending.pop(cookie)
        self._deadlines.schedule(pending, None)
        pending.callback(reply.sdp if isinstance(reply, MediaReply) else b"v=0\r\ns=refused\r\n", now)

    patch.setattr("edgesbc.signalling.media_client.MediaClient.replied", replaced)


@pytest.mark.parametrize(
    ("fault", "name", "message"),
    [
        (accepts_any_source, "wrong-sources", "matches no request, and has effects"),
        (opens_tokens_of_the_other_side, "tokens", "with a forged token is forwarded"),
        (answers_where_via_says, "third-party-addresses", "which sent no such request"),
        (uses_any_uri, "answered-without-contact", f"ACK to Flow(core {VICTIM}"),
        (uses_public_contacts, "third-party-addresses", VICTIM),
        (lets_all_fields_cross, "malformed-and-unusual", "Diversion: <sip:10.0.0.7> in"),
        (lets_inside_fields_out, "third-party-addresses", "Server: Inside/1.0"),
        (trusts_identity_of_unproven_sources, "malformed-and-unusual", "Diversion: <sip:10.0.0.7>"),
        (asserts_identity_to_all, "asserted-identity", "P-Asserted-Identity: <sip:10.0.0.7>"),
        (trusts_unregistered_sources_with_all_fields, "malformed-and-unusual", "Alert-Info: <http://10.0.0.7/a>"),
        (lets_descriptions_pass, "call", "a description that the media plane did not give"),
        (lets_hidden_descriptions_pass, "hidden-offers", "a hidden description"),
        (keeps_parts_as_they_are, "offers-in-parts", "a hidden description"),
        (sends_every_ack_on, "repeated", "of a refusal is forwarded"),
        (repeats_to_unproven, "repeated", "which is unproven, gets"),
        (repeats_bye_to_unproven, "never-acknowledged", "which is unproven"),
        (sends_long_responses, "loops", "bytes for"),
        (cancels_at_once, "cancel-races", "before a provisional response"),
        (has_no_limits, "flood", "over the limit"),
        (counts_trunks_wrong, "call", "is said to have"),
        (lets_a_stage_fail, "call", "stage sanity failed"),
        (sends_to_closed_connections, "closed-at-media", "which is closed"),
        (ends_calls_that_ring, "bye-while-ringing", "left over"),
        (keeps_accepted_transactions, "call", "left over"),
        (releases_no_lease, "register", "nothing that lives holds it"),
        (ignores_media_errors, "media-refuses", "that the media plane did not give"),
    ],
)
def test_a_fault_in_a_part_of_the_edge_fails_an_invariant(
    monkeypatch: pytest.MonkeyPatch, fault: Patch, name: str, message: str
) -> None:
    play(seed(name))
    fault(monkeypatch)
    with pytest.raises((AssertionError, KeyError)) as raised:
        play(seed(name))
    assert message in str(raised.value)
