"""Two pipelines and one traffic: only what they do not agree on is told, and the live one never notices."""

from __future__ import annotations

import pytest
from screen.conftest import LISTENERS, MakeFlow, MakeRequest

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.screen.beside import PASSED, Beside
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.stage import PASS
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request


class Pair:
    """A live pipeline and a beside, asked as the brain asks them."""

    def __init__(self, live: ScreenSettings, other: ScreenSettings, to: str | None = "pbx") -> None:
        self.decisions: list[Decision] = []
        self.live = Pipeline(live, Standings(), self.decisions.append, lambda stage, error: None)
        self.totals = Counts()
        self.to = to
        self.told: list[tuple[str, str]] = []
        self.other = Pipeline(other, Standings(), lambda decision: None, lambda stage, error: None)
        self.beside = Beside(
            self.other, self.choose, self.totals, lambda flow, call_id, live, now: self.told.append((call_id, live))
        )
        self.beside.follow(self.live)

    def choose(self, flow: Flow, request: Request) -> str | None:
        if self.to == "broken":
            raise WireError("a From that cannot be read")
        return self.to

    def message(self, flow: Flow, request: Request | None, now: float, to: str | None = "pbx") -> None:
        beside, live = self.beside, self.live
        verdict = live.packet(flow, 400, now)
        beside.begin(flow, 400, verdict, now)
        if verdict is PASS and request is not None:
            subject = live.subject(flow, request, now)
            verdict = live.request(subject, now)
            beside.request(subject, verdict, now)
            if verdict is PASS:
                verdict = live.call(subject, now)
                beside.call(verdict, now)
                if verdict is PASS:
                    beside.route(to, now)
        beside.end(now)


def test_a_stricter_threshold_differs_by_exactly_what_is_over_it(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(pike=PikeSettings(reqs_density_per_unit=10)))
    for n in range(30):
        pair.message(flow(), None, 100.0 + n / 100)
    # The eleventh trips, and those after it find the ban that it asked for.
    assert pair.beside.differences == {(PASSED, "pike"): 1, (PASSED, "banned"): 19}
    assert pair.beside.judged == 30
    assert pair.totals == pair.beside.differences


def test_a_looser_policy_is_asked_no_further_than_the_live_one_got(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(
        ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24",))), ScreenSettings(method=MethodSettings(public=()))
    )
    pair.message(flow(), request_of(), 1.0)
    assert pair.beside.differences == {("acl-denied", PASSED): 1}


def test_each_refuses_a_message_once_and_both_reasons_are_told(flow: MakeFlow, request_of: MakeRequest) -> None:
    """The other policy denies the source, the live one finds the scanner later: one pair, not two."""
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24",))))
    pair.message(flow(), request_of("OPTIONS", "User-Agent: sipvicious"), 1.0)
    assert pair.beside.differences == {("scanner", "acl-denied"): 1}
    (example,) = pair.beside.examples("scanner", "acl-denied")
    assert (example.source, example.call_id, example.listener) == ("192.0.2.1:5060", "call-1", "carriers")


def test_nothing_of_the_live_policy_changes(flow: MakeFlow, request_of: MakeRequest) -> None:
    settings = ScreenSettings(pike=PikeSettings(reqs_density_per_unit=5))
    strict = ScreenSettings(pike=PikeSettings(reqs_density_per_unit=1), method=MethodSettings(public=()))
    pair, alone = Pair(settings, strict), Pair(settings, settings)
    for n in range(20):
        for each in (pair, alone):
            each.message(flow(), request_of(), n / 10)
    assert pair.beside.differences
    assert not alone.beside.differences
    assert pair.live.counts == alone.live.counts
    assert [each.reason for each in pair.decisions] == [each.reason for each in alone.decisions]
    assert len(pair.live.take_penalties()) == len(alone.live.take_penalties()) == 1
    assert pair.other.take_penalties() == []


def test_routes_are_compared_where_both_let_it_begin(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(), to="overflow")
    pair.message(flow(), request_of(), 1.0)
    assert pair.beside.routes == {("pbx", "overflow"): 1}
    assert pair.beside.examples("pbx", "overflow", "route")[0].call_id == "call-1"
    pair.to = None
    pair.message(flow(), request_of(), 1.1)
    pair.to = "broken"
    pair.message(flow(), request_of(), 1.2)
    pair.to = "pbx"
    pair.message(flow(), request_of(), 1.3, to=None)
    assert pair.beside.differences == {(PASSED, "no-route"): 1, (PASSED, "malformed"): 1, ("no-route", PASSED): 1}
    assert sum(pair.beside.routes.values()) == 1


def test_what_the_brain_refuses_is_a_difference_only_where_the_other_refused_before(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.7",))))
    for host in ("192.0.2.1", "192.0.2.7"):
        pair.beside.begin(flow(host=host), 4, PASS, 1.0)
        pair.beside.refused(Reason.MALFORMED)
        pair.beside.end(1.0)
    assert pair.beside.differences == {("malformed", "acl-denied"): 1}
    assert pair.told == [("", "malformed"), ("", "malformed")]
    pair.beside.refused(Reason.OVERLOAD)  # of no message
    pair.beside.end(1.0)
    assert pair.beside.judged == 2


def test_connections_are_judged_too(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.9",))))
    peer = Source("192.0.2.9", 40000)
    verdict = pair.live.accept(LISTENERS["tls"], peer, 1.0)
    pair.beside.accept(LISTENERS["tls"], peer, verdict, 1.0)
    assert pair.beside.differences == {(PASSED, "acl-denied"): 1}


def test_proofs_of_before_and_of_now_are_the_others_too(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings())
    known, new = flow(), flow(port=5070)
    pair.live.standings.prove(known, Standing.REGISTERED, 1.0)
    pair.beside.follow(pair.live)
    pair.live.standings.prove(new, Standing.REACHABLE, 1.0)
    standings = pair.other.standings
    assert (standings.of(known, 2.0), standings.of(new, 2.0)) == (Standing.REGISTERED, Standing.REACHABLE)
    pair.live.standings.withdraw(known)
    assert standings.of(known, 2.0) is Standing.UNPROVEN
    standings.withdraw(new)  # and nothing goes the other way
    assert pair.live.standings.of(new, 2.0) is Standing.REACHABLE


def test_examples_are_bounded_and_cut(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(method=MethodSettings(public=())))
    for n in range(limits.SHADOW_EXAMPLES + 3):
        pair.message(flow(), request_of(call_id=f"{n}-" + "x" * 1000), float(n))
    examples = pair.beside.examples(PASSED, "method")
    assert [each.call_id.partition("-")[0] for each in examples] == ["3", "4", "5", "6", "7"]
    assert all(len(each.call_id) == limits.LEDGER_TEXT_CHARS for each in examples)


@pytest.mark.parametrize("count", [1, 3])
def test_the_report_is_plain_values(flow: MakeFlow, request_of: MakeRequest, count: int) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(method=MethodSettings(public=())))
    for n in range(count):
        pair.message(flow(), request_of(), float(n))
    report = pair.beside.report()
    assert report["judged"] == count
    assert report["routes"] == []
    (difference,) = report["differences"]
    assert (difference["live"], difference["other"], difference["count"]) == (PASSED, "method", count)
    assert difference["examples"][-1] == {
        "time": float(count - 1), "source": "192.0.2.1:5060", "listener": "carriers", "call_id": "call-1",
    }  # fmt: skip
