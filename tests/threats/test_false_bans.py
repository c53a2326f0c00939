"""THREATS 21 and 61: sources that must never be banned: an office whose phones all register again, a trunk whose
address is forged, a user who mistypes a password, a carrier's burst.

The signalling core is complete, and its clock is the test's, so that minutes take no time.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from support.signalling import CALLER, CARRIERS, MEMBERS, PUBLIC, EdgeHarness, respond

from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.signalling.effects import Close, Penalise
from edgesbc.sip.message import Request, Response

OFFICE = "203.0.113.50"
CREDENTIALS = 'Authorization: Digest username="u", realm="pbx", nonce="n", uri="sip:192.0.2.1", response="r"\r\n'
CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="n"'


class Phone:
    """A user agent that registers by RFC 3261: it answers a challenge with credentials, and has Timers E and F."""

    def __init__(self, number: int, flow: Flow) -> None:
        self.number = number
        self.flow = flow
        self.cseq = 0
        self.registered = False
        self.begun = 0.0
        self.interval = 0.5
        self.extra = ""

    def request(self) -> bytes:
        transport = self.flow.listener.transport.upper()
        return (
            f"REGISTER sip:192.0.2.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/{transport} 192.168.1.5:5060;branch=z9hG4bKr{self.number}x{self.cseq};rport\r\n"
            f"From: <sip:u{self.number}@pbx>;tag=f\r\nTo: <sip:u{self.number}@pbx>\r\nCall-ID: phone{self.number}\r\n"
            f"CSeq: {self.cseq} REGISTER\r\nContact: <sip:u{self.number}@192.168.1.5>;expires=600\r\n"
            f"Max-Forwards: 70\r\n{self.extra}Content-Length: 0\r\n\r\n"
        ).encode()


class Office:
    """A simulation of phones, an edge and a registrar."""

    def __init__(self, harness: EdgeHarness, phones: list[Phone]) -> None:
        self.harness = harness
        self.phones = phones
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self.packets = 0
        self.refused = 0
        """Connections that were not accepted."""

    def _at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), action))

    def _begin(self, phone: Phone, extra: str = "") -> None:
        phone.cseq += 1
        phone.begun, phone.interval, phone.extra = self.harness.now, 0.5, extra
        self._send(phone, phone.cseq)

    def _send(self, phone: Phone, cseq: int) -> None:
        if phone.registered or phone.cseq != cseq:
            return
        now = self.harness.now
        if now - phone.begun >= 32.0:  # Timer F; the phone tries again after half a minute
            self._at(now + 30.0, lambda: None if phone.registered else self._begin(phone))
            return
        self.packets += 1
        if not phone.flow.serial:
            self._at(now + phone.interval, lambda: self._send(phone, cseq))
            phone.interval = min(2 * phone.interval, 4.0)
        self._carry(self.harness.receive(phone.flow, phone.request()))

    def _carry(self, sent: list[tuple[Flow, Request | Response]]) -> None:
        for _, message in sent:
            if isinstance(message, Request):
                good = message.get("Authorization") is not None
                contact = f"Contact: {message.get('Contact')}"
                answer = respond(message, 200 if good else 401, extra=contact if good else CHALLENGE, contact=False)
                self._carry(self.harness.receive(Flow(PBX_LISTENER, MEMBERS[0]), answer))
            else:
                phone = self.phones[int(message.call_id.removeprefix("phone"))]
                if message.cseq == phone.cseq and message.status == 401 and not phone.extra:
                    self._begin(phone, CREDENTIALS.replace('"u"', f'"u{phone.number}"'))
                elif message.cseq == phone.cseq and message.status == 200:
                    phone.registered = True

    def _start(self, phone: Phone) -> None:
        """Register; over TCP once a connection is accepted, which a phone tries every few seconds."""
        harness, flow = self.harness, phone.flow
        if flow.listener is not CARRIERS:
            self._begin(phone)
        elif harness.edge.accept(CARRIERS, flow.peer, harness.now):
            phone.flow = harness.edge.new_flow(CARRIERS, flow.peer)
            harness.edge.flow_opened(phone.flow)
            self._begin(phone)
        else:
            self.refused += 1
            self._at(harness.now + 5.0, lambda: self._start(phone))

    def play(self, seconds: float) -> None:
        for phone in self.phones:
            self._at(self.harness.now + 0.002 * phone.number, lambda phone=phone: self._start(phone))  # type: ignore[misc]
        end = self.harness.now + seconds
        while self.harness.now < end:
            due = self._due[0][0] if self._due else end
            deadline = self.harness.edge.deadline()  # refusals of REGISTER are delayed, so that all take equally long
            until = min(due, end if deadline is None else deadline, end)
            self._carry(self.harness.wait(max(0.0, until - self.harness.now)))
            while self._due and self._due[0][0] <= self.harness.now:
                heapq.heappop(self._due)[2]()


PBX_LISTENER = EdgeHarness().edge.listeners[1]


def assert_no_ban(harness: EdgeHarness) -> None:
    assert len(harness.edge.pipeline.penalties) == 0
    assert "ban" not in harness.reasons
    assert not any(isinstance(effect, Close | Penalise) for effect in harness.other)


def test_61_an_office_of_200_phones_behind_one_address_that_register_anew_over_udp() -> None:
    harness = EdgeHarness()
    office = Office(harness, [Phone(n, Flow(PUBLIC, Source(OFFICE, 10_000 + n))) for n in range(200)])
    office.play(120.0)
    assert_no_ban(harness)
    assert sum(phone.registered for phone in office.phones) == 200
    assert office.packets > 1_000  # far more than a source may send in that time
    assert harness.edge.pipeline.counts["pike", "pike"] > 0
    standings = harness.edge.pipeline.standings
    assert {standings.of(phone.flow, harness.now) for phone in office.phones} == {Standing.REGISTERED}


def test_61_an_office_of_200_phones_behind_one_address_that_register_anew_over_tcp() -> None:
    harness = EdgeHarness()
    office = Office(harness, [Phone(n, Flow(CARRIERS, Source(OFFICE, 10_000 + n))) for n in range(200)])
    office.play(120.0)
    assert_no_ban(harness)
    assert all(phone.registered for phone in office.phones)
    assert office.packets == 400
    assert office.refused > 200, "more connections than an address may begin"


def test_a_trunk_whose_address_is_forged_from_other_ports() -> None:
    """50,000 forged packets a second for two seconds, and calls of the trunk in between."""
    harness = EdgeHarness()
    standings = harness.edge.pipeline.standings
    listed = Flow(PUBLIC, CALLER.peer)
    assert standings.of(listed, harness.now) is Standing.TRUNK
    harness = forged_trunk()
    trunk = Flow(PUBLIC, Source("203.0.113.77", 5060))
    forged = [Flow(PUBLIC, Source("203.0.113.77", port)) for port in range(10_000, 60_000)]
    for second in range(2):
        for number, flow in enumerate(forged):
            harness.now = 1000.0 + second + number / 50_000
            harness.edge.receive(flow, b"OPTIONS sip:192.0.2.1 SIP/2.0\r\n\r\n", harness.now)
            if number % 5_000 == 0:
                n = second * 10 + number // 5_000
                ((_, forwarded),) = harness.receive(trunk, call_of(n, "203.0.113.77"))
                assert isinstance(forwarded, Request)
                assert [m.status for _, m in harness.receive(PBX, respond(forwarded, 200, tag=f"b{n}"))] == [200]
    assert harness.edge.pipeline.standings.of(trunk, harness.now) is Standing.TRUNK
    assert harness.edge.calls == 20
    # The kernel may be asked to drop single ports, but not the trunk's port and not the whole address.
    dropped = [effect.source for effect in harness.other if isinstance(effect, Penalise)]
    assert all(source.host == "203.0.113.77" and source.port not in (0, 5060) for source in dropped)


PBX = Flow(PBX_LISTENER, MEMBERS[0])


def forged_trunk() -> EdgeHarness:
    return EdgeHarness(trunks={"carrier": ("203.0.113.77:5060",)})


def call_of(number: int, host: str) -> bytes:
    return (
        f"INVITE sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9hG4bKc{number};rport\r\n"
        f"From: <sip:a@carrier>;tag=t{number}\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: call{number}@{host}\r\n"
        f"CSeq: 1 INVITE\r\nContact: <sip:a@{host}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def test_61_a_carrier_that_sends_100_calls_in_one_burst() -> None:
    harness = forged_trunk()
    trunk = Flow(PUBLIC, Source("203.0.113.77", 5060))
    for number in range(100):
        ((to, forwarded),) = harness.receive(trunk, call_of(number, "203.0.113.77"))
        assert (to, forwarded.call_id) == (PBX, f"call{number}@203.0.113.77")
    assert_no_ban(harness)
    assert harness.edge.calls == 100


def test_61_three_mistyped_passwords_cause_no_ban() -> None:
    harness = EdgeHarness()
    flow = harness.edge.new_flow(CARRIERS, Source(OFFICE, 10_000))
    harness.edge.flow_opened(flow)
    phone = Phone(0, flow)
    for status in (401, 401, 401, 401, 200):  # the first without credentials
        phone.cseq += 1
        phone.extra = CREDENTIALS if phone.cseq > 1 else ""
        ((_, forwarded),) = harness.receive(flow, phone.request())
        contact = f"Contact: {forwarded.get('Contact')}"
        answer = respond(forwarded, status, extra=CHALLENGE if status == 401 else contact, contact=False)
        ((to, final),) = harness.receive(PBX, answer) or harness.wait(5.0)
        assert isinstance(final, Response)
        assert (to, final.status) == (flow, status)
    assert_no_ban(harness)
    assert harness.edge.pipeline.standings.of(flow, harness.now) is Standing.REGISTERED
