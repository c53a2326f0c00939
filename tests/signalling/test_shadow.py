"""A shadow policy beside the live one: the same policy never differs, and the effects are the same as without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.signalling import BROWSERS, CALLER, CARRIERS, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Listener, Source
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.routing.table import Route, RoutingTable
from edgesbc.screen.misbehaviour import MisbehaviourSettings
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.shadow_policy import PASSED, ShadowPolicy
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.guess import GuessSettings
from edgesbc.screen.stages.method import CALLS, MethodSettings
from edgesbc.screen.stages.overload import OverloadSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.ratelimit import BucketSettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.signalling.effects import Close
from edgesbc.sip.message import Request

METHODS = ("INVITE", "OPTIONS", "BYE", "REGISTER", "MESSAGE", "ACK", "CANCEL")
OPEN = (*CALLS, "REGISTER", "MESSAGE")
BINDING = "Contact: <sip:alice@192.168.1.5:5062>;expires=60"
UNLISTED, NEXT = (Flow(PUBLIC, Source(f"203.0.113.{host}", 5060)) for host in (1, 5))
PIKE = PikeSettings(reqs_density_per_unit=6)
ANYBODY = AdmissionSettings(open=("public",))
NARROW = ScreenSettings(
    pike=PikeSettings(reqs_density_per_unit=12),
    method=MethodSettings(public=OPEN),
    scanner=ScannerSettings(user_agents=("sipvicious",)),
    guess=GuessSettings(tries=2, user_tries=3, address_tries=3),
    admission=AdmissionSettings(open=("browsers",), ringing=2),
    overload=OverloadSettings(lag=0.15),
    conduct=MisbehaviourSettings(points=12, ban=5.0),
    ratelimit=(BucketSettings("calls", "source", ("INVITE",), rate=1.0, burst=2),),
)
"""Limits so low that every stage soon refuses something."""


def _ignore(decision: Decision) -> None:
    pass


def pipeline(
    screen: ScreenSettings, trunk: str = "198.51.100.7", record: Callable[[Decision], None] = _ignore
) -> Pipeline:
    return Pipeline(screen, Standings([Trunk("carrier", (trunk,))]), record, lambda stage, error: None)


def harness_with(screen: ScreenSettings) -> EdgeHarness:
    harness = EdgeHarness(methods=OPEN)
    harness.edge.adopt(RoutingTable((), ["pbx"]), pipeline(screen, record=harness.decisions.append))
    return harness


def as_texts(things: Iterable[object]) -> list[tuple[str, ...]]:
    """The types of effects and decisions and their values, as text, for comparison."""
    return [(type(item).__name__, *(str(getattr(item, name)) for name in item.__slots__)) for item in things]  # type: ignore[attr-defined]


class Traffic:
    """A program of messages, responses and time, which can be played to several edges."""

    def __init__(self, steps: list[tuple[int, int, int]]) -> None:
        self.steps = steps
        self.received = 0
        """The number of messages and connections that edges received."""
        self.connections = 0

    def _receive(self, harness: EdgeHarness, flow: Flow, data: bytes) -> None:
        self.received += 1
        harness.receive(flow, data)

    def _connect(self, harness: EdgeHarness, listener: Listener) -> Flow:
        """Open a connection of a new peer; two peers share an address."""
        self.received += 1
        self.connections += 1
        flow = harness.edge.new_flow(listener, Source(f"203.0.113.{40 + self.connections // 2}", 40000))
        if harness.edge.accept(listener, flow.peer, harness.now):
            harness.edge.flow_opened(flow)
        return flow

    def play(self, harness: EdgeHarness) -> list[object]:
        """What the edge sent, penalised and closed, in order."""
        output: list[object] = []
        waiting: list[tuple[Flow, Request]] = []
        self.connections = 0
        streams = [self._connect(harness, listener) for listener in (BROWSERS, CARRIERS)]
        for kind, peer, what in self.steps:
            if kind == 0:
                harness.wait(what % 60 / 4)
            elif kind == 1 and waiting:
                flow, request = waiting.pop()
                body = (180, 200, 404, 401)[what % 4]
                self._receive(harness, flow, respond(request, body, contact=False, extra=BINDING))
            elif kind == 2:
                self._receive(harness, (CALLER, UNLISTED, *streams)[peer % 4], b"no SIP at all\r\n\r\n")
            elif kind == 3 and peer > 5:
                harness.edge.note_lateness(what % 60 / 60)
            elif kind == 3 and peer > 3:
                stream = streams[peer % 2]
                harness.sort(
                    harness.edge.stream_broken(stream, b"no SIP", WireError("a stream that broke"), harness.now)
                )
            else:
                flow = (CALLER, UNLISTED if peer < 4 else NEXT, *streams)[peer % 4]
                method = METHODS[what % len(METHODS)]
                extra = "User-Agent: sipvicious\r\n" if what % 11 == 0 else ""
                extra += (
                    f"Authorization: Digest username=u{what % 2}, realm=r, nonce=n, uri=u, response=r\r\n"
                    if method == "REGISTER"
                    else ""
                )
                self._receive(harness, flow, invite(method, branch=f"z9hG4bK{what}", from_tag=f"t{what}", extra=extra))
            closed = [effect.flow for effect in harness.other if isinstance(effect, Close)]
            for n, stream in enumerate(streams):
                if stream in closed:
                    harness.sort(harness.edge.flow_closed(stream, harness.now))
                    streams[n] = self._connect(harness, stream.listener)
            output += as_texts(harness.other)
            harness.other.clear()
            output += harness.raw
            harness.raw.clear()
            waiting += [(f, m) for f, m in harness.sent if f.listener is CORE and isinstance(m, Request)]
        return output


steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(0, 60)), max_size=60).map(Traffic)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_the_same_policy_beside_itself_never_differs(traffic: Traffic) -> None:
    harness = harness_with(NARROW)
    shadow = harness.edge.start_shadow(pipeline(NARROW), RoutingTable((), ["pbx"]))
    traffic.play(harness)
    assert shadow.differences == {}
    assert shadow.routes == {}
    assert shadow.judged == traffic.received


def test_the_same_policy_never_differs_in_traffic_that_every_stage_refuses_in_part() -> None:
    reasons = set()
    for seed in range(4):
        random = Random(seed)
        kinds = [random.randrange(10) for _ in range(4000)]
        traffic = Traffic([(kind, random.randrange(8), random.randrange(10**6 if kind else 5)) for kind in kinds])
        harness = harness_with(NARROW)
        shadow = harness.edge.start_shadow(pipeline(NARROW), RoutingTable((), ["pbx"]))
        traffic.play(harness)
        assert shadow.differences == {}
        reasons |= {f"{stage} {reason}" for stage, reason in harness.edge.pipeline.counts}
    assert reasons >= {
        "pike pike", "pike ban", "ratelimit ratelimit", "scanner scanner", "guess guess", "guess ban",
        "admission admission", "admission ringing", "overload overload", "conduct ban", "penalties banned",
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(steps)
def test_traffic_is_the_same_with_a_policy_beside_as_without(traffic: Traffic) -> None:
    wide = ScreenSettings(pike=PIKE, method=MethodSettings(public=OPEN), admission=ANYBODY)
    strict = ScreenSettings(pike=PikeSettings(reqs_density_per_unit=1), method=MethodSettings(public=()))
    for screen, other in ((NARROW, strict), (wide, NARROW)):
        alone, watched = harness_with(screen), harness_with(screen)
        watched.edge.start_shadow(pipeline(other, "192.0.2.200"), RoutingTable((Route("r", "x"),), ["x"]))
        assert traffic.play(alone) == traffic.play(watched)
        assert alone.edge.pipeline.counts == watched.edge.pipeline.counts
        assert alone.edge.pipeline.shadow_counts == watched.edge.pipeline.shadow_counts
        assert as_texts(alone.decisions) == as_texts(watched.decisions)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(METHODS), max_size=25), st.sets(st.sampled_from(OPEN), min_size=1))
def test_fewer_allowed_methods_differ_by_exactly_the_refused_requests(sent: list[str], taken: set[str]) -> None:
    """A trunk's requests, each with a transaction of its own; CANCEL is answered before screening."""
    allowed = tuple(method for method in OPEN if method not in taken)
    harness = harness_with(ScreenSettings(method=MethodSettings(public=OPEN)))
    screen = ScreenSettings(method=MethodSettings(public=(*allowed, "ACK")))
    shadow = harness.edge.start_shadow(pipeline(screen), RoutingTable((), ["pbx"]))
    for n, method in enumerate(sent):
        harness.receive(CALLER, invite(method, branch=f"z9hG4bK{n}", from_tag=f"t{n}"))
    refused = [method for method in sent if method in taken - {"ACK", "CANCEL"}]
    no_dialog = refused.count("BYE")
    expected = {(PASSED, "method"): len(refused) - no_dialog, ("no-dialog", "method"): no_dialog}
    assert shadow.differences == {pair: count for pair, count in expected.items() if count}


