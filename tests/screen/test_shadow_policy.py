"""Two pipelines with the same traffic: only differences are reported, and the live one is not affected."""

from __future__ import annotations

import pytest
from screen.conftest import LISTENERS, MakeFlow, MakeRequest

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.errors import WireError
from edgesbc.base.reasons import Reason
from edgesbc.screen.misbehaviour import MisbehaviourSettings
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline, ScreenSettings
from edgesbc.screen.shadow_policy import PASSED, ShadowPolicy
from edgesbc.screen.stage import PASS, Phase, Subject, Verdict
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

OPEN = AdmissionSettings(open=("carriers",))
"""Unproven sources may call, so that only the other stages refuse requests."""


class Listens:
    """A stage that lets everything pass and records the Call-IDs of answered requests."""

    name = "listens"
    phases: frozenset[Phase] = frozenset()

    def __init__(self, answered: list[str]) -> None:
        self.answered_calls = answered

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        return PASS

    def answered(self, subject: Subject, response: Response, now: float) -> None:
        assert subject.request is not None
        self.answered_calls.append(subject.request.call_id)


class Pair:
    """A live pipeline and a shadow policy, called as the signalling core calls them."""

    def __init__(self, live: ScreenSettings, other: ScreenSettings, to: str | None = "pbx") -> None:
        self.decisions: list[Decision] = []
        self.live = Pipeline(live, Standings(), self.decisions.append, lambda stage, error: None)
        self.totals = Counts()
        self.to = to
        self.recorded: list[tuple[str, str]] = []
        self.answered: list[str] = []
        self.other = Pipeline(
            other, Standings(), lambda decision: None, lambda stage, error: None, (Listens(self.answered),)
        )
        self.beside = ShadowPolicy(
            self.other, self.choose, self.totals, lambda flow, call_id, live, now: self.recorded.append((call_id, live))
        )
        self.beside.attach(self.live)

    def choose(self, flow: Flow, request: Request, now: float) -> str | None:
        if self.to == "broken":
            raise WireError("a From that cannot be read")
        return self.to

    def message(self, flow: Flow, request: Request | None, now: float, to: str | None = "pbx") -> None:
        shadow, live = self.beside, self.live
        verdict = live.packet(flow, 400, now)
        shadow.begin(flow, 400, verdict, now)
        if verdict is PASS and request is not None:
            subject = live.subject(flow, request, now)
            verdict = live.request(subject, now)
            shadow.request(subject, verdict, now)
            if verdict is PASS:
                verdict = live.call(subject, now)
                shadow.call(verdict, now)
                if verdict is PASS:
                    shadow.route(to, now)
        shadow.end(now)


def refusal(status: int = 403) -> Response:
    text = (
        f"SIP/2.0 {status} No\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0\r\nFrom: <sip:a@b.example>;tag=1\r\n"
    )
    message = parse_message((text + "To: <sip:a@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n").encode())
    assert isinstance(message, Response)
    return message


def test_a_stricter_threshold_differs_by_exactly_the_messages_over_it(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(pike=PikeSettings(reqs_density_per_unit=10)))
    for n in range(30):
        pair.message(flow(), None, 100.0 + n / 100)
    # The eleventh message trips the threshold, and the later ones are banned.
    assert pair.beside.differences == {(PASSED, "pike"): 1, (PASSED, "banned"): 19}
    assert pair.beside.judged == 30
    assert pair.totals == pair.beside.differences


