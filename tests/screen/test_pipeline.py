"""The pipeline as a whole: order, bans, shadow mode, broken stages, and what is recorded."""

from __future__ import annotations

import attrs
import pytest

from edgesbc.base.address import Flow, Source
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.settings import ScreenSettings
from edgesbc.screen.stage import PASS, Drop, Phase, Reject, Subject, Verdict
from edgesbc.screen.stages import STAGES
from edgesbc.screen.stages.acl import AclSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.scanner import ScannerSettings
from edgesbc.screen.standing import Standing, Standings
from edgesbc.screen.trunk import Trunk
from edgesbc.screen.work import WorkSettings
from edgesbc.sip.message import Request

SCANNER = ScannerSettings(user_agents=("friendly-scanner",))


def request(pipeline: Pipeline, flow: Flow, message: Request, now: float) -> Verdict:
    return pipeline.request(pipeline.subject(flow, message, now), now)


def call(pipeline: Pipeline, flow: Flow, message: Request, now: float) -> Verdict:
    return pipeline.call(pipeline.subject(flow, message, now), now)


class Bench:
    """A pipeline with its recorded decisions and reported errors."""

    def __init__(self, settings: ScreenSettings | None = None, trunks=(), extra=()) -> None:
        self.decisions: list[Decision] = []
        self.failures: list[tuple[str, Exception]] = []
        self.pipeline = Pipeline(
            settings or ScreenSettings(),
            Standings(trunks),
            self.decisions.append,
            lambda stage, error: self.failures.append((stage, error)),
            extra,
        )

    def reasons(self) -> list[Reason]:
        return [decision.reason for decision in self.decisions]


class Broken:
    name = "broken"
    phases = frozenset(Phase)

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        if subject.request is not None and subject.request.method == "BYE":
            raise KeyError("bye")
        raise ZeroDivisionError("always")


def test_a_call_passes_every_phase_and_records_nothing(flow, request_of) -> None:
    bench = Bench()
    pipeline, tls = bench.pipeline, flow("tls")
    pipeline.standings.prove(tls, Standing.REGISTERED, 1.0)
    assert pipeline.accept(tls.listener, tls.peer, 1.0) is PASS
    assert pipeline.packet(tls, 500, 1.0) is PASS
    assert request(pipeline, tls, request_of(), 1.0) is PASS
    assert call(pipeline, tls, request_of(), 1.0) is PASS
    assert bench.decisions == []
    assert pipeline.counts == {}


def test_a_flood_of_one_flow_is_banned_and_then_only_counted(flow) -> None:
    bench = Bench()
    verdicts = [bench.pipeline.packet(flow(), 400, 10.0) for n in range(10_000)]
    assert all(verdict is PASS for verdict in verdicts[:30])
    assert all(isinstance(verdict, Drop) for verdict in verdicts[30:])
    assert bench.reasons() == [Reason.PIKE, Reason.BAN]
    pike, ban = bench.decisions
    assert (pike.limit, pike.value, pike.source, pike.listener, pike.stage) == (
        30, 31, "192.0.2.1:5060", "carriers", "pike",
    )  # fmt: skip
    assert (ban.limit, ban.detail) == (60.0, "flow 192.0.2.1:5060, for pike")
    assert bench.pipeline.counts == {("pike", "pike"): 1, ("pike", "ban"): 1, ("penalties", "banned"): 9969}
    [(listener, source, ttl)] = bench.pipeline.penalties.take_datagram_bans()
    assert (listener.name, source, ttl) == ("carriers", Source("192.0.2.1", 5060), 60.0)
    assert bench.pipeline.packet(flow(port=1), 400, 12.1) is PASS
    assert bench.pipeline.packet(flow(), 400, 71.0) is PASS


def test_a_flood_of_many_flows_of_an_address_is_refused_and_then_banned(flow) -> None:
    bench = Bench()
    verdicts = [bench.pipeline.packet(flow(port=n + 1), 400, 10.0) for n in range(10_000)]
    assert all(isinstance(verdict, Drop) for verdict in verdicts[30:])
    assert bench.reasons() == [Reason.PIKE, Reason.PIKE, Reason.BAN]
    assert [decision.limit for decision in bench.decisions] == [30, 960, 60.0]
    assert (bench.decisions[-1].source, bench.decisions[-1].detail) == ("192.0.2.1", "address 192.0.2.1, for pike")
    assert bench.pipeline.counts["penalties", "banned"] == 10_000 - 30 - 960
    [(listener, source, ttl)] = bench.pipeline.penalties.take_datagram_bans()
    assert (listener.name, source, ttl) == ("carriers", Source("192.0.2.1", 0), 60.0)


