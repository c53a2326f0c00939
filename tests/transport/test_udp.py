"""UDP on real sockets: forged responses, ICMP, the trusted receive queue, the addresses of responses."""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from support.containment import collecting, unfailing
from support.running import at, free_port, policy_text, running, until
from support.ua import Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Flow, Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.screen.standing import Standing
from edgesbc.signalling.edge import Edge
from edgesbc.transport import kernel_filters
from edgesbc.transport.sockets import open_listeners
from edgesbc.transport.trusted_queues import TrustedQueues
from edgesbc.transport.udp import UdpListener


async def test_an_icmp_error_of_a_destination_causes_failover_at_once(tmp_path: Path) -> None:
    """The ICMP error causes failover; a time-out would have another entry in the ledger."""
    dead = f"sip:127.0.0.12:{free_port('127.0.0.12')}"
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [dead, f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE")
        invite = await bob.request("INVITE")
        await bob.answer(invite, 486, tag="b")
        await alice.response(486)
        assert any(f"{dead} could not be reached" in line for line in app.ledger.ask(calling.call_id).sentences())


async def test_an_icmp_error_of_one_destination_loses_no_datagram_to_another() -> None:
    """The kernel reports an error once, to the next send call, whose datagram would then be lost."""
    (opened,) = open_listeners(
        [ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source("127.0.0.1", 0), name="core")]
    )
    core = UdpListener(
        opened.listener, opened.sock, None, lambda *_: None, lambda *_: None, lambda *_: ([], None), unfailing()
    )
    dead = Source("127.0.0.12", free_port("127.0.0.12"))
    with opened.sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alive:
        alive.bind(("127.0.0.11", 0))
        for number in range(20):
            core.send(dead, b"lost")
            await until(lambda: pending(opened.sock))
            core.send(Source(*alive.getsockname()), b"%d" % number)
        alive.settimeout(5)
        assert [alive.recv(99) for _ in range(20)] == [b"%d" % number for number in range(20)]
    assert core.unsent == 0


class FailingSocket(socket.socket):
    """A UDP socket whose next calls of ``recvfrom`` fail with these errors."""

    errors: list[int]

    def recvfrom(self, *arguments: Any) -> Any:
        if self.errors:
            number = self.errors.pop()
            raise OSError(number, os.strerror(number))
        return super().recvfrom(*arguments)


@pytest.mark.parametrize(
    "number",
    [
        *(errno.ENOMEM, errno.ENOBUFS, errno.EINTR, errno.EIO, errno.EBADF),
        *(errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.ENETDOWN),
    ],
    ids=errno.errorcode.get,
)
async def test_receiving_goes_on_after_an_error(number: int) -> None:
    """Where the kernel has no memory, after a pause, and not in a busy loop."""
    (opened,) = open_listeners(
        [ListenSettings(zone=Zone.CORE, transport=Transport.UDP, bind=Source("127.0.0.1", 0), name="core")]
    )
    faults: list[str] = []
    received: list[bytes] = []
    sock = FailingSocket(fileno=opened.sock.detach())
    sock.errors = [number] * 3
    core = UdpListener(
        opened.listener, sock, None, lambda flow, data, now: received.append(data), lambda *_: None,
        lambda *_: ([], None), collecting(faults),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(core.run)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"one", sock.getsockname())
            await until(lambda: received == [b"one"])
            peer.sendto(b"two", sock.getsockname())
            await until(lambda: received == [b"one", b"two"])
        nursery.cancel_scope.cancel()
    assert len(faults) == (3 if number in (errno.ENOMEM, errno.ENOBUFS) else 0)