def test_a_looser_policy_judges_no_later_phase_than_the_live_one(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(
        ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24",))), ScreenSettings(method=MethodSettings(public=()))
    )
    pair.message(flow(), request_of(), 1.0)
    assert pair.beside.differences == {("acl-denied", PASSED): 1}


def test_each_refuses_a_message_once_and_both_reasons_are_reported(flow: MakeFlow, request_of: MakeRequest) -> None:
    """The other policy denies the source, the live one refuses it as a scanner later: one difference, not two."""
    scanner = ScannerSettings(user_agents=("sipvicious",))
    pair = Pair(ScreenSettings(scanner=scanner), ScreenSettings(acl=AclSettings(deny=("192.0.2.0/24",))))
    pair.message(flow(), request_of("OPTIONS", "User-Agent: sipvicious"), 1.0)
    assert pair.beside.differences == {("scanner", "acl-denied"): 1}
    (example,) = pair.beside.examples("scanner", "acl-denied")
    assert (example.source, example.call_id, example.listener) == ("192.0.2.1:5060", "call-1", "carriers")


def test_nothing_of_the_live_policy_changes(flow: MakeFlow, request_of: MakeRequest) -> None:
    settings = ScreenSettings(pike=PikeSettings(reqs_density_per_unit=5), admission=OPEN)
    strict = ScreenSettings(
        pike=PikeSettings(reqs_density_per_unit=1), method=MethodSettings(public=()), admission=OPEN
    )
    pair, alone = Pair(settings, strict), Pair(settings, settings)
    for n in range(20):
        for bench in (pair, alone):
            bench.message(flow(), request_of(), n / 10)
    assert pair.beside.differences
    assert not alone.beside.differences
    assert pair.live.counts == alone.live.counts
    assert [decision.reason for decision in pair.decisions] == [decision.reason for decision in alone.decisions]
    assert len(pair.live.penalties.take_datagram_bans()) == len(alone.live.penalties.take_datagram_bans()) == 1
    assert pair.other.penalties.take_datagram_bans() == []


def test_routes_are_compared_if_both_policies_admit_the_request(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(admission=OPEN), to="overflow")
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


def test_refusals_of_the_signalling_core_differ_only_if_the_other_policy_refused_before(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.7",))))
    for host in ("192.0.2.1", "192.0.2.7"):
        pair.beside.begin(flow(host=host), 4, PASS, 1.0)
        pair.beside.refused(Reason.MALFORMED)
        pair.beside.end(1.0)
    assert pair.beside.differences == {("malformed", "acl-denied"): 1}
    assert pair.recorded == [("", "malformed"), ("", "malformed")]
    pair.beside.refused(Reason.OVERLOAD)  # it belongs to no message
    pair.beside.end(1.0)
    assert pair.beside.judged == 2


def test_connections_are_judged_too(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.9",))))
    peer = Source("192.0.2.9", 40000)
    verdict = pair.live.accept(LISTENERS["tls"], peer, 1.0)
    pair.beside.accept(LISTENERS["tls"], peer, verdict, 1.0)
    assert pair.beside.differences == {(PASSED, "acl-denied"): 1}


def test_earlier_and_new_proofs_count_for_the_other_policy_too(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings())
    known, new = flow(), flow(port=5070)
    pair.live.standings.prove(known, Standing.REGISTERED, 1.0)
    pair.beside.attach(pair.live)
    pair.live.standings.prove(new, Standing.REACHABLE, 1.0)
    standings = pair.other.standings
    assert (standings.of(known, 2.0), standings.of(new, 2.0)) == (Standing.REGISTERED, Standing.REACHABLE)
    pair.live.standings.withdraw(known)
    assert standings.of(known, 2.0) is Standing.UNPROVEN
    standings.withdraw(new)  # the live policy takes nothing from the other
    assert pair.live.standings.of(new, 2.0) is Standing.REACHABLE


def test_examples_are_bounded_and_cut(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(method=MethodSettings(public=())))
    for n in range(limits.SHADOW_EXAMPLES + 3):
        pair.message(flow(), request_of(call_id=f"{n}-" + "x" * 1000), float(n))
    examples = pair.beside.examples(PASSED, "method")
    assert [example.call_id.partition("-")[0] for example in examples] == ["3", "4", "5", "6", "7"]
    assert all(len(example.call_id) == limits.LEDGER_TEXT_CHARS for example in examples)


@pytest.mark.parametrize("count", [1, 3])
def test_the_report_is_plain_values(flow: MakeFlow, request_of: MakeRequest, count: int) -> None:
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(method=MethodSettings(public=())))
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


# --- what comes of messages ------------------------------------------------------------------------------


def test_the_other_policy_gets_no_responses_to_requests_that_it_refused(
    flow: MakeFlow, request_of: MakeRequest
) -> None:
    """It refuses 192.0.2.7, and gets every response but the first one to that source."""
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(acl=AclSettings(deny=("192.0.2.7",)), admission=OPEN))
    for host in ("192.0.2.1", "192.0.2.7", "192.0.2.8"):
        request = request_of(call_id=host)
        pair.message(flow(host=host), request, 1.0)
        pair.live.answered(flow(host=host), request, refusal(), 1.1)
    assert pair.answered == ["192.0.2.1", "192.0.2.8"]
    pair.live.answered(flow(host="192.0.2.7"), request_of(call_id="192.0.2.7"), refusal(), 1.2)
    assert pair.answered[2:] == ["192.0.2.7"]  # the refusal is remembered for one response


def test_a_repeated_request_that_passes_gets_its_responses(flow: MakeFlow, request_of: MakeRequest) -> None:
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(admission=OPEN), to=None)
    pair.message(flow(), request_of(), 1.0)  # no route of the other policy matches
    pair.to = "pbx"
    pair.message(flow(), request_of(), 50.0)
    pair.live.answered(flow(), request_of(), refusal(), 50.1)
    assert pair.answered == ["call-1"]