def test_a_trunk_whose_address_is_forged_from_other_ports_is_served(flow, request_of) -> None:
    bench = Bench(trunks=(Trunk("carrier", ("192.0.2.1:5060",)),))
    for n in range(5000):
        now = 10.0 + n * 0.001
        bench.pipeline.packet(flow(port=10_000 + n), 400, now)
        assert bench.pipeline.packet(flow(port=5060), 400, now) is PASS
        if n % 100 == 0:
            assert request(bench.pipeline, flow(port=5060), request_of(), now) is PASS
            assert call(bench.pipeline, flow(port=5060), request_of(), now) is PASS
    assert len(bench.pipeline.penalties) == 1
    assert bench.pipeline.penalties.take_datagram_bans() == []


def test_phones_behind_one_address_do_not_add_up_once_they_are_proven(flow) -> None:
    bench = Bench()
    for port in range(1, 201):
        bench.pipeline.standings.prove(flow(port=port), Standing.REACHABLE, 9.0)
        for _ in range(4):
            assert bench.pipeline.packet(flow(port=port), 400, 10.0) is PASS
            assert bench.pipeline.packet(flow("tls", port=port, serial=port), 400, 10.0) is PASS
    assert bench.decisions == []


def test_a_registered_flow_is_held_to_its_threshold_and_never_banned(flow) -> None:
    bench = Bench()
    bench.pipeline.standings.prove(flow(), Standing.REGISTERED, 0.0, ttl=3600.0)
    passed = sum(bench.pipeline.packet(flow(), 400, 10.0 + n * 0.01) is PASS for n in range(1000))
    assert passed == 150  # 30 in each 2 s of the 10 s
    assert len(bench.pipeline.penalties) == 0
    assert set(bench.reasons()) == {Reason.PIKE}
    assert len(bench.decisions) <= 5


def test_a_registered_flow_that_floods_loses_the_trusted_queue_and_stays_registered(flow) -> None:
    """Otherwise one user, or forged datagrams with a phone's address, could fill the receive queue of trunks."""
    bench, udp = Bench(trunks=(Trunk("carrier", ("203.0.113.0/24",)),)), flow().listener
    standings, phones = bench.pipeline.standings, [flow(port=n) for n in (5060, 5062)]
    for phone in phones:
        standings.prove(phone, Standing.REGISTERED, 0.0, 3600.0)
    (carrier, *_), _ = standings.trusted(udp, 0.0)
    version = standings.version
    for _ in range(500):
        bench.pipeline.packet(phones[0], 500, 1.0)
    assert standings.version == version, "a burst is no flood"
    for _ in range(1000):
        bench.pipeline.packet(phones[0], 500, 1.0)
    assert standings.version == version + 1
    assert standings.trusted(udp, 1.0) == ([carrier, phones[1].peer], 61.0)
    assert standings.of(phones[0], 1.0) is Standing.REGISTERED
    assert len(bench.pipeline.penalties) == 0
    assert standings.trusted(udp, 61.0) == ([carrier, *(phone.peer for phone in phones)], 3600.0)
    standings.demote(phones[0], 100.0)
    standings.withdraw(phones[0])
    assert standings._demoted == {}


def test_a_stream_that_floods_is_banned_and_its_neighbours_are_not(flow) -> None:
    bench = Bench()
    for _ in range(31):
        last = bench.pipeline.packet(flow("tls"), 400, 10.0)
    assert isinstance(last, Drop)
    assert bench.pipeline.packet(flow("tls", port=7, serial=2), 400, 11.0) is PASS
    assert isinstance(bench.pipeline.accept(flow("tls").listener, Source("192.0.2.1", 5060), 11.0), Drop)
    assert bench.pipeline.accept(flow("tls").listener, Source("192.0.2.1", 8), 11.0) is PASS
    assert isinstance(bench.pipeline.packet(flow("tls"), 400, 129.0), Drop)
    assert bench.pipeline.packet(flow("tls"), 400, 130.0) is PASS