def test_other_routes_and_other_trunks_are_seen() -> None:
    harness = harness_with(ScreenSettings())
    routing = RoutingTable((Route("r", "overflow", methods=("INVITE",)),), ["overflow"])
    shadow = harness.edge.start_shadow(pipeline(ScreenSettings(pike=PIKE, admission=ANYBODY), "192.0.2.200"), routing)
    for n in range(8):
        harness.receive(CALLER, invite(branch=f"z9hG4bK{n}", from_tag=f"t{n}"))
    # The caller is a trunk to the live policy and unproven to the other, which bans it after six messages.
    assert shadow.routes == {("pbx", "overflow"): 6}
    assert shadow.differences == {(PASSED, "pike"): 1, (PASSED, "banned"): 1}
    assert harness.edge.calls == 8


def test_a_shadow_policy_stays_when_the_live_policy_is_replaced_and_can_be_stopped() -> None:
    harness = harness_with(ScreenSettings())
    none = ScreenSettings(method=MethodSettings(public=()))
    shadow = harness.edge.start_shadow(pipeline(none), RoutingTable((), ["pbx"]))
    harness.edge.adopt(RoutingTable((), ["pbx"]), pipeline(ScreenSettings()))
    assert harness.edge.shadow_policy is shadow
    assert harness.edge.pipeline.standings.shadow is not None
    harness.receive(CALLER, invite())
    assert shadow.differences == {(PASSED, "method"): 1}
    harness.edge.observe_verdicts(None)
    assert harness.edge.shadow_policy is None
    assert harness.edge.pipeline.standings.shadow is None
    harness.receive(CALLER, invite(branch="z9hG4bKb", from_tag="b"))
    assert shadow.judged == 1
    assert harness.edge.counters.shadow_differences == {(PASSED, "method"): 1}  # a counter does not go back


