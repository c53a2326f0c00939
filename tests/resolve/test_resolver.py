"""When names are looked up and how answers are used, with a mock clock and answers that the tests give."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing
from support.signalling import EdgeHarness

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.dispatch.settings import MemberSettings, SetSettings
from edgesbc.resolve.name_servers import NameServers
from edgesbc.resolve.resolver import Resolver
from edgesbc.resolve.rfc3263 import DnsAnswer, DnsQuestion, SrvRecord
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri
from edgesbc.tasks.containment import Containment


class Answers(NameServers):
    """Name servers that give the test's answers by host and record the time of each query."""

    def __init__(self, give: Callable[[str], DnsAnswer]) -> None:
        super().__init__([])
        self.give = give
        self.asked: list[tuple[float, str]] = []
        self.seconds = 0.0
        self.at_once = self._now = 0

    async def ask(self, question: DnsQuestion, seconds: float) -> DnsAnswer:
        self.asked.append((trio.current_time(), question.name))
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await trio.sleep(min(self.seconds, seconds))
        self._now -= 1
        return self.give(question.name) if self.seconds <= seconds else DnsAnswer(failed=True)

    def times(self, name: str) -> list[float]:
        return [when for when, host in self.asked if host == name]

    def pauses(self, name: str) -> list[float]:
        return [round(later - sooner, 3) for sooner, later in itertools.pairwise(self.times(name))]


class Bench:
    """An edge with destinations at these names, which include ports, and its resolver."""

    def __init__(self, answers: Answers, *names: str) -> None:
        self.harness = EdgeHarness()
        self.answers = answers
        self.reported: list[tuple[str, list[str]]] = []
        self.decisions: list[Decision] = []
        self.faults: list[str] = []
        self.want(*names)
        self.resolver = Resolver(
            self.harness.edge,
            answers,
            self.tell,
            self.decisions.append,
            Containment(lambda kind, error: self.faults.append(kind)),
        )

    def want(self, *names: str) -> None:
        """Names with a port take one query; names with a transport take another one for SRV."""
        members = tuple(MemberSettings(f"sip:{name}" if ";" in name else f"sip:{name}:5060") for name in names)
        self.harness.dispatcher.reload([SetSettings("pbx", members=members)], trio.current_time())

    def tell(self, place: ServerUri, targets: Sequence[ResolvedAddress]) -> None:
        self.reported.append((place.host, [target.source.host for target in targets]))
        self.harness.edge.resolved(place, targets, trio.current_time())

    @property
    def details(self) -> list[str]:
        assert {decision.reason for decision in self.decisions} <= {Reason.NAME}
        return [decision.detail for decision in self.decisions]

    async def run(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.resolver.run()


def addresses(*hosts: str, ttl: float = 300.0) -> DnsAnswer:
    return DnsAnswer(hosts, ttl)


FAILED = DnsAnswer(failed=True)


async def test_a_name_is_looked_up_again_when_its_ttl_ends(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: addresses("10.0.0.11", ttl=30)), "a.example.com")
    await bench.run(100)
    assert bench.answers.pauses("a.example.com") == [30, 30, 30]
    assert bench.reported == [("a.example.com", ["10.0.0.11"])], "an unchanged answer is not reported again"
    assert [member.target.host for member in bench.harness.dispatcher.members()] == ["10.0.0.11"]
    assert bench.details == ["a.example.com:5060: now 10.0.0.11:5060 over udp"]


@pytest.mark.parametrize(
    ("ttl", "pause"), [(0.0, limits.DNS_SECONDS_LEAST), (604_800.0, limits.DNS_SECONDS_MOST)], ids=["least", "most"]
)
async def test_times_that_are_too_short_or_too_long(autojump_clock, ttl: float, pause: float) -> None:
    bench = Bench(Answers(lambda name: addresses("10.0.0.11", ttl=ttl)), "a.example.com")
    await bench.run(pause * 2.5)
    assert bench.answers.pauses("a.example.com") == [pause, pause]


