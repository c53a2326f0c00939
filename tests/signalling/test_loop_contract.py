"""The contract of the loop in the docstring of :mod:`edgesbc.signalling.edge`, in its order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
from attrs import evolve
from support.signalling import (
    ANSWER,
    CALLER,
    CORE,
    CORE_TCP,
    CORE_TCP6,
    MEMBERS,
    OFFER,
    PUBLIC,
    EdgeHarness,
    invite,
    respond,
)

from edgesbc.base.address import Flow, Source, Transport
from edgesbc.base.errors import WireError
from edgesbc.dispatch.settings import MemberSettings
from edgesbc.media.commands import MediaError, MediaReply, MediaTimeout
from edgesbc.signalling.effects import Effect, Media, Open, Send
from edgesbc.sip.delivery import SendFailure
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message
from edgesbc.sip.server_uri import ResolvedAddress

STEPS = 120
Input = Callable[[], list[Effect]]


class Driver:
    """Gives one edge inputs that a seed draws, and stores the effects that it returns."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.harness = EdgeHarness(anchor=True, open=("public",))
        self._add_streams()
        self.edge = self.harness.edge
        self.now = self.harness.now
        self.returned: list[list[Effect]] = []
        self.sent: list[tuple[Flow, bytes]] = []
        self.cookies: list[int] = []
        self.flows: list[Flow] = []
        self.count = 0

    def _add_streams(self) -> None:
        """Before the members over UDP, have one with two addresses over TCP, to which the edge connects."""
        dispatcher, now = self.harness.dispatcher, self.harness.now
        settings, named = dispatcher.settings("pbx"), MemberSettings("sip:pbx.example.com;transport=tcp")
        over_udp = tuple(evolve(member, priority=member.priority + 1) for member in settings.members)
        dispatcher.reload([evolve(settings, members=(named, *over_udp))], now)
        addresses = [Source("2001:db8::11", 5060), Source("10.0.0.13", 5060)]
        dispatcher.resolved(named.server_uri, [ResolvedAddress(address, Transport.TCP) for address in addresses], now)

    def inputs(self) -> Iterator[Input]:
        """Messages of callers and destinations, some of them damaged, media replies, events and lost connections."""
        random, edge = self.random, self.edge
        for _ in range(STEPS):
            self.now += random.choice((0.0, 0.01, 0.3, 5.0, 40.0))
            kind = random.randrange(11)
            if kind < 3:
                yield lambda: edge.receive(CALLER, self._damaged(self._request()), self.now)
            elif kind < 6 and self.sent:
                flow, data = random.choice(self.sent)
                yield lambda flow=flow, data=data: edge.receive(flow, self._damaged(self._answer(data)), self.now)
            elif kind == 6 and self.cookies:
                reply = random.choice((MediaReply(ANSWER), MediaError(488, "no")))
                cookie = random.choice(self.cookies)
                yield lambda cookie=cookie, reply=reply: edge.media_replied(cookie, reply, self.now)
            elif kind == 7:
                yield lambda: edge.media_event(MediaTimeout(f"{edge.parts.flows.epoch}-1", ("alice",)), self.now)
            elif kind == 8 and self.flows:
                flow = self.flows.pop()
                failure = random.choice((None, *SendFailure))
                yield lambda flow=flow, failure=failure: edge.flow_closed(flow, self.now, failure)
            elif kind == 10 and self.flows:
                flow = random.choice(self.flows)  # it may be open already
                yield lambda flow=flow: edge.flow_connected(flow, self.now)
            elif kind == 9 and self.sent:
                _, data = random.choice(self.sent)
                failure = random.choice(list(SendFailure))
                yield lambda data=data, failure=failure: edge.request_not_sent(data, failure, self.now)
            else:
                quote = random.choice(self.sent)[1][: random.randrange(600)] if self.sent else b""
                yield lambda quote=quote: edge.unreachable(MEMBERS[0], quote, self.now)

    def _request(self) -> bytes:
        self.count += 1
        branch, tag = f"z9hG4bK{self.count}", f"tag{self.count}"
        method = self.random.choice(("INVITE", "INVITE", "OPTIONS", "REGISTER", "CANCEL", "ACK", "BYE"))
        return invite(method, branch=branch, from_tag=tag, body=self.random.choice((b"", OFFER)))

    def _answer(self, data: bytes) -> bytes:
        message = parse_message(data)
        if not isinstance(message, Request):
            return data
        return respond(message, self.random.choice((100, 180, 200, 486, 503)), body=self.random.choice((b"", ANSWER)))

    def _damaged(self, data: bytes) -> bytes:
        if self.random.random() < 0.8:
            return data
        place = self.random.randrange(len(data))
        return data[:place] + self.random.randbytes(2) + data[place + self.random.randrange(3) :]

    def give(self, event: Input) -> list[Effect]:
        effects = event()
        self.returned.append(effects)
        for effect in effects:
            if isinstance(effect, Send) and effect.flow.listener in (CORE, CORE_TCP, CORE_TCP6):
                self.sent.append((effect.flow, effect.data))
            elif isinstance(effect, Media):
                self.cookies.append(effect.cookie)
            elif isinstance(effect, Open):
                self.flows.append(effect.flow)
        return effects

    def expire(self) -> None:
        """Let time pass up to ``now``, deadline by deadline."""
        while (deadline := self.edge.deadline()) is not None and deadline <= self.now:
            self.give(lambda deadline=deadline: self.edge.expire(deadline))