def pending(sock: socket.socket) -> bool:
    """Whether an error waits at a socket."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


async def test_responses_from_unexpected_addresses_are_ignored(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "core-udp"))) as mallory,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as outside,
    ):
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        invite = await bob.request("INVITE")
        for liar in (mallory, outside):
            await liar.answer(invite, 603, tag="m")
        await bob.answer(invite, 486, tag="b")
        await alice.response(486)
        assert [b" 603 " in message for message in alice.heard].count(True) == 0


@pytest.mark.parametrize("rport", [True, False])
async def test_answers_go_to_the_source_whatever_the_via_says(tmp_path: Path, rport: bool) -> None:
    """RFC 3581: with rport a response goes to the source port, without it to the port of the Via at the source
    address; maddr, received and the host of sent-by do not change its destination."""
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        Ua(await UdpWire.open("127.0.0.77")) as victim,
        Ua(await UdpWire.open("127.0.0.1", port=victim.wire.port)) as other_port,
    ):
        request = alice.dialog(f"sip:{at(app, 'public-udp')}").build("OPTIONS").decode()
        via = f"SIP/2.0/UDP {alice.address};branch="
        if not rport:
            assert ";rport" in request
            request = request.replace(";rport", "")
        lying = request.replace(via, f"SIP/2.0/UDP {victim.address};maddr=127.0.0.77;received=127.0.0.77;branch=")
        assert lying != request
        await alice.wire.send(lying.encode())
        ok = await (alice if rport else other_port).response(200)
        assert ok.via.param("received") == "127.0.0.1"
        assert ok.via.param("rport") == (str(alice.wire.port) if rport else None)
        assert await victim.silent()


async def test_a_flooder_is_dropped_by_the_kernel_and_a_trunk_is_not(tmp_path: Path) -> None:
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.5"])) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as flooder,
        Ua(await UdpWire.open("127.0.0.5", peer=at(app, "public-udp"))) as carrier,
    ):
        assert app.plane.kernel_filters["public-udp", "penalties"] == ("kernel", 0)
        uri = f"sip:{at(app, 'public-udp')}"
        for _ in range(200):
            await flooder.dialog(uri).send("OPTIONS")
        (listener,) = (udp for udp in app.plane._udp.values() if udp.penalties is not None)
        await until(lambda: listener.penalties is not None and listener.penalties.covered == 1)
        await carrier.dialog(uri).send("OPTIONS")
        await carrier.response(200)  # messages that were queued before the filter have been processed too
        counts = app.edge.pipeline.counts.copy()
        for _ in range(200):
            await flooder.dialog(uri).send("OPTIONS")
        for _ in range(40):  # more than an unproven source may send
            await carrier.dialog(uri).send("OPTIONS")
            await carrier.response(200)
        assert app.edge.pipeline.counts == counts, "no message of the flood reached the edge any more"
        assert app.edge.pipeline.penalties.lift("127.0.0.66") == 1
        await carrier.dialog(uri).send("OPTIONS")
        await carrier.response(200)
        await until(lambda: listener.penalties is not None and listener.penalties.covered == 0)


async def test_broken_datagrams_are_answered_where_they_can_be_and_end_nothing(tmp_path: Path) -> None:
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        good = alice.dialog(f"sip:{at(app, 'public-udp')}").build("OPTIONS")
        for broken in (
            b"\0",
            b"\r\n",
            b"SIP/2.0 200",
            b"OPTIONS",
            good[:40],
            b"\xff" * 1000,
            good.replace(b": ", b"\0"),
        ):
            await alice.wire.send(broken)
        await alice.wire.send(good.replace(b"Max-Forwards: 70", b"Max-Forwards: many"))
        await alice.response(400)
        await alice.wire.send(good)
        await alice.response(200)


async def test_a_response_without_rport_goes_to_the_port_of_the_via(tmp_path: Path) -> None:
    """It goes to that port at the source address of the request (RFC 3261 section 18.2.2)."""
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as asking,
        Ua(await UdpWire.open(peer=Source("127.0.0.1", 9))) as named,
    ):
        request = asking.dialog(f"sip:{at(app, 'public-udp')}").build("OPTIONS")
        await asking.wire.send(
            request.replace(b";rport", b"").replace(asking.address.encode(), named.address.encode(), 1)
        )
        await named.response(200)
        with trio.move_on_after(0.1):
            await asking.hear()
            raise AssertionError("answered twice")


# --- trusted and untrusted queues --------------------------------------------------------------------------

PAIR = ListenSettings(zone=Zone.PUBLIC, transport=Transport.UDP, bind=Source("127.0.0.1", 0), name="public-udp")


class Crowd:
    """A trunk and an untrusted source at a listener, and the datagrams that the listener receives, in order."""

    def __init__(self) -> None:
        (self.opened,) = open_listeners([PAIR])
        if self.opened.untrusted is None:
            self.opened.close()
            pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
        self.heard: list[str] = []
        self.on_hearing: Callable[[str], None] = lambda sender: None
        self.trunk, self.untrusted = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.trunk.bind(("127.0.0.5", 0))
        self.untrusted.bind(("127.0.0.66", 0))
        self.queues = TrustedQueues()
        self.listener = UdpListener(
            self.opened.listener,
            self.opened.sock,
            self.opened.untrusted,
            self.receive,
            lambda *_: None,
            self.trusted,
            unfailing(),
            queues=self.queues,
        )

    def trusted(self, listener: object, now: float) -> tuple[list[Source], None]:
        return [Source(*self.trunk.getsockname())], None

    def receive(self, flow: Flow, data: bytes, now: float) -> None:
        self.heard.append(data.decode())
        self.on_hearing(self.heard[-1])

    def say(self, sender: str, times: int = 1) -> None:
        sock = self.trunk if sender == "trunk" else self.untrusted
        for _ in range(times):
            sock.sendto(sender.encode(), self.opened.sock.getsockname())


@asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """Its listener runs, and the kernel has the trusted sources."""
    crowd = Crowd()
    with crowd.trunk, crowd.untrusted:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.listener.run)
            await until(lambda: crowd.listener.steering is not None and crowd.listener.steering.covered == 1)
            yield crowd
            nursery.cancel_scope.cancel()


async def test_datagrams_of_trusted_sources_are_received_first() -> None:
    async with crowd() as bench:
        bench.say("untrusted", 100)
        bench.say("trunk", 100)
        await until(lambda: len(bench.heard) == 200)
        turn = limits.UDP_BATCH
        assert bench.heard[:turn] == ["trunk"] * turn
        assert bench.heard.index("untrusted") == turn, "untrusted sources are served even then"


async def test_a_trusted_datagram_waits_for_a_bounded_number_of_untrusted_ones() -> None:
    async with crowd() as bench:
        bench.on_hearing = lambda sender: bench.say("trunk") if len(bench.heard) == 1 else None
        bench.say("untrusted", 200)
        await until(lambda: len(bench.heard) == 201)
        assert bench.heard.index("trunk") == limits.UDP_UNTRUSTED_BATCH


async def test_untrusted_sources_are_served_during_a_flood_with_a_trunks_address() -> None:
    """The trunk's address may be forged; such a flood uses up the trunk's queue only."""
    async with crowd() as bench:
        bench.on_hearing = lambda sender: bench.say("trunk") if sender == "trunk" and len(bench.heard) < 5000 else None
        bench.say("trunk", 200)  # at any time as many are waiting as at the start
        bench.say("untrusted", 3)
        await until(lambda: len(bench.heard) >= 5000)
        assert bench.heard.index("untrusted") <= limits.UDP_BATCH
        assert bench.heard.count("untrusted") == 3


async def test_few_datagrams_of_untrusted_sources_are_read_while_others_wait() -> None:
    """At the same listener, or at another one: with more of them its queue would never be empty again."""
    async with crowd() as bench:
        bench.queues.note(99, limits.UDP_BEHIND)
        bench.on_hearing = lambda sender: bench.queues.note(99, limits.UDP_BEHIND if len(bench.heard) < 20 else 0)
        bench.say("untrusted", 60)
        turns: list[int] = []
        while len(bench.heard) < 60:
            await trio.lowlevel.checkpoint()
            turns.append(len(bench.heard))
        read = [after - before for before, after in itertools.pairwise([0, *turns]) if after > before]
        # Between two looks the listener has at most two turns.
        assert max(read[:10]) <= 2 * limits.UDP_UNTRUSTED_LEAST < limits.UDP_UNTRUSTED_BATCH
        assert max(read) >= limits.UDP_UNTRUSTED_BATCH, "and more when none waits"


async def test_a_turn_of_untrusted_sources_is_short(mock_clock: trio.testing.MockClock) -> None:
    """However long one of their datagrams takes: the other listeners wait."""
    mock_clock.rate = 1
    async with crowd() as bench:
        heard = bench.heard
        bench.on_hearing = lambda sender: mock_clock.jump(limits.UDP_UNTRUSTED_SECONDS)
        bench.say("untrusted", 100)
        while not heard:
            await trio.lowlevel.checkpoint()
        # Between two looks the listener has at most two turns.
        assert len(heard) <= 2 * limits.UDP_UNTRUSTED_BATCH < limits.UDP_BATCH
        await until(lambda: len(heard) == 100)


@pytest.mark.parametrize("zone", [Zone.CORE, Zone.PUBLIC])
async def test_a_listener_says_whether_its_queue_fills_up(zone: Zone) -> None:
    """One of the private side does; one socket of the public side has the datagrams of anybody."""
    (opened,) = open_listeners([attrs.evolve(PAIR, zone=Zone.CORE)])
    queues = TrustedQueues()
    behind: list[bool] = []
    opened.listener.zone = zone
    listener = UdpListener(
        opened.listener, opened.sock, None, lambda *_: behind.append(queues.behind), lambda *_: None,
        lambda *_: ([], None), unfailing(), queues=queues,
    )  # fmt: skip
    with opened.sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(limits.UDP_BATCH + 1):
            peer.sendto(b"one", opened.sock.getsockname())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            await until(lambda: len(behind) == limits.UDP_BATCH + 1)
            await trio.lowlevel.checkpoint()
            assert not queues.behind
            nursery.cancel_scope.cancel()
    assert behind == [False] * limits.UDP_BATCH + [zone is Zone.CORE]


async def test_untrusted_sources_wait_after_a_turn_with_many_datagrams_of_trusted_ones() -> None:
    async with crowd() as bench:
        bench.say("trunk", limits.UDP_BEHIND)
        bench.say("untrusted", limits.UDP_BATCH)
        behind: list[bool] = []
        bench.on_hearing = lambda sender: behind.append(bench.queues.behind)
        await until(lambda: len(bench.heard) == limits.UDP_BEHIND + limits.UDP_BATCH)
        first = bench.heard.index("untrusted")
        assert behind[first : first + limits.UDP_UNTRUSTED_LEAST] == [True] * limits.UDP_UNTRUSTED_LEAST
        assert behind[-1] is False


async def test_nobody_waits_for_a_queue_that_is_not_read() -> None:
    """After a fault its listener pauses."""
    (opened,) = open_listeners([attrs.evolve(PAIR, zone=Zone.CORE)])
    queues, faults = TrustedQueues(), list[str]()
    heard: list[bytes] = []

    def receive(flow: Flow, data: bytes, now: float) -> None:
        heard.append(data)
        if len(heard) > limits.UDP_BATCH:
            raise MemoryError

    listener = UdpListener(
        opened.listener, opened.sock, None, receive, lambda *_: None, lambda *_: ([], None), collecting(faults),
        queues=queues,
    )  # fmt: skip
    with opened.sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for _ in range(2 * limits.UDP_BATCH):
            peer.sendto(b"one", opened.sock.getsockname())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run)
            await until(lambda: len(faults) > 0)
            assert not queues.behind
            nursery.cancel_scope.cancel()


async def test_all_listeners_and_connections_look_at_the_same_queues(tmp_path: Path) -> None:
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        plane = app.plane
        queues = [plane.read_budget._queues, *(udp._queues for udp in plane._udp.values())]
        assert len(queues) == 3
        assert {id(each) for each in queues} == {id(queues[0])}


def steered(app: App) -> int:
    """The number of trusted sources in the kernel's program."""
    (listener,) = (udp for udp in app.plane._udp.values() if udp.penalties is not None)
    if listener.steering is None:
        pytest.skip("the kernel refuses SO_ATTACH_REUSEPORT_CBPF")
    return listener.steering.covered