async def test_changed_addresses_are_reported(autojump_clock) -> None:
    answers = iter([addresses("10.0.0.11"), addresses("10.0.0.12", "10.0.0.11"), addresses("10.0.0.12")])
    bench = Bench(Answers(lambda name: next(answers)), "a.example.com")
    await bench.run(700)
    assert [hosts for _, hosts in bench.reported] == [["10.0.0.11"], ["10.0.0.11", "10.0.0.12"], ["10.0.0.12"]]
    assert bench.details[2] == (
        "a.example.com:5060: now 10.0.0.12:5060 over udp, before 10.0.0.11:5060 over udp, 10.0.0.12:5060 over udp"
    )


@pytest.mark.parametrize("nothing", [FAILED, DnsAnswer((), 60.0)], ids=["no answer", "no address"])
async def test_known_addresses_stay_while_look_ups_fail(autojump_clock, nothing: DnsAnswer) -> None:
    answers = itertools.chain([addresses("10.0.0.11")], [nothing] * 3, itertools.repeat(addresses("10.0.0.11")))
    bench = Bench(Answers(lambda name: next(answers)), "a.example.com")
    await bench.run(400)
    assert [member.target.host for member in bench.harness.dispatcher.members()] == ["10.0.0.11"]
    assert bench.reported == [("a.example.com", ["10.0.0.11"])]
    assert bench.answers.pauses("a.example.com") == [300, 5, 10, 20]
    assert len(bench.details) == 3, "the ledger has the first failure and the recovery"
    assert bench.details[1].endswith("; what was known goes on")
    assert bench.details[2] == "a.example.com:5060: answered again"


async def test_the_last_answer_to_a_failed_question_is_used_beside_new_ones(autojump_clock) -> None:
    """RFC 8767: a host whose zone does not respond keeps its addresses, and the others change."""
    queries: Counter[str] = Counter()

    def give(name: str) -> DnsAnswer:
        queries[name] += 1
        if name.startswith("_sip"):
            return DnsAnswer((SrvRecord(0, 1, 5060, "one.example.com"), SrvRecord(1, 1, 5060, "two.example.com")), 30)
        if name.startswith("one"):
            return addresses("10.0.0.11" if queries[name] == 1 else "10.0.0.12", ttl=30)
        return addresses("10.0.0.99", ttl=30) if queries[name] == 1 else FAILED

    bench = Bench(Answers(give), "a.example.com;transport=udp")
    await bench.run(32)
    assert [hosts for _, hosts in bench.reported] == [["10.0.0.11", "10.0.0.99"], ["10.0.0.12", "10.0.0.99"]]
    assert bench.details[1].endswith("no answer: A of two.example.com; what was known goes on")


async def test_pauses_grow_while_there_is_no_response(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: FAILED), "a.example.com")
    await bench.run(1500)
    most = limits.DNS_PAUSE_MOST
    assert bench.answers.pauses("a.example.com") == [5, 10, 20, 40, 80, 160, most, most, most]
    assert bench.details == ["a.example.com:5060: no answer: A of a.example.com"]


async def test_an_address_that_is_not_used_is_recorded(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: addresses("0.0.0.0")), "a.example.com")
    await bench.run(3)
    assert bench.reported == []
    (detail,) = bench.details
    assert detail.startswith("a.example.com:5060: no address; not used: A of a.example.com: 0.0.0.0")


async def test_a_new_name_is_looked_up_at_once(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: addresses("10.0.0.11")), "a.example.com")
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.resolver.run)
        await trio.sleep(10)
        then = trio.current_time()
        bench.want("a.example.com", "b.example.com")
        bench.resolver.reload()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.current_time() == then
        assert [name for name, _ in bench.reported] == ["a.example.com", "a.example.com", "b.example.com"]
        nursery.cancel_scope.cancel()