def test_a_flow_proven_to_the_live_policy_is_proven_to_the_other() -> None:
    harness = EdgeHarness(methods=OPEN)
    user = Flow(PUBLIC, Source("203.0.113.9", 5060))
    other = pipeline(ScreenSettings())
    harness.edge.start_shadow(other, RoutingTable((), ["pbx"]))
    contact = "<sip:alice@192.168.1.5:5062>"
    ((_, request),) = harness.receive(
        user, invite("REGISTER", extra="Authorization: Digest username=alice, realm=r, nonce=n, uri=u, response=r\r\n")
    )
    answer = respond(request, 200, contact=False, extra=f"Contact: {contact};expires=600")
    harness.receive(Flow(CORE, MEMBERS[0]), answer)
    assert other.standings.of(user, harness.now).name == "REGISTERED"


# --- stages that depend on live calls and on responses ----------------------------------------------------


def watched(other: ScreenSettings) -> tuple[EdgeHarness, ShadowPolicy]:
    """An edge where unproven sources may call and register, with a shadow policy."""
    harness = harness_with(ScreenSettings(method=MethodSettings(public=OPEN), admission=ANYBODY))
    return harness, harness.edge.start_shadow(pipeline(other), RoutingTable((), ["pbx"]))


def other_policy(**stages: Any) -> ScreenSettings:
    return ScreenSettings(**{"method": MethodSettings(public=OPEN), "admission": ANYBODY, **stages})


