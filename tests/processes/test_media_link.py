"""The link between signalling and a media plane, both in this process; what either of them loses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import trio
from structlog.testing import capture_logs
from support.containment import collecting, unfailing
from support.media import CORE, PUBLIC, RecordedPorts, TableHarness, answer, offer, sdp
from support.running import until

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.media.commands import Delete, Establish, MediaError, MediaReply, MediaSilence, MediaTimeout
from edgesbc.media.encoding import encode
from edgesbc.media.latch import build_interfaces
from edgesbc.media.link_messages import ListSessions, PrivateSide
from edgesbc.media.private_addresses import PrivateAddresses
from edgesbc.media.session_journal import SessionCopy
from edgesbc.media.session_table import SessionTable
from edgesbc.observe import logs
from edgesbc.processes.media_link import MediaLink
from edgesbc.processes.media_server import MediaServer
from edgesbc.processes.packet_link import bind_link, connect_link
from edgesbc.sdp.session import parse_session

CALLER, CALLEE = "198.51.100.1", "10.0.0.11"
AWAY = 503


class Signalling:
    """Records what the link tells the signalling plane, whose interface this has."""

    def __init__(self, path: Path) -> None:
        self.link = MediaLink(path, logs.lifecycle("signalling"))
        self.link.attach(self)  # type: ignore[arg-type]
        self.containment = unfailing()
        self.edge = self
        self.private_side = PrivateSide(("10.0.0.11",))
        self.private_side_version = (1, 0)
        self.replies: dict[int, MediaReply | MediaError] = {}
        self.events: list[MediaTimeout | MediaSilence] = []
        self.adopted: list[SessionCopy] | None = None
        self.sent = 0

    def media_replied(self, cookie: int, reply: MediaReply | MediaError) -> None:
        assert cookie not in self.replies
        self.replies[cookie] = reply

    def media_event(self, event: MediaTimeout | MediaSilence) -> None:
        self.events.append(event)

    def adopt_sessions(self, copies: list[SessionCopy]) -> list[SessionCopy]:
        return copies

    def carry_out(self, effects: list[SessionCopy]) -> None:
        self.adopted = effects

    def send(self, command: Any) -> int:
        """Send a command; the number of its reply."""
        self.sent += 1
        reply = self.link.carry_out(self.sent, command)
        if reply is not None:
            self.replies[self.sent] = reply
        return self.sent

    async def ask(self, command: Any) -> MediaReply | MediaError:
        cookie = self.send(command)
        await until(lambda: cookie in self.replies)
        return self.replies[cookie]


class Media:
    """A media plane without sockets, and its end of the link. ``ports`` are those of the machine."""

    def __init__(self, ports: RecordedPorts | None = None) -> None:
        self.private = PrivateAddresses()
        self.server = MediaServer(self.private, unfailing(), logs.lifecycle("media"))
        self.server.plane = self  # type: ignore[assignment]
        harness = TableHarness()
        self.ports = harness.ports if ports is None else ports
        addresses = {Zone.PUBLIC: PUBLIC, Zone.CORE: CORE}
        interfaces = build_interfaces(addresses, (30000, 39999), inside=self.private.is_inside)
        self.table = SessionTable(self.ports, interfaces)
        self.silent = False
        """It does not carry out any command."""

    def carry_out(self, command: Any) -> MediaReply | MediaError | None:
        return None if self.silent else self.table.receive(command, 0.0)


class House:
    """The socket that the supervisor holds, the signalling of now and the media plane of now."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.path = folder / "media.sock"
        self.listening = bind_link(self.path)
        self.nursery = nursery
        self.media = Media()
        self.media_ends: Callable[[], None] = lambda: None
        self.signalling_ends: Callable[[], None] = lambda: None

    async def start_media(self, ports: RecordedPorts | None = None) -> Media:
        self.media = Media(ports)

        async def run(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery.cancel_scope)
                await self.media.server.run(self.listening, nursery)

        scope = await self.nursery.start(run)
        self.media_ends = scope.cancel
        return self.media

    async def start_signalling(self) -> Signalling:
        signalling = Signalling(self.path)

        async def run(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(signalling.link.run)
                    task_status.started(scope)

        scope = await self.nursery.start(run)
        self.signalling_ends = scope.cancel
        await until(lambda: signalling.link.up)
        return signalling


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    with capture_logs():
        async with trio.open_nursery() as nursery:
            made = House(folder, nursery)
            with made.listening:
                yield made
                nursery.cancel_scope.cancel()


async def call(signalling: Signalling, session_id: str, established: bool = True) -> tuple[int, int]:
    """A call; the ports of the relay that face the callee and the caller."""
    offered = await signalling.ask(offer(session_id, "a", sdp(CALLER)))
    answered = await signalling.ask(answer(session_id, "a", "b", sdp(CALLEE)))
    assert isinstance(offered, MediaReply)
    assert isinstance(answered, MediaReply)
    if established:
        signalling.send(Establish(session_id, "a", b"record"))
    return parse_session(offered.sdp).media[0].port, parse_session(answered.sdp).media[0].port


async def test_media_control_that_is_started_again_gets_its_sessions(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        first = await edge.start_media()
        signalling = await edge.start_signalling()
        ports = [await call(signalling, name) for name in ("one", "two")]
        first.silent = True
        unanswered = signalling.send(offer("three", "a", sdp(CALLER)))
        edge.media_ends()
        await until(lambda: unanswered in signalling.replies)
        reply = signalling.replies[unanswered]
        assert isinstance(reply, MediaError)
        assert reply.status == AWAY
        assert not signalling.link.up
        refused = await signalling.ask(offer("four", "a", sdp(CALLER)))
        assert isinstance(refused, MediaError)
        assert refused.status == AWAY
        signalling.send(Delete("one", "a"))  # it ends meanwhile
        second = await edge.start_media()
        await until(lambda: signalling.link.up)
        await call(signalling, "five")
        (session,) = [one for one in second.table.sessions() if one.session_id == "two"]
        assert [pair.port for pair in session.streams[0].pairs] == [ports[1][1], ports[1][0]]
        assert session.established
        assert {one.session_id for one in second.table.sessions()} == {"two", "five"}
        assert signalling.events == []
        assert {copy.session_id for copy in second.server.journal.copies()} == {"two", "five"}


async def test_a_session_whose_ports_are_taken_is_lost(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        await edge.start_media()
        signalling = await edge.start_signalling()
        facing_callee, _ = await call(signalling, "one")
        edge.media_ends()
        await until(lambda: not signalling.link.up)
        ports = RecordedPorts()
        assert ports.pools[Zone.CORE].take_port(facing_callee)
        media = await edge.start_media(ports)
        await until(lambda: bool(signalling.events))
        assert signalling.events == [MediaTimeout("one", ("a", "b"))]
        await call(signalling, "two")
        assert [one.session_id for one in media.table.sessions()] == ["two"]
        assert len(signalling.link.journal) == 1


async def test_a_new_signalling_process_takes_the_sessions_over(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        before = await edge.start_signalling()
        await call(before, "one")
        await call(before, "two", established=False)
        await call(before, "three")
        edge.signalling_ends()
        await until(lambda: not media.server.linked)
        media.server.tell(MediaTimeout("three", ("a", "b")))  # nobody hears it now
        after = await edge.start_signalling()
        assert after.adopted is not None
        assert [(copy.session_id, copy.establish is not None) for copy in after.adopted] == [
            ("one", True), ("two", False),
        ]  # fmt: skip
        assert after.events == [MediaTimeout("three", ("a", "b"))]
        # and has them restored, should media control end
        edge.media_ends()
        await until(lambda: not after.link.up)
        restored = await edge.start_media()
        await until(lambda: after.link.up)
        await call(after, "four")
        assert {one.session_id for one in restored.table.sessions()} == {"one", "two", "four"}


async def test_a_link_that_breaks_off_loses_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        signalling = await edge.start_signalling()
        await call(signalling, "one")
        await call(signalling, "two")
        assert signalling.adopted == []
        assert media.server._client is not None
        media.server._client.break_off()
        await until(lambda: not signalling.link.up)
        signalling.send(Delete("two", "a"))
        await until(lambda: signalling.link.up)
        await call(signalling, "three")
        assert {one.session_id for one in media.table.sessions()} == {"one", "three"}
        assert signalling.adopted == []


async def test_bytes_that_are_no_message_end_the_connection_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        faults: list[str] = []
        media.server._containment = collecting(faults)
        with await connect_link(edge.path) as sock:
            sock.send(b"\x09junk")
            await until(lambda: len(faults) == 1)
        assert "signalling link" in faults[0]
        signalling = await edge.start_signalling()
        await call(signalling, "one")


async def test_the_private_side_is_told_before_the_next_offer(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        await edge.start_media()
        signalling = await edge.start_signalling()
        refused = await signalling.ask(offer("one", "a", sdp("10.0.0.11")))
        assert isinstance(refused, MediaError)
        signalling.private_side, signalling.private_side_version = PrivateSide(("192.0.2.50",)), (2, 0)
        assert isinstance(await signalling.ask(offer("one", "a", sdp("10.0.0.11"))), MediaReply)
        assert isinstance(await signalling.ask(offer("two", "a", sdp("192.0.2.50"))), MediaError)


async def test_events_come_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        signalling = await edge.start_signalling()
        await call(signalling, "one")
        silence = MediaSilence("one", "a", "packets", 60.0)
        media.server.tell(silence)
        media.server.tell(MediaTimeout("one", ("a", "b"), (silence,)))
        await until(lambda: len(signalling.events) == 2)
        assert signalling.events == [silence, MediaTimeout("one", ("a", "b"), (silence,))]
        assert len(signalling.link.journal) == 0


async def test_a_media_plane_that_does_not_read_gets_no_new_calls(tmp_path: Path) -> None:
    """``limits.MEDIA_LINK_QUEUE`` messages wait; what ends calls is queued beyond that."""
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        signalling = await edge.start_signalling()
        await call(signalling, "one")
        link = signalling.link._link
        assert link is not None
        statuses = set()
        for number in range(limits.MEDIA_LINK_QUEUE + 2_000):  # without a checkpoint: nobody reads
            cookie = signalling.send(offer(f"call {number}", "a", sdp(CALLER)))
            reply = signalling.replies.get(cookie)
            if reply is not None:
                assert isinstance(reply, MediaError)
                statuses.add(reply.status)
        assert statuses == {AWAY}
        assert len(link) <= limits.MEDIA_LINK_QUEUE + 1
        signalling.send(Delete("one", "a"))
        await until(lambda: all(one.session_id != "one" for one in media.table.sessions()))
        await until(lambda: len(signalling.replies) == signalling.sent - 2)  # without Establish and Delete


async def test_signalling_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with house(tmp_path) as edge:
        media = await edge.start_media()
        with await connect_link(edge.path) as sock:
            sock.send(encode(ListSessions()))
            await until(lambda: media.server.linked)
            for number in range(limits.MEDIA_LINK_QUEUE + limits.MEDIA_SESSIONS + 5_000):
                media.server.tell(MediaTimeout(f"call {number}", ("a", "b")))
            await until(lambda: not media.server.linked)