def test_requests_that_were_refused_are_remembered_up_to_a_bound(
    flow: MakeFlow, request_of: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SHADOW_REFUSED", 3)
    pair = Pair(ScreenSettings(admission=OPEN), ScreenSettings(acl=AclSettings(deny=("192.0.2.1",))))
    requests = [request_of(call_id=f"call-{n}") for n in range(5)]
    for request in requests:
        pair.message(flow(), request, 1.0)
    assert len(pair.beside._refused) == 3
    for request in requests:
        pair.live.answered(flow(), request, refusal(), 1.1)
    assert pair.answered == ["call-0", "call-1"]
    assert not pair.beside._refused


def test_responses_to_refused_requests_do_not_affect_the_other_policy(flow: MakeFlow) -> None:
    strict = MisbehaviourSettings(points=1)
    pair = Pair(ScreenSettings(), ScreenSettings(acl=AclSettings(deny=("192.0.2.7",)), conduct=strict))
    for host in ("192.0.2.7", "192.0.2.1"):
        pair.beside.begin(flow(host=host), 4, pair.live.packet(flow(host=host), 4, 1.0), 1.0)
        pair.beside.refused(Reason.MALFORMED)
        pair.live.malformed(flow(host=host), 1.0)
        pair.beside.end(1.0)
    assert [ban.target for ban in pair.other.penalties] == ["192.0.2.1:5060"]


def test_a_proof_that_the_live_policy_withdraws_for_bad_conduct_stays_with_the_other(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(conduct=MisbehaviourSettings(points=1)), ScreenSettings())
    pair.live.standings.prove(flow("tls"), Standing.REGISTERED, 1.0)
    pair.live.malformed(flow("tls"), 2.0)
    standings = (pair.live.standings, pair.other.standings)
    assert [table.of(flow("tls"), 3.0) for table in standings] == [Standing.REACHABLE, Standing.REGISTERED]
    pair.live.standings.withdraw(flow("tls"))  # the source has deregistered
    assert pair.other.standings.of(flow("tls"), 3.0) is Standing.REACHABLE


def test_a_broken_stream_counts_only_if_the_other_policy_has_not_closed_it(flow: MakeFlow) -> None:
    pair = Pair(ScreenSettings(), ScreenSettings(conduct=MisbehaviourSettings(points=1, ban=30.0)))
    stream = flow("tls")
    pair.live.malformed(stream, 1.0)  # framing has failed, so there is no message
    assert pair.other.counts == {("conduct", "ban"): 1}
    pair.live.malformed(stream, 2.0)  # the other policy would have closed the stream by now
    assert pair.other.counts == {("conduct", "ban"): 1}
    assert pair.other.penalties.take_stream_bans() == []
    assert not pair.live.counts
    assert not pair.decisions


def test_operator_bans_count_for_both_policies_and_their_hits_once(flow: MakeFlow) -> None:
    exempt = ScreenSettings(exempt=("192.0.2.200",))
    pair = Pair(ScreenSettings(), exempt)
    order = OperatorBan("192.0.2.1", False, 1.0, 50.0, "admin", "")
    pair.live.operator_bans.put(order)
    pair.message(flow(), None, 2.0)
    peer = Source("192.0.2.1", 40000)
    pair.beside.accept(LISTENERS["tls"], peer, pair.live.accept(LISTENERS["tls"], peer, 3.0), 3.0)
    assert pair.live.counts == {("penalties", "banned"): 2}
    assert order.hits == 2
    pair.message(flow(), None, 51.0)  # the ban has expired
    pair.live.operator_bans.put(OperatorBan("192.0.2.0/24", False, 52.0, None, "admin", ""))
    pair.message(flow(), None, 53.0)
    assert pair.live.counts == {("penalties", "banned"): 3}
    pair.live.operator_bans.drop("192.0.2.0/24")
    pair.message(flow(), None, 54.0)
    assert pair.beside.differences == {}
    assert [order.prefix for order in pair.other.operator_bans] == ["192.0.2.200"]
    assert not list(pair.live.operator_bans)