async def test_the_trusted_queue_follows_registrations_and_reloads(tmp_path: Path) -> None:
    text = policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.5"])
    async with (
        running(tmp_path, text) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as phone,
    ):
        uri = f"sip:{at(app, 'public-udp')}"

        async def say() -> None:
            await phone.dialog(uri).send("OPTIONS")
            await phone.response(200)

        await until(lambda: steered(app) == 1)
        assert app.plane.kernel_filters["public-udp", "steering"] == ("kernel", 0)
        listener = next(candidate for candidate in app.edge.listeners if candidate.name == "public-udp")
        flow = Flow(listener, Source(phone.wire.host, phone.wire.port))
        app.edge.pipeline.standings.prove(flow, Standing.REGISTERED, trio.current_time(), 3600.0)
        await say()  # in a real registration the response to REGISTER updates the program
        await until(lambda: steered(app) == 2)
        app.edge.pipeline.standings.withdraw(flow)
        await say()
        await until(lambda: steered(app) == 1)
        more = text.replace('addresses = ["127.0.0.5"]', 'addresses = ["127.0.0.5", "127.0.1.0/24", "127.0.0.9:5060"]')
        assert more != text
        (tmp_path / "policy.toml").write_text(more)
        await app.reload()
        await say()
        await until(lambda: steered(app) == 3)