def test_ban_share_bounds_bans_and_the_rest_is_still_refused(flow) -> None:
    pike = PikeSettings(reqs_density_per_unit=2, tracker_entries=16)
    bench = Bench(ScreenSettings(pike=pike, max_ban_share=0.25))
    for n in range(10):
        verdicts = [bench.pipeline.packet(flow(host=f"192.0.2.{n}"), 400, 10.0) for _ in range(4)]
        assert [verdict is PASS for verdict in verdicts] == [True, True, False, False]
    assert len(bench.pipeline.penalties) == 4


def test_the_private_side_is_not_screened_by_packet(flow) -> None:
    bench = Bench(ScreenSettings(acl=AclSettings(deny=("0.0.0.0/0",))))
    core = flow("core")
    assert all(bench.pipeline.packet(core, 400, 1.0) is PASS for _ in range(1000))
    assert bench.pipeline.accept(core.listener, core.peer, 1.0) is PASS


def test_stages_judge_in_the_order_of_the_settings(flow, request_of) -> None:
    message = request_of("MESSAGE", "User-Agent: friendly-scanner")
    scanner_first = Bench(ScreenSettings(stages=("scanner", "method"), scanner=SCANNER)).pipeline
    assert isinstance(request(scanner_first, flow(), message, 1.0), Drop)
    method_first = Bench(ScreenSettings(stages=("method", "scanner"), scanner=SCANNER)).pipeline
    assert isinstance(request(method_first, flow(), message, 1.0), Reject)
    assert request(Bench(ScreenSettings(stages=())).pipeline, flow(), message, 1.0) is PASS


@pytest.mark.parametrize("name", [name for name, stage in STAGES.items() if not getattr(stage, "judges_trunks", True)])
def test_a_stage_that_is_not_asked_about_trunks_would_pass_them(flow, request_of, name: str) -> None:
    settings = ScreenSettings(scanner=SCANNER, pike=PikeSettings(reqs_density_per_unit=1))
    stage = STAGES[name](getattr(settings, name), Standings())
    message = request_of("REGISTER", "User-Agent: friendly-scanner", 'Authorization: Digest username="a"')
    subject = Subject(flow("udp"), Standing.TRUNK, "carrier", message)
    assert {stage.judge(subject, phase, 1.0) for phase in stage.phases for _ in range(40)} == {PASS}


def test_an_extra_stage_judges_trunks_unless_it_says_otherwise(flow) -> None:
    class Refusing:
        name, phases = "refusing", frozenset({Phase.PACKET})

        def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
            return Drop(Reason.SANITY)

    class Lenient(Refusing):
        judges_trunks = False

    trunk = Flow(flow("udp").listener, Source("198.51.100.7", 5060))
    for stage, verdict in ((Refusing(), Drop), (Lenient(), type(PASS))):
        bench = Bench(trunks=[Trunk("carrier", ("198.51.100.7",))], extra=(stage,))
        assert type(bench.pipeline.packet(trunk, 500, 1.0)) is verdict
        assert type(bench.pipeline.packet(flow("udp"), 500, 1.0)) is Drop


@pytest.mark.parametrize("settings", [ScreenSettings(mode="shadow"), ScreenSettings(shadow=("pike", "method"))])
def test_shadow_records_what_it_would_have_done_and_passes(flow, request_of, settings: ScreenSettings) -> None:
    bench = Bench(settings)
    assert all(bench.pipeline.packet(flow(), 400, 10.0) is PASS for _ in range(100))
    assert request(bench.pipeline, flow(), request_of("MESSAGE"), 10.0) is PASS
    assert bench.reasons() == [Reason.PIKE, Reason.METHOD]
    assert all(decision.shadow for decision in bench.decisions)
    assert bench.decisions[1].call_id == "call-1"
    assert len(bench.pipeline.penalties) == 0
    assert bench.pipeline.counts == {}
    assert bench.pipeline.shadow_counts == {("pike", "pike"): 70, ("method", "method"): 1}


def test_a_shadowed_stage_leaves_the_others_in_force(flow, request_of) -> None:
    bench = Bench(ScreenSettings(shadow=("scanner",), scanner=SCANNER))
    verdict = request(bench.pipeline, flow(), request_of("MESSAGE", "User-Agent: friendly-scanner"), 1.0)
    assert isinstance(verdict, Reject)
    assert [(d.reason, d.shadow) for d in bench.decisions] == [(Reason.SCANNER, True), (Reason.METHOD, False)]


