"""An edge whose media real rtpengines relay, and one whose media `edgesbc media` relays: sipp, audio both ways, refused
changes, rtpengines that die."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio
from support.media_process import MediaProcess, media_process, rtpengine
from support.peers import called, needs, place
from support.running import PATIENCE, EdgeProcess, edge_process, free_port, listen, policy_text, until
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.base.address import Source, host_port
from edgesbc.control.client import NoAnswer, ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.sip.message import Request

Engine = Callable[[Path], AbstractAsyncContextManager[MediaProcess]]
REAL, OURS = pytest.param(rtpengine, marks=needs("rtpengine"), id="rtpengine"), pytest.param(media_process, id="ours")
PAIRINGS = [
    pytest.param(rtpengine, "tasks", marks=needs("rtpengine"), id="rtpengine"),
    pytest.param(rtpengine, "processes", marks=needs("rtpengine"), id="rtpengine, edge of processes"),
    pytest.param(media_process, "tasks", id="ours"),
]


class Front:
    """A running edge and its public address."""

    def __init__(self, edge: EdgeProcess, udp: str) -> None:
        self.edge = edge
        self.udp = udp
        host, _, port = udp.rpartition(":")
        self.source = Source(host, int(port))


@asynccontextmanager
async def front(
    folder: Path, uri: str, engines: Sequence[Source], silence: int = 60, planes: str = "tasks", core: str = "127.0.0.2"
) -> AsyncIterator[Front]:
    """An edge before ``uri``, whose media ``engines`` relay; 127.0.0.1 is a trunk."""
    udp, http = f"127.0.0.1:{free_port()}", free_port()
    tables = "".join(
        f'[[media.rtpengine]]\naddress = "{engine}"\npublic = "pub"\ncore = "priv"\n' for engine in engines
    )
    text = policy_text(
        folder,
        [uri],
        [listen("public", "udp", udp, "carriers"), listen("core", "udp", host_port(core, 0), "inside")],
        trunks=["127.0.0.1"],
        http=f"127.0.0.1:{http}",
        edge="grace = 0",
        planes=planes,
        media=f'engine = "rtpengine"\ntimeout = {silence}',
        more=tables,
    )
    async with edge_process(folder, text, http) as edge:
        yield Front(edge, udp)


@pytest.mark.parametrize(("engine", "planes"), PAIRINGS)
@needs("sipp")
async def test_calls_of_sipp(tmp_path: Path, engine: Engine, planes: str) -> None:
    async with (
        engine(tmp_path) as media,
        called(tmp_path, "called", "127.0.0.11") as callee,
        front(tmp_path, callee.uri, [media.address], planes=planes) as outside,
    ):
        calls = await place(tmp_path, "caller", outside.udp, 25, 25)
        assert calls.status == 0, calls.errors
        assert "127.0.0.11" not in calls.received
        await outside.edge.comes_to("edgesbc_calls", 0, 0)
        await outside.edge.comes_to("edgesbc_rtpengine_sessions", 0, 0)
        await until(media.is_empty)
        assert await outside.edge.metric("edgesbc_rtpengine_up") == 1
        assert await outside.edge.metric('edgesbc_rtpengine_commands_total{outcome="error"}') == 0


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_audio_passes_both_ways_and_goes_on_after_a_refused_change(tmp_path: Path, engine: Engine) -> None:
    async with (
        engine(tmp_path) as media,
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        front(tmp_path, f"sip:{bob.address}", [media.address]) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
        await Rtp.open() as moved,
    ):
        calling, in_call = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        assert (near.peer or ("",))[0] == media.public
        assert (far.peer or ("",))[0] == media.private
        await talk(near, far, 20)
        # Another address of the caller is refused: the rtpengine, which has it by then, gets back what was agreed.
        await calling.send("INVITE", moved.sdp())
        again = await bob.request("INVITE")
        await in_call.answer(again, 488)
        await bob.request("ACK")
        await alice.response(488)
        await _heard(near, far)
        await talk(near, far, 20)
        await hang_up(calling, bob)
        await until(media.is_empty)


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_hold_and_another_port(tmp_path: Path, engine: Engine) -> None:
    async with (
        engine(tmp_path) as media,
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        front(tmp_path, f"sip:{bob.address}", [media.address]) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
        await Rtp.open() as near,
        await Rtp.open() as moved,
        await Rtp.open("127.0.0.12") as far,
    ):
        calling, in_call = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        await talk(near, far, 5)
        held = await _change(calling, in_call, near.sdp("sendonly"), far.sdp("recvonly"))
        assert b"a=sendonly" in held.body
        before = near.peer, far.peer
        far.aim(await _change(calling, in_call, moved.sdp(), far.sdp()))
        moved.peer = near.peer
        assert (moved.peer, far.peer) == before
        await _heard(moved, far)
        await talk(moved, far, 20)
        await hang_up(calling, bob)
        await until(media.is_empty)


async def _change(calling: Dialog, in_call: Dialog, offered: bytes, answered: bytes) -> Request:
    """A re-INVITE that the other side answers; returns it as it came there."""
    await calling.send("INVITE", offered)
    again = await in_call.ua.request("INVITE")
    await in_call.answer(again, 200, answered, ("Content-Type: application/sdp",))
    await calling.ua.response(200)
    await calling.send("ACK")
    await in_call.ua.request("ACK")
    return again


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_the_second_of_two_callees_answers(tmp_path: Path, engine: Engine) -> None:
    """A proxy inside forks: one phone sends early media, the other one answers."""
    async with (
        engine(tmp_path) as media,
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        front(tmp_path, f"sip:{bob.address}", [media.address]) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as first,
        await Rtp.open("127.0.0.12") as second,
    ):
        calling = alice.dialog(f"sip:100@{outside.udp}")
        await calling.send("INVITE", near.sdp())
        invite = await bob.request("INVITE")
        first.aim(invite)
        second.aim(invite)
        with_sdp = ("Content-Type: application/sdp",)
        await bob.taken(invite).answer(invite, 183, first.sdp(), with_sdp)
        near.aim(await alice.response(183))
        await _heard(near, first)
        await bob.taken(invite).answer(invite, 200, second.sdp(), with_sdp)
        answered = await alice.response(200)
        near.aim(answered)
        calling.learn(answered)
        await calling.send("ACK")
        await bob.request("ACK")
        await _heard(near, second)
        await talk(near, second, 10)
        await hang_up(calling, bob)
        await until(media.is_empty)


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_a_caller_with_ipv4_and_a_callee_with_ipv6(tmp_path: Path, engine: Engine) -> None:
    async with (
        engine(tmp_path, private="::1") as media,  # type: ignore[call-arg]
        Ua(await UdpWire.open(host="::1")) as bob,
        front(tmp_path, f"sip:{bob.address}", [media.address], core="::1") as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
        await Rtp.open() as near,
        await Rtp.open("::1") as far,
    ):
        calling, in_call = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        assert (near.peer or ("",))[0] == media.public
        assert (far.peer or ("",))[0] == "::1"
        await talk(near, far, 10)
        near.aim(await _change(in_call, calling, far.sdp(), near.sdp()))
        await _heard(near, far)
        await talk(near, far, 10)
        await hang_up(calling, bob)
        await until(media.is_empty)


async def _heard(one: Rtp, other: Rtp) -> None:
    """Wait until audio passes both ways: what comes while an rtpengine changes addresses may be lost."""
    with trio.fail_after(20):
        for sender, receiver in ((one, other), (other, one)):
            while not await _arrives(sender, receiver):
                pass


async def _arrives(sender: Rtp, receiver: Rtp) -> bool:
    """Whether a packet comes through; one from before may come first."""
    sent = await sender.send()
    with trio.move_on_after(0.5):
        while await receiver.receive() != sent:
            pass
        return True
    return False


@pytest.mark.parametrize("engine", [REAL, OURS])
@needs("sipp")
async def test_one_of_two_dies(tmp_path: Path, engine: Engine) -> None:
    """New calls go to the other; signalling goes on while none is left, and calls come back with the rtpengine."""
    async with (
        called(tmp_path, "called", "127.0.0.11") as callee,
        engine(tmp_path) as one,
        engine(tmp_path) as two,
        front(tmp_path, callee.uri, [one.address, two.address]) as outside,
    ):
        one.process.send_signal(signal.SIGKILL)
        await one.process.wait()
        calls = await place(tmp_path, "caller", outside.udp, 20, 10)
        assert calls.status == 0, calls.errors
        await outside.edge.comes_to("edgesbc_rtpengine_up", 1, 1)
        two.process.send_signal(signal.SIGKILL)
        await two.process.wait()
        await outside.edge.comes_to("edgesbc_rtpengine_up", 0, 0)
        refused = await place(tmp_path, "caller-refused", outside.udp, 1, 1)
        assert "SIP/2.0 503" in refused.received
        await until(outside.edge.unready)
        async with engine(tmp_path, port=two.address.port):  # type: ignore[call-arg]
            await until(outside.edge.ready)
            calls = await place(tmp_path, "caller", outside.udp, 5, 10)
            assert calls.status == 0, calls.errors


@pytest.mark.parametrize("engine", [REAL, OURS])
@needs("sipp")
async def test_one_of_two_hangs(tmp_path: Path, engine: Engine) -> None:
    """It says nothing, and no ICMP error says that it is gone: each call finds the other one, and it comes back."""
    async with (
        called(tmp_path, "called", "127.0.0.11") as callee,
        engine(tmp_path) as one,
        engine(tmp_path) as two,
        front(tmp_path, callee.uri, [one.address, two.address]) as outside,
    ):
        await outside.edge.comes_to("edgesbc_rtpengine_commands_total", 2)  # both pings
        one.process.send_signal(signal.SIGSTOP)
        calls = await place(tmp_path, "caller", outside.udp, 10, 10)
        assert calls.status == 0, calls.errors
        await outside.edge.comes_to("edgesbc_rtpengine_up", 1, 1)
        assert await outside.edge.ready()
        one.process.send_signal(signal.SIGCONT)
        await outside.edge.comes_to("edgesbc_rtpengine_up", 2, 2)


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_signalling_goes_on_without_any_rtpengine(tmp_path: Path, engine: Engine) -> None:
    async with (
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
        engine(tmp_path) as media,
        front(tmp_path, f"sip:{bob.address}", [media.address]) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
    ):
        calling, in_call = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        media.process.send_signal(signal.SIGKILL)
        await media.process.wait()
        await calling.send("INVITE", near.sdp("sendonly"))
        refused = await alice.response(503)
        assert refused.get("Retry-After")
        await calling.send("UPDATE")  # without a description
        await in_call.answer(await bob.request("UPDATE"), 200)
        await alice.response(200, "UPDATE")
        await hang_up(calling, bob)
        await outside.edge.comes_to("edgesbc_calls", 0, 0)
        await outside.edge.comes_to("edgesbc_rtpengine_sessions", 0, 0)


async def test_a_peer_may_not_have_media_sent_to_the_control_port(tmp_path: Path) -> None:
    """It would be a command."""
    async with (
        front(tmp_path, "sip:127.0.0.12:9", [Source("203.0.113.99", 2223)]) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
        await Rtp.open() as near,
    ):
        sdp = near.sdp().replace(b"127.0.0.1", b"203.0.113.99").replace(b"audio %d" % near.port, b"audio 2223")
        calling = alice.dialog(f"sip:100@{outside.udp}")
        await calling.send("INVITE", sdp)
        refused = await alice.response(488)
        assert "belongs to the inside" in (refused.get("Warning") or "")


@needs("rtpengine")
async def test_audio_outlives_signalling(tmp_path: Path) -> None:
    """SIGKILL of the signalling process: audio goes on, the call is hung up, and the next one is set up."""
    async with (
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
        rtpengine(tmp_path) as media,
        front(tmp_path, f"sip:{bob.address}", [media.address], planes="processes") as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        killed = await _signalling(tmp_path)
        os.kill(killed, signal.SIGKILL)
        await talk(near, far, 20)
        assert await _signalling(tmp_path, but=killed)
        await talk(near, far, 20)
        await hang_up(calling, bob)
        calling, _ = await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        await talk(near, far, 5)
        await hang_up(calling, bob)
        await outside.edge.comes_to("edgesbc_rtpengine_sessions", 0, 0)


async def _signalling(folder: Path, but: int = 0) -> int:
    """The number of the signalling process, once one with another number than ``but`` runs."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(NoAnswer, CommandRefused):
                status = await trio.to_thread.run_sync(ask, folder / "state" / "control.sock", ControlRequest("status"))
                (one,) = [process for process in status["processes"] if process["name"] == "signalling"]
                if one["state"] == "running" and one["pid"] != but:
                    return int(one["pid"])
            await trio.sleep(0.02)


@pytest.mark.parametrize("engine", [REAL, OURS])
async def test_a_call_whose_session_the_rtpengine_has_lost_is_ended(tmp_path: Path, engine: Engine) -> None:
    async with (
        Ua(await UdpWire.open(host="127.0.0.12")) as bob,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.12") as far,
        engine(tmp_path) as media,
        front(tmp_path, f"sip:{bob.address}", [media.address], silence=5) as outside,
        Ua(await UdpWire.open(peer=outside.source)) as alice,
    ):
        await set_up(alice, bob, f"sip:100@{outside.udp}", near, far)
        await talk(near, far, 5)
        (call_id,) = (await media.peer.ask("list"))["calls"]
        await media.peer.ask("delete", call_id=call_id, delete_delay=0)
        bye = await alice.request("BYE")
        await alice.answer(bye, 200)
        bye = await bob.request("BYE")
        await bob.answer(bye, 200)
        await outside.edge.comes_to("edgesbc_calls", 0, 0)