async def test_an_expired_registration_loses_the_trusted_queue(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as phone,
    ):
        steered(app)
        listener = next(candidate for candidate in app.edge.listeners if candidate.name == "public-udp")
        flow = Flow(listener, Source(phone.wire.host, phone.wire.port))
        app.edge.pipeline.standings.prove(flow, Standing.REGISTERED, trio.current_time(), 60.0)
        await phone.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
        await phone.response(200)
        await until(lambda: steered(app) == 1)
        mock_clock.jump(61)
        await until(lambda: steered(app) == 0)


async def test_one_socket_serves_all_where_the_kernel_does_not_steer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_filters, "SO_ATTACH_REUSEPORT_CBPF", 0x7F00)  # an option that no kernel knows
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.5"])) as app,
        Ua(await UdpWire.open("127.0.0.5", peer=at(app, "public-udp"))) as carrier,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as untrusted,
    ):
        assert app.plane.kernel_filters["public-udp", "steering"] == ("user", 0)
        metrics = app.metrics.render().decode()
        assert 'edgesbc_lane_mode{lane="steering",listener="public-udp"} 0.0' in metrics
        assert 'edgesbc_lane_mode{lane="penalties",listener="public-udp"} 1.0' in metrics
        for peer in (carrier, untrusted):
            await peer.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await peer.response(200)


async def test_the_plane_reports_its_lateness_to_the_core(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lateness: list[float] = []
    note_lateness = Edge.note_lateness

    def listen(edge: Edge, late: float) -> None:
        lateness.append(late)
        note_lateness(edge, late)

    monkeypatch.setattr(Edge, "note_lateness", listen)
    mock_clock.rate = 1
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        await bob.request("INVITE")
        mock_clock.jump(100)  # past all deadlines of the call
        await until(lambda: max(lateness, default=0.0) > 50)


async def test_the_lag_is_measured_again_without_other_deadlines(tmp_path: Path) -> None:
    """The deadlines of an OPTIONS transaction are half a minute apart; the edge must measure its lag more often."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        trio.open_nursery() as nursery,
    ):
        for _ in range(9):
            app.edge.note_lateness(1.0)
        assert app.edge.lag > 0.8
        nursery.start_soon(bob.hear)  # it answers OPTIONS
        await alice.dialog("sip:100@elsewhere.example").send("OPTIONS")
        await alice.response(200)
        await until(lambda: app.edge.lag < 0.1)
        nursery.cancel_scope.cancel()