async def test_a_new_name_is_looked_up_without_a_reload_call(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: addresses("10.0.0.11")), "a.example.com")
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.resolver.run)
        bench.want("b.example.com")
        await trio.sleep(limits.DNS_SECONDS_LEAST + 1)
        assert bench.reported[-1][0] == "b.example.com"
        nursery.cancel_scope.cancel()


async def test_a_removed_name_is_not_looked_up_again(autojump_clock) -> None:
    answers = Answers(lambda name: addresses("10.0.0.11", ttl=30))
    answers.seconds = 1.0
    bench = Bench(answers, "a.example.com")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.resolver.run)
        await trio.sleep(0.5)
        bench.want()
        bench.resolver.reload()
        await trio.sleep(200)
        nursery.cancel_scope.cancel()
    assert len(answers.times("a.example.com")) == 1
    assert bench.reported == bench.details == [], "an answer to an earlier query is not reported either"


async def test_look_ups_at_once_are_bounded(autojump_clock) -> None:
    answers = Answers(lambda name: addresses("10.0.0.11"))
    answers.seconds = 1.0
    bench = Bench(answers, *(f"n{n}.example.com" for n in range(20)))
    await bench.run(20 / limits.DNS_LOOKUPS + 0.5)
    assert answers.at_once == limits.DNS_LOOKUPS
    assert len(bench.reported) == 20


async def test_one_silent_name_does_not_hold_up_the_others(autojump_clock) -> None:
    class Silent(Answers):
        async def ask(self, question: DnsQuestion, seconds: float) -> DnsAnswer:
            if question.name.startswith("a-silent"):
                await trio.sleep(seconds)
                return FAILED
            return await super().ask(question, seconds)

    bench = Bench(
        Silent(lambda name: addresses("10.0.0.11", ttl=5)), "a-silent.example.com", "b.example.com", "c.example.com"
    )
    await bench.run(limits.DNS_QUESTION_SECONDS - 1)
    assert {name for name, _ in bench.reported} == {"b.example.com", "c.example.com"}


async def test_the_time_for_a_name_is_bounded(autojump_clock) -> None:
    """Many records, to whose targets no query is answered."""
    answers = Answers(lambda name: addresses("10.0.0.11"))
    answers.seconds = limits.DNS_QUESTION_SECONDS + 1
    bench = Bench(answers)
    began = trio.current_time()
    for _ in range(5):
        await bench.resolver._ask(DnsQuestion("a.example.com", "A"), began + limits.DNS_LOOKUP_SECONDS)
    assert trio.current_time() - began == pytest.approx(limits.DNS_LOOKUP_SECONDS)


async def test_a_starting_edge_waits_for_its_names_for_a_bounded_time(autojump_clock) -> None:
    for seconds, waited in ((0.25, 0.25), (3.0, limits.DNS_START_SECONDS)):
        answers = Answers(lambda name: addresses("10.0.0.11"))
        answers.seconds = seconds
        bench = Bench(answers, "a.example.com", "b.example.com")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            await nursery.start(bench.resolver.run)
            assert trio.current_time() - began == pytest.approx(waited)
            nursery.cancel_scope.cancel()


async def test_without_names_the_resolver_starts_at_once(autojump_clock) -> None:
    bench = Bench(Answers(lambda name: FAILED))
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.resolver.run)
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_an_internal_error_fails_only_one_look_up(autojump_clock) -> None:
    def give(name: str) -> DnsAnswer:
        if name == "a.example.com":
            raise RuntimeError("a record like no other")
        return addresses("10.0.0.11")

    bench = Bench(Answers(give), "a.example.com", "b.example.com")
    await bench.run(8)
    assert bench.reported == [("b.example.com", ["10.0.0.11"])]
    assert bench.faults == ["names", "names"]
    assert "internal error: RuntimeError" in bench.details[0] + bench.details[1]
