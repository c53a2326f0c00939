"""A whole edge with a policy beside the live one: the same policy never differs, and the traffic never notices."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support.brain import BROWSERS, CALLER, CARRIERS, CORE, MEMBERS, PUBLIC, Brain, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.brain.routing import Route, RoutingTable
from edgesbc.screen.beside import PASSED
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stages.method import CALLS, MethodSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.standing import Standings, Trunk
from edgesbc.sip.message import Request

METHODS = ("INVITE", "OPTIONS", "BYE", "REGISTER", "MESSAGE", "ACK", "CANCEL")
OPEN = (*CALLS, "REGISTER", "MESSAGE")
BINDING = "Contact: <sip:alice@192.168.1.5:5062>;expires=60"
PIKE = PikeSettings(reqs_density_per_unit=6)


def pipeline(screen: ScreenSettings, trunk: str = "198.51.100.7") -> Pipeline:
    trunks = Standings([Trunk("carrier", (trunk,))])
    return Pipeline(screen, trunks, lambda decision: None, lambda stage, error: None)


def brain_with(screen: ScreenSettings) -> Brain:
    brain = Brain(methods=OPEN)
    brain.edge.adopt(RoutingTable((), ["pbx"]), pipeline(screen))
    return brain


class Traffic:
    """A program of messages, answers and time, played to a brain; the same for each brain it is played to."""

    def __init__(self, steps: list[tuple[int, int, int]]) -> None:
        self.steps = steps
        self.received = 0

    def _receive(self, brain: Brain, flow: Flow, data: bytes) -> None:
        self.received += 1
        brain.receive(flow, data)

    def play(self, brain: Brain) -> list[bytes]:
        """What the edge sent, in order."""
        said: list[bytes] = []
        waiting: list[tuple[Flow, Request]] = []
        streams = [brain.edge.new_flow(each, Source("203.0.113.5", 40000)) for each in (BROWSERS, CARRIERS)]
        for each in streams:
            if brain.edge.accept(each.listener, each.peer, brain.now):
                brain.edge.flow_opened(each)
        for kind, who, what in self.steps:
            if kind == 0:
                brain.wait(what / 4)
            elif kind == 1 and waiting:
                flow, request = waiting.pop()
                body = (180, 200, 404, 401)[what % 4]
                self._receive(brain, flow, respond(request, body, contact=False, extra=BINDING))
            elif kind == 2:
                self._receive(brain, (CALLER, *streams)[who % 3], b"no SIP at all\r\n\r\n")
            else:
                flow = (CALLER, Flow(PUBLIC, Source(f"203.0.113.{who}", 5060)), *streams)[who % 4]
                method = METHODS[what % len(METHODS)]
                extra = "User-Agent: sipvicious\r\n" if what % 11 == 0 else ""
                extra += "Authorization: Digest username=alice\r\n" if method == "REGISTER" else ""
                self._receive(brain, flow, invite(method, branch=f"z9hG4bK{what}", from_tag=f"t{what}", extra=extra))
            said += brain.raw
            brain.raw.clear()
            waiting += [(f, m) for f, m in brain.sent if f.listener is CORE and isinstance(m, Request)]
        return said


steps = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(0, 60)), max_size=60).map(Traffic)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_the_same_policy_beside_itself_never_differs(traffic: Traffic) -> None:
    screen = ScreenSettings(pike=PIKE, method=MethodSettings(public=OPEN))
    brain = brain_with(screen)
    beside = brain.edge.gate.shadow(pipeline(screen), RoutingTable((), ["pbx"]))
    traffic.play(brain)
    assert beside.differences == {}
    assert beside.routes == {}
    assert beside.judged == 2 + traffic.received  # two connections


@settings(max_examples=40, deadline=None)
@given(steps)
def test_traffic_is_the_same_with_a_policy_beside_as_without(traffic: Traffic) -> None:
    screen = ScreenSettings(pike=PIKE, method=MethodSettings(public=OPEN))
    strict = ScreenSettings(pike=PikeSettings(reqs_density_per_unit=1), method=MethodSettings(public=()))
    alone, watched = brain_with(screen), brain_with(screen)
    watched.edge.gate.shadow(pipeline(strict, "192.0.2.200"), RoutingTable((Route("r", "x"),), ["x"]))
    assert traffic.play(alone) == traffic.play(watched)
    assert alone.edge.pipeline.counts == watched.edge.pipeline.counts
    assert alone.reasons == watched.reasons


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(METHODS), max_size=25), st.sets(st.sampled_from(OPEN), min_size=1))
def test_fewer_methods_differ_by_exactly_those_that_came(sent: list[str], taken: set[str]) -> None:
    """A trunk's requests, each with a transaction of its own; CANCEL is answered before screening."""
    allowed = tuple(method for method in OPEN if method not in taken)
    brain = brain_with(ScreenSettings(method=MethodSettings(public=OPEN)))
    screen = ScreenSettings(method=MethodSettings(public=(*allowed, "ACK")))
    beside = brain.edge.gate.shadow(pipeline(screen), RoutingTable((), ["pbx"]))
    for n, method in enumerate(sent):
        brain.receive(CALLER, invite(method, branch=f"z9hG4bK{n}", from_tag=f"t{n}"))
    refused = [method for method in sent if method in taken - {"ACK", "CANCEL"}]
    no_dialog = refused.count("BYE")
    expected = {(PASSED, "method"): len(refused) - no_dialog, ("no-dialog", "method"): no_dialog}
    assert beside.differences == {pair: count for pair, count in expected.items() if count}