@pytest.mark.parametrize("seed", range(20))
def test_each_input_returns_all_of_its_effects(seed: int) -> None:
    driver = Driver(seed)
    for event in driver.inputs():
        driver.expire()
        driver.give(event)
        assert driver.edge.take_effects() == []
    assert any(driver.returned)


@pytest.mark.parametrize("seed", range(20))
def test_before_the_deadline_expire_does_nothing_and_after_it_the_deadline_is_later(seed: int) -> None:
    driver = Driver(seed)
    checked = 0
    for event in driver.inputs():
        driver.expire()
        driver.give(event)
        deadline = driver.edge.deadline()
        if deadline is not None and deadline > driver.now + 0.001:  # there is a number between them
            assert driver.edge.expire((driver.now + deadline) / 2) == []
            assert driver.edge.deadline() == deadline
            checked += 1
        driver.give(lambda: driver.edge.expire(driver.now))
        deadline = driver.edge.deadline()
        assert deadline is None or deadline > driver.now
    assert checked > STEPS / 15


@pytest.mark.parametrize("seed", range(5))
def test_the_same_arguments_entropy_and_input_have_the_same_effects(seed: int) -> None:
    runs: list[list[object]] = []
    for _ in range(2):
        driver = Driver(seed)
        for event in driver.inputs():
            driver.expire()
            driver.give(event)
        runs.append([_written(effect) for effects in driver.returned for effect in effects])
    assert runs[0] == runs[1]


def _written(effect: Effect) -> object:
    return (str(effect.flow), effect.data) if isinstance(effect, Send) else type(effect).__name__


def test_no_bytes_raise() -> None:
    random, harness = Random(7), EdgeHarness(open=("public",))
    whole = invite(body=OFFER)
    for _ in range(2_000):
        place = random.randrange(len(whole))
        data = whole[:place] + random.randbytes(random.randrange(4)) + whole[place + random.randrange(40) :]
        harness.edge.receive(Flow(PUBLIC, Source("198.51.100.9", random.randrange(1, 4))), data, harness.now)
        harness.edge.stream_broken(CALLER, data, WireError("a stream that broke"), harness.now)
        harness.now += 0.1
        harness.edge.expire(harness.now)


def test_an_exception_is_cleaned_up_after() -> None:
    harness = EdgeHarness(open=("public",))
    entropy = harness.edge.parts.identifiers.entropy

    def fails(size: int) -> bytes:
        raise RuntimeError

    harness.edge.parts.identifiers.entropy = fails
    with pytest.raises(RuntimeError):
        harness.edge.receive(CALLER, invite(), harness.now)
    harness.edge.parts.identifiers.entropy = entropy
    harness.edge.take_effects()
    sent = [effect for effect in harness.edge.recover(CALLER, invite(), harness.now) if isinstance(effect, Send)]
    assert sent[-1].data.startswith(b"SIP/2.0 500 ")
    assert (harness.edge.calls, harness.dispatcher.leases) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_an_idle_edge_has_no_deadline_and_no_lease(seed: int) -> None:
    driver = Driver(seed)
    for event in driver.inputs():
        driver.expire()
        driver.give(event)
    driver.give(lambda: driver.edge.end_calls(driver.now))
    while (deadline := driver.edge.deadline()) is not None:
        driver.now = max(driver.now, deadline)
        driver.give(lambda: driver.edge.expire(driver.now))
    assert driver.edge.idle
    assert driver.harness.dispatcher.leases == 0