def test_a_broken_stage_drops_the_message_and_each_kind_of_error_is_reported_once(flow, request_of) -> None:
    bench = Bench(extra=(Broken(),))
    for _ in range(3):
        verdict = request(bench.pipeline, flow(), request_of("INVITE"), 1.0)
        assert isinstance(verdict, Reject)
        assert (verdict.status, verdict.reason) == (500, Reason.INTERNAL)
        assert isinstance(request(bench.pipeline, flow(), request_of("BYE"), 1.0), Reject)
        assert isinstance(bench.pipeline.packet(flow(), 400, 1.0), Reject)
    assert [(stage, type(error)) for stage, error in bench.failures] == [
        ("broken", ZeroDivisionError),
        ("broken", KeyError),
    ]
    assert bench.pipeline.counts == {("broken", "internal"): 9}


def test_a_broken_stage_in_shadow_mode_refuses_nothing(flow) -> None:
    bench = Bench(ScreenSettings(mode="shadow"), extra=(Broken(),))
    assert bench.pipeline.packet(flow(), 400, 1.0) is PASS
    assert len(bench.failures) == 1


def test_an_ack_is_dropped_where_others_are_rejected(flow, request_of) -> None:
    bench = Bench(ScreenSettings(method=MethodSettings(public=("INVITE",))))
    assert isinstance(request(bench.pipeline, flow(), request_of("BYE"), 1.0), Reject)
    verdict = request(bench.pipeline, flow(), request_of("ACK"), 1.0)
    assert isinstance(verdict, Drop)
    assert verdict.reason is Reason.METHOD