def test_other_routes_and_other_trunks_are_seen() -> None:
    brain = brain_with(ScreenSettings())
    routing = RoutingTable((Route("r", "overflow", methods=("INVITE",)),), ["overflow"])
    beside = brain.edge.gate.shadow(pipeline(ScreenSettings(pike=PIKE), "192.0.2.200"), routing)
    for n in range(8):
        brain.receive(CALLER, invite(branch=f"z9hG4bK{n}", from_tag=f"t{n}"))
    # The caller is a trunk to the live policy, and a stranger to the other, which has had enough after six.
    assert beside.routes == {("pbx", "overflow"): 6}
    assert beside.differences == {(PASSED, "pike"): 1, (PASSED, "banned"): 1}
    assert brain.edge.calls == 8


def test_it_stays_when_the_live_policy_is_replaced_and_goes_when_told() -> None:
    brain = brain_with(ScreenSettings())
    none = ScreenSettings(method=MethodSettings(public=()))
    beside = brain.edge.gate.shadow(pipeline(none), RoutingTable((), ["pbx"]))
    brain.edge.adopt(RoutingTable((), ["pbx"]), pipeline(ScreenSettings()))
    assert brain.edge.gate.beside is beside
    assert brain.edge.pipeline.standings.follower is not None
    brain.receive(CALLER, invite())
    assert beside.differences == {(PASSED, "method"): 1}
    brain.edge.gate.watch(None)
    assert brain.edge.gate.beside is None
    assert brain.edge.pipeline.standings.follower is None
    brain.receive(CALLER, invite(branch="z9hG4bKb", from_tag="b"))
    assert beside.judged == 1
    assert brain.edge.gate.shadow_differences == {(PASSED, "method"): 1}  # a counter does not go back


def test_a_flow_proven_to_the_live_policy_is_proven_to_the_other() -> None:
    brain = Brain(methods=OPEN)
    stranger = Flow(PUBLIC, Source("203.0.113.9", 5060))
    other = pipeline(ScreenSettings())
    brain.edge.gate.shadow(other, RoutingTable((), ["pbx"]))
    contact = "<sip:alice@192.168.1.5:5062>"
    ((_, request),) = brain.receive(stranger, invite("REGISTER", extra="Authorization: Digest username=alice\r\n"))
    answer = respond(request, 200, contact=False, extra=f"Contact: {contact};expires=600")
    brain.receive(Flow(CORE, MEMBERS[0]), answer)
    assert other.standings.of(stranger, brain.now).name == "REGISTERED"
