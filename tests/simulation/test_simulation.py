"""Some hundred runs pass, the same seed gives the same run, and faults that are planted in an edge are found."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import attrs
import pytest

from edgesbc.base.address import Flow, Listener, Source, Zone
from edgesbc.dispatch.dispatcher import Dispatcher
from edgesbc.dispatch.health import AdminState
from edgesbc.dispatch.leases import Lease
from edgesbc.dispatch.member import Member
from edgesbc.dispatch.selection_request import SelectionRequest
from edgesbc.media.commands import Answer, Rollback
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.call import Call
from edgesbc.signalling.edge import Edge
from edgesbc.signalling.effects import Effect, Media, Send
from edgesbc.signalling.response_context import ResponseContext
from simulation import __main__
from simulation.scenario import NUMBERS, Outcome, simulate
from simulation.world import PUBLIC, MakeEdge

SEEDS = 400
CHUNK = 50


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_all_checks_pass(first: int) -> None:
    failed = [outcome for seed in range(first, first + CHUNK) if (outcome := simulate(seed)).finding]
    assert [(outcome.seed, outcome.finding) for outcome in failed] == []


def test_the_runs_reach_what_they_are_meant_to_check() -> None:
    """Calls are answered, refused, cancelled, failed over and lost."""
    outcomes = [simulate(seed) for seed in range(40)]
    statuses = {status for outcome in outcomes for status in outcome.statuses}
    assert statuses >= {"200", "302", "404", "408", "480", "486", "487", "488", "500", "503", "600", "603"}
    assert sum(outcome.calls for outcome in outcomes) > 500
    assert sum(outcome.further for outcome in outcomes) > 100


def test_the_runs_have_the_peers_that_they_are_meant_to_have() -> None:
    """Changes, transfers, calls that a server inside sends out again, and requests to phones."""
    lines = [line for seed in range(40) for line in simulate(seed, keep_trace=True).trace]
    requests = Counter(line.partition(") ")[2].split()[0] for line in lines)
    for method in ("UPDATE", "PRACK", "REFER", "NOTIFY", "MESSAGE", "OPTIONS"):
        assert requests[method] > 10, method
    invites = [line for line in lines if " INVITE " in line.partition("\n")[0]]
    for text in ("branch=z9hG4bKfork", "branch=z9hG4bKrelay", "\n    Replaces: ", "INVITE tel:", "a=inactive"):
        assert sum(text in line for line in invites) > 3, text


_PLAIN = {
    "sip:%31%300@192.0.2.1": "sip:100@192.0.2.1",
    "sip:1-(0)0@192.0.2.1;user=phone": "sip:100@192.0.2.1",
    "tel:1-00;phone-context=example.com": "sip:100@192.0.2.1",
    "tel:+200": "sip:+200@192.0.2.1",
    "sip:+1.00@192.0.2.1:5060;user=phone": "sip:+100@192.0.2.1",
}


def test_calls_go_to_the_same_members_however_their_numbers_are_spelled() -> None:
    """Routes, ``hash_on``, the health of members and what becomes of the calls (RFC 3966 section 5.1). All URIs have
    the same length: the size of a request bounds what a source that has not proven its address is sent."""
    different = []
    for seed in range(40):
        written, plain = (
            simulate(seed, keep_trace=True, numbers=[f"{uri};x=".ljust(50, "x") for uri in numbers])
            for numbers in (NUMBERS, [_PLAIN.get(uri, uri) for uri in NUMBERS])
        )
        if _invited(written) != _invited(plain) or written.statuses != plain.statuses:
            different.append(seed)
    assert different == []


def _invited(outcome: Outcome) -> list[tuple[str, str]]:
    """Time and member of each INVITE to the inside, and its Call-ID."""
    return [
        (line.partition(" INVITE ")[0], line.partition("\n    Call-ID: ")[2].partition("\n")[0])
        for line in outcome.trace
        if " < Flow(core" in line and " INVITE " in line.partition("\n")[0]
    ]


def test_requests_that_have_ended_are_freed_without_the_garbage_collector() -> None:
    kinds = ResponseContext | Branch | Call
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if isinstance(thing, kinds)}  # what other tests have left alive
    gc.disable()
    edges: list[Edge] = []

    def make(*arguments: Any) -> Edge:
        edges.append(Edge(*arguments))  # kept, so that what it refers to still is not counted as garbage of its own
        return edges[-1]

    try:
        for seed in range(45, 60):
            simulate(seed, make_edge=make)
        left = [thing for thing in gc.get_objects() if isinstance(thing, kinds) and id(thing) not in before]
    finally:
        gc.enable()
    assert sum(len(edge.parts.calls) for edge in edges) == 0
    assert [type(thing).__name__ for thing in left] == []


def test_the_same_seed_gives_the_same_run_in_another_process_too() -> None:
    here = [simulate(seed).digest for seed in (3, 4, 5)]
    assert here == [simulate(seed).digest for seed in (3, 4, 5)]
    assert len(set(here)) == 3
    code = "from simulation.scenario import simulate\nfor seed in (3, 4, 5): print(simulate(seed).digest)"
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert run.stdout.split() == here


# --- edges with faults -----------------------------------------------------------------------------------


def _finals_out(effect: Effect) -> bool:
    """Whether it is a final answer to an INVITE of the public side."""
    return (
        isinstance(effect, Send)
        and effect.flow.listener.zone is Zone.PUBLIC
        and effect.data.startswith((b"SIP/2.0 2", b"SIP/2.0 4"))
        and b"INVITE\r\n" in effect.data
    )


class _Broken(Edge):
    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        return self.spoil(super().receive(flow, data, now))

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        raise NotImplementedError


class SwallowsAnswers(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not _finals_out(effect)]


class AnswersTwice(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        more = [
            Send(effect.flow, effect.data.replace(b"SIP/2.0 200", b"SIP/2.0 486", 1))
            for effect in effects
            if isinstance(effect, Send) and _finals_out(effect)
        ]
        return effects + more


class InventsAnswers(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [
            Send(effect.flow, effect.data.replace(b"SIP/2.0 480", b"SIP/2.0 200", 1))
            if isinstance(effect, Send) and _finals_out(effect)
            else effect
            for effect in effects
        ]


class LeaksLeases(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        self.dispatcher.acquire("pbx", 0.0)
        return effects


class _Careless(Dispatcher):
    """Takes leases at members whether they are able or not; ``passes`` selects those that it skips."""

    __slots__ = ()

    def passes(self, member: Member, exclude: Collection[Member]) -> bool:
        raise NotImplementedError

    def acquire_all(
        self,
        set_name: str,
        now: float,
        exclude: Collection[Member],
        selection: SelectionRequest,
        most: int,
        last: bool = True,
    ) -> list[Lease]:
        members = [member for member in self.members() if member.set_name == set_name]
        usable = [member for member in members if not self.passes(member, exclude)]
        return [Lease(member, self._leases, now, selection) for member in usable[:1]]


class TriesTheSameAgain(_Careless):
    __slots__ = ()

    def passes(self, member: Member, exclude: Collection[Member]) -> bool:
        return member.admin_state is not AdminState.ENABLED


class IgnoresOrders(_Careless):
    __slots__ = ()

    def passes(self, member: Member, exclude: Collection[Member]) -> bool:
        return member in exclude


class IgnoresBounds(_Careless):
    __slots__ = ()

    def passes(self, member: Member, exclude: Collection[Member]) -> bool:
        return member in exclude or member.admin_state is not AdminState.ENABLED


def with_dispatcher(kind: type[Dispatcher]) -> Callable[..., Edge]:
    """An edge whose dispatcher is one of ``kind``."""

    def make(listeners: list[Listener], dispatcher: Dispatcher, *rest: Any) -> Edge:
        dispatcher.__class__ = kind
        return Edge(listeners, dispatcher, *rest)

    return make


class TakesRefusalForFailure(_Broken):
    """Takes a final response of a callee for a failure of the member."""

    def receive(self, flow: Flow, data: bytes, now: float) -> list[Effect]:
        return Edge.receive(self, flow, data.replace(b"SIP/2.0 486", b"SIP/2.0 500"), now)


class MiscountsResources(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        for lease in self.dispatcher.live_leases():
            if lease.needs:
                lease.member.used[lease.needs[0]] += 1
        return effects


class SendsToThirdParty(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        elsewhere = Flow(PUBLIC, Source("203.0.113.66", 5060))
        return effects + [Send(elsewhere, effect.data) for effect in effects[:1] if isinstance(effect, Send)]


class KeepsVias(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        more = b"\r\nVia: SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKx\r\nFrom: "
        return [
            effect._replace(data=effect.data.replace(b"\r\nFrom: ", more, 1))
            if isinstance(effect, Send) and effect.data.startswith(b"INVITE")
            else effect
            for effect in effects
        ]


class ShowsTheInside(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        more = b"\r\nX-Seen-By: 10.0.0.11\r\nFrom: "
        return [
            effect._replace(data=effect.data.replace(b"\r\nFrom: ", more, 1))
            if isinstance(effect, Send) and effect.flow.listener.zone is Zone.PUBLIC
            else effect
            for effect in effects
        ]


class ForgetsToCancel(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [e for e in effects if not (isinstance(e, Send) and e.data.startswith(b"CANCEL"))]


class KeepsRefusedOffers(_Broken):
    """Takes no offer back."""

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [e for e in effects if not (isinstance(e, Media) and isinstance(e.command, Rollback))]


class KeepsEarlyAnswers(_Broken):
    """Takes an early answer for one that a refusal leaves in force."""

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [
            e._replace(command=attrs.evolve(e.command, final=True))
            if isinstance(e, Media) and isinstance(e.command, Answer)
            else e
            for e in effects
        ]


class NamesNullTags(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [
            e._replace(data=e.data.replace(b"\r\nCall-ID", b";tag=?core\r\nCall-ID"))
            if isinstance(e, Send) and b";tag=" not in e.data.partition(b"\r\nTo:")[2].partition(b"\r\n")[0]
            else e
            for e in effects
        ]


class MisleadsTransfers(_Broken):
    """Sends an INVITE with Replaces to another phone than the one that it names."""

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [
            e._replace(
                data=e.data.replace(b"@198.51.100.", b"@198.51.100.9", 1).replace(b"@203.0.113.", b"@203.0.113.9", 1)
            )
            if isinstance(e, Send) and e.data.startswith(b"INVITE") and b"Replaces: " in e.data
            else e
            for e in effects
        ]


class AnswersForPhones(_Broken):
    """Answers what a server inside sends to a phone."""

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        return [
            e._replace(data=e.data.replace(b"SIP/2.0 480", b"SIP/2.0 200", 1))
            if isinstance(e, Send) and (b" MESSAGE\r\n" in e.data or b" OPTIONS\r\n" in e.data)
            else e
            for e in effects
        ]


class BansLong(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        penalties = self.pipeline.penalties
        for ban in penalties:
            ban.ttl += 3600.0
        return effects


class BansWithoutProof(_Broken):
    """Treats sources of datagrams as proven."""

    def spoil(self, effects: list[Effect]) -> list[Effect]:
        for ban in self.pipeline.penalties:
            ban.proven = True
        return effects


class Raises(_Broken):
    def spoil(self, effects: list[Effect]) -> list[Effect]:
        raise KeyError("oh")


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        (SwallowsAnswers, "got no final answer"),
        (AnswersTwice, "got two final answers"),
        (InventsAnswers, "that nobody gave"),
        (LeaksLeases, "nothing that lives holds it"),
        (with_dispatcher(TriesTheSameAgain), " again"),
        (with_dispatcher(IgnoresOrders), "which is d"),
        (with_dispatcher(IgnoresBounds), "has more calls than"),
        (with_dispatcher(IgnoresBounds), " may be"),
        (TakesRefusalForFailure, "said 486"),
        (MiscountsResources, "in use, and has"),
        (SendsToThirdParty, "nobody was ever heard of"),
        (KeepsVias, "Via of somebody else's"),
        (ShowsTheInside, "an address of the core goes out"),
        (ForgetsToCancel, "got no end of"),
        (KeepsRefusedOffers, "pending at the media plane"),
        (KeepsEarlyAnswers, "not as before"),
        (NamesNullTags, "name of a null tag"),
        (MisleadsTransfers, "the call that it replaces"),
        (AnswersForPhones, "did not answer"),
        (BansLong, "stands on the word of packets"),
        (BansWithoutProof, "says that it is proven"),
        (Raises, "KeyError"),
    ],
)
def test_a_fault_in_the_edge_is_found(edge: MakeEdge, message: str) -> None:
    findings = (simulate(seed, make_edge=edge).finding for seed in range(120))
    assert any(message in finding for finding in findings)


# --- the command -----------------------------------------------------------------------------------------


def test_the_trace_of_one_seed_has_every_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["3", "--trace"]) == 0
    output = capsys.readouterr().out
    assert " INVITE sip:100@192.0.2.1 SIP/2.0\n    Via: SIP/2.0/" in output
    assert output.endswith("all held\n")


def test_many_seeds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--seeds", "10", "--processes", "1"]) == 0
    assert "10 seeds from 0: " in capsys.readouterr().out