def test_fewer_attempts_differ_by_exactly_the_attempts_over_the_limit() -> None:
    harness, shadow = watched(other_policy(guess=GuessSettings(tries=3)))

    def guess(n: int, status: int = 401) -> None:
        extra = f"Authorization: Digest username=u{n}, realm=r, nonce=n, uri=u, response=r\r\n"
        ((_, sent),) = harness.receive(
            UNLISTED, invite("REGISTER", branch=f"z9hG4bK{n}", from_tag=f"t{n}", extra=extra)
        )
        harness.receive(Flow(CORE, MEMBERS[0]), respond(sent, status, contact=False))
        harness.wait(1)

    for n in range(8):
        guess(n)
    assert shadow.differences == {(PASSED, "guess"): 1, (PASSED, "banned"): 4}
    harness.wait(56)  # the other policy's ban and its three attempts have expired; refused attempts did not count
    guess(8)
    assert shadow.differences == {(PASSED, "guess"): 1, (PASSED, "banned"): 4}
    assert set(harness.reasons) == {"routed"}


def test_the_other_policy_learns_of_stale_nonces_and_successes_too() -> None:
    harness, shadow = watched(other_policy(guess=GuessSettings(tries=2)))
    stale = 'WWW-Authenticate: Digest realm="r", nonce="n", stale=true'
    answers = [(401, ""), (401, stale), (200, BINDING), (401, ""), (401, stale), (200, BINDING), (401, "")]
    for n, (status, extra) in enumerate(answers):
        with_password = "Authorization: Digest username=alice, realm=r, nonce=n, uri=u, response=r\r\n"
        ((_, sent),) = harness.receive(
            UNLISTED, invite("REGISTER", branch=f"z9hG4bK{n}", from_tag=f"t{n}", extra=with_password)
        )
        harness.receive(Flow(CORE, MEMBERS[0]), respond(sent, status, contact=False, extra=extra))
        harness.wait(1)
    assert shadow.differences == {}


def test_fewer_ringing_calls_differ_by_exactly_the_calls_over_the_limit() -> None:
    harness, shadow = watched(other_policy(admission=AdmissionSettings(open=("public",), ringing=2)))
    sent = []
    for n in range(5):
        sent += harness.receive(UNLISTED, invite(branch=f"z9hG4bK{n}", from_tag=f"t{n}"))
    assert shadow.differences == {(PASSED, "ringing"): 3}
    for flow, request in sent:
        if flow.listener is CORE:
            harness.receive(flow, respond(request, 486))
    harness.receive(UNLISTED, invite(branch="z9hG4bKlast", from_tag="last"))
    assert shadow.differences == {(PASSED, "ringing"): 3}
    assert set(harness.reasons) == {"routed"}


def test_fewer_points_differ_by_exactly_the_messages_under_the_ban() -> None:
    harness, shadow = watched(other_policy(conduct=MisbehaviourSettings(points=3)))
    for _ in range(7):  # two points each: the second one causes the ban, and the later ones are banned
        harness.receive(UNLISTED, b"no SIP at all\r\n\r\n")
        harness.wait(1)
    assert shadow.differences == {("malformed", "banned"): 5}
    harness.wait(54.5)  # the ban began with the second message, and the banned messages did not renew it
    harness.receive(UNLISTED, invite("OPTIONS"))
    assert shadow.differences == {("malformed", "banned"): 5}
    assert harness.reasons == ["malformed"] * 7


@pytest.mark.parametrize("limit", [{"transactions": 2}, {"lag": 0.1}])
def test_a_lower_bound_on_the_load_differs_above_that_bound(limit: dict[str, Any]) -> None:
    harness, shadow = watched(other_policy(overload=OverloadSettings(**limit)))
    harness.receive(UNLISTED, invite(branch="z9hG4bKa", from_tag="a"))
    assert shadow.differences == {}
    for _ in range(3):
        harness.edge.note_lateness(0.2)  # the smaller of two values in a row counts, by a quarter each time
        harness.edge.note_lateness(0.2)
    harness.receive(UNLISTED, invite(branch="z9hG4bKb", from_tag="b"))
    harness.receive(CALLER, invite(branch="z9hG4bKc", from_tag="c"))  # this load does not affect a trunk
    assert shadow.differences == {(PASSED, "overload"): 1}
    assert set(harness.reasons) == {"routed"}