def test_changing_sources_use_bounded_memory_and_record_few_decisions(flow) -> None:
    settings = attrs.evolve(ScreenSettings(), pike=PikeSettings(tracker_entries=64))
    bench = Bench(settings)
    for n in range(20_000):
        bench.pipeline.packet(flow(host=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"), 400, 10.0 + n * 1e-4)
    assert len(bench.pipeline.penalties) <= 32
    [stage] = [s for s in bench.pipeline._by_phase[Phase.PACKET] if s.name == "pike"]
    assert len(stage._unproven) == 64


def test_a_new_source_in_a_full_table_is_refused_but_not_banned_for_others(flow) -> None:
    bench = Bench(ScreenSettings(pike=PikeSettings(reqs_density_per_unit=2, tracker_entries=16), max_ban_share=1.0))
    for n in range(16):
        for _ in range(2):
            bench.pipeline.packet(flow(host=f"192.0.2.{n}"), 400, 10.0)
    assert isinstance(bench.pipeline.packet(flow(host="198.51.100.1"), 400, 10.5), Drop)
    assert bench.reasons() == [Reason.PIKE]
    assert len(bench.pipeline.penalties) == 0


def test_a_new_policy_keeps_counts_proofs_and_as_many_bans_as_it_allows(flow) -> None:
    old = Bench()
    for host in ("192.0.2.1", "192.0.2.2"):
        for _ in range(31):
            old.pipeline.packet(flow(host=host), 400, 10.0)
    for _ in range(31):
        old.pipeline.packet(flow("tls"), 400, 10.0)
    old.pipeline.standings.prove(flow(host="192.0.2.9"), Standing.REGISTERED, 10.0)
    new = Bench(ScreenSettings(pike=PikeSettings(tracker_entries=16), max_ban_share=0.125))
    new.pipeline.take_over(old.pipeline)
    assert new.pipeline.counts[("pike", "ban")] == 3
    assert isinstance(new.pipeline.packet(flow("tls"), 400, 11.0), Drop)
    assert isinstance(new.pipeline.packet(flow(host="192.0.2.1"), 400, 11.0), Drop)
    assert new.pipeline.packet(flow(host="192.0.2.2"), 400, 11.0) is PASS
    assert new.pipeline.standings.of(flow(host="192.0.2.9"), 11.0) is Standing.REGISTERED
    assert new.pipeline.standings.known_at("192.0.2.9")
    assert len(new.pipeline.penalties.take_datagram_bans()) == 2


def test_malformed_messages_add_points_up_to_a_ban(flow) -> None:
    bench = Bench()
    stream = flow("tls")
    for _ in range(10):
        bench.pipeline.malformed(stream, 10.0)
    assert bench.pipeline.packet(stream, 400, 10.0) is PASS
    bench.pipeline.malformed(stream, 10.0)
    assert isinstance(bench.pipeline.packet(stream, 400, 10.0), Drop)
    assert bench.reasons() == [Reason.BAN]
    assert bench.decisions[0].detail == "flow 192.0.2.1:5060, for conduct"
    assert bench.pipeline.is_banned(stream, 11.0)


def test_messages_that_may_be_forged_are_scored_for_unproven_sources_only(flow) -> None:
    bench = Bench(trunks=[Trunk("carrier", ("198.51.100.7",))])
    trunk, proven, unproven = flow(host="198.51.100.7"), flow(port=7), flow(port=8)
    bench.pipeline.standings.prove(proven, Standing.REACHABLE, 10.0)
    for _ in range(100):
        for sender in (trunk, proven, unproven):
            bench.pipeline.malformed(sender, 10.0)
    assert bench.pipeline.packet(trunk, 400, 10.0) is PASS
    assert bench.pipeline.packet(proven, 400, 10.0) is PASS
    assert isinstance(bench.pipeline.packet(unproven, 400, 10.0), Drop)
    assert bench.pipeline.standings.of(proven, 10.0) is Standing.REACHABLE


def test_a_registered_connection_that_behaves_badly_is_no_longer_registered(flow) -> None:
    bench = Bench()
    stream = flow("tls")
    bench.pipeline.standings.prove(stream, Standing.REGISTERED, 10.0)
    for _ in range(11):
        bench.pipeline.malformed(stream, 10.0)
    assert bench.pipeline.standings.of(stream, 10.0) is Standing.REACHABLE
    assert bench.pipeline.packet(stream, 400, 10.0) is PASS
    assert bench.reasons() == [Reason.CONDUCT]


def test_in_shadow_mode_bad_behaviour_is_only_recorded(flow) -> None:
    bench = Bench(ScreenSettings(mode="shadow"))
    for _ in range(50):
        bench.pipeline.malformed(flow("tls"), 10.0)
    assert len(bench.pipeline.penalties) == 0
    assert bench.pipeline.shadow_counts["conduct", "conduct"] == 4
    assert all(decision.shadow for decision in bench.decisions)


WORK = WorkSettings(per_second=1.0, burst=10)


def test_too_much_work_without_messages_bans_the_connection_and_then_its_address(flow) -> None:
    bench = Bench(ScreenSettings(work=WORK))
    assert bench.pipeline.work(flow("tls"), 10, "pings", 10.0)
    for serial in (1, 2, 3):
        assert not bench.pipeline.work(flow("tls", port=serial, serial=serial), 11, "pings", 10.0)
    assert bench.reasons() == [Reason.WORK, Reason.BAN] * 3
    assert (bench.decisions[0].limit, bench.decisions[0].stage, bench.decisions[0].detail) == (10, "work", "pings")
    assert [decision.detail for decision in bench.decisions[1::2]] == [
        "flow 192.0.2.1:1, for work", "flow 192.0.2.1:2, for work", "address 192.0.2.1, for work",
    ]  # fmt: skip
    assert bench.pipeline.counts == {("work", "work"): 3, ("work", "ban"): 3}
    assert bench.pipeline.is_banned(flow("tls", port=9, serial=9), 10.0)


def test_work_of_trunks_and_of_the_private_side_is_not_metered(flow) -> None:
    bench = Bench(ScreenSettings(work=WORK), trunks=[Trunk("carrier", ("192.0.2.7",))])
    assert bench.pipeline.work(flow("tls", host="192.0.2.7"), 10_000, "pings", 10.0)
    assert bench.pipeline.work(flow("core"), 10_000, "pings", 10.0)
    assert bench.decisions == []


def test_a_registered_connection_that_makes_too_much_work_is_no_longer_registered(flow) -> None:
    bench = Bench(ScreenSettings(work=WORK))
    stream = flow("tls")
    bench.pipeline.standings.prove(stream, Standing.REGISTERED, 10.0)
    assert bench.pipeline.work(stream, 11, "fragments", 10.0)
    assert bench.pipeline.standings.of(stream, 10.0) is Standing.REACHABLE
    assert bench.reasons() == [Reason.WORK]
    assert not bench.pipeline.work(stream, 11, "fragments", 10.0)
    assert bench.reasons() == [Reason.WORK, Reason.WORK, Reason.BAN]


def test_an_exempt_connection_that_makes_too_much_work_is_closed_and_not_banned(flow) -> None:
    bench = Bench(ScreenSettings(work=WORK, exempt=("192.0.2.0/24",)))
    assert not bench.pipeline.work(flow("tls"), 11, "pings", 10.0)
    assert bench.reasons() == [Reason.WORK]
    assert not bench.pipeline.is_banned(flow("tls"), 10.0)


def test_in_shadow_mode_work_is_only_recorded(flow) -> None:
    bench = Bench(ScreenSettings(mode="shadow", work=WORK))
    assert bench.pipeline.work(flow("tls"), 11, "pings", 10.0)
    assert bench.pipeline.shadow_counts == {("work", "work"): 1}
    assert bench.decisions[0].shadow
    assert len(bench.pipeline.penalties) == 0


def test_the_operators_ban_holds_for_all_but_trunks(flow) -> None:
    bench = Bench(trunks=[Trunk("carrier", ("192.0.2.7",))])
    bench.pipeline.standings.prove(flow(port=9), Standing.REGISTERED, 10.0)
    bench.pipeline.operator_bans.put(OperatorBan("192.0.2.0/24", False, 10.0, None, "operator", "abuse"))
    for sender in (flow(), flow(port=9), flow("tls")):
        assert isinstance(bench.pipeline.packet(sender, 400, 10.0), Drop)
        assert bench.pipeline.is_banned(sender, 10.0)
    assert isinstance(bench.pipeline.accept(flow("tls").listener, Source("192.0.2.9", 1), 10.0), Drop)
    assert bench.pipeline.packet(flow(host="192.0.2.7"), 400, 10.0) is PASS
    assert not bench.pipeline.is_banned(flow(host="192.0.2.7"), 10.0)
    assert bench.pipeline.packet(flow(host="198.51.100.1"), 400, 10.0) is PASS
    assert [order.hits for order in bench.pipeline.operator_bans] == [4]


def test_an_exempt_source_is_held_to_the_threshold_and_not_banned(flow) -> None:
    bench = Bench(ScreenSettings(exempt=("192.0.2.0/24",)))
    verdicts = [bench.pipeline.packet(flow(), 400, 10.0) for _ in range(5_000)]
    assert verdicts.count(PASS) == 30
    assert len(bench.pipeline.penalties) == 0
    for _ in range(50):
        bench.pipeline.malformed(flow(), 10.0)
    assert bench.pipeline.packet(flow(), 400, 12.0) is PASS


@pytest.mark.parametrize("listener", ["udp", "tls"])
def test_an_exemption_overrides_an_earlier_ban(flow, listener: str) -> None:
    bench = Bench()
    pipeline, peer = bench.pipeline, flow(listener)
    while pipeline.packet(peer, 500, 100.0) is PASS:
        pass
    pipeline.operator_bans.put(OperatorBan("192.0.2.1", True, 100.0, None, "anna", ""))
    assert not pipeline.is_banned(peer, 103.0)
    assert pipeline.packet(peer, 500, 103.0) is PASS
    if peer.serial:
        assert pipeline.accept(peer.listener, peer.peer, 103.0) is PASS


@pytest.mark.parametrize("listener", ["udp", "tls"])
def test_earlier_bans_have_no_effect_in_shadow_mode(flow, listener: str) -> None:
    bench, peer = Bench(), flow(listener)
    while bench.pipeline.packet(peer, 500, 100.0) is PASS:
        pass
    looking_on = Bench(ScreenSettings(mode="shadow")).pipeline
    looking_on.take_over(bench.pipeline)
    assert not looking_on.is_banned(peer, 103.0)
    assert looking_on.packet(peer, 500, 103.0) is PASS
    assert looking_on.shadow_counts["penalties", "banned"] == 1


def test_a_new_policy_keeps_operator_bans_and_not_the_exemptions_of_the_old_policy(flow) -> None:
    old = Bench(ScreenSettings(exempt=("192.0.2.0/24",)))
    old.pipeline.operator_bans.put(OperatorBan("198.51.100.0/24", False, 10.0, None, "operator", ""))
    new = Bench(ScreenSettings(exempt=("203.0.113.0/24",)))
    new.pipeline.take_over(old.pipeline)
    assert sorted(order.prefix for order in new.pipeline.operator_bans) == ["198.51.100.0/24", "203.0.113.0/24"]
