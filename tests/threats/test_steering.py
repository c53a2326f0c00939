"""THREATS 21, 23, 25 and 37: to which addresses an untrusted peer can make the edge send, and how much."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import at, nothing_left, policy_text, running, until
from support.ua import Ua, UdpWire


@pytest.mark.parametrize("trunks", [(), ("127.0.0.1",)], ids=["a stranger", "a trunk"])
async def test_no_field_steers_a_request_to_a_third_party(tmp_path: Path, trunks: tuple[str, ...]) -> None:
    """Route, Record-Route, Path, Request-URI and maddr name a victim; only the destination gets messages."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        Ua(await UdpWire.open("127.0.0.77")) as victim,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"], trunks=trunks)) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as mallory,
    ):
        for uri in (f"sip:100@{victim.address}", f"sip:100@{at(app, 'public-udp')};maddr=127.0.0.77"):
            dialog = mallory.dialog(uri)
            names = ("Route", "Record-Route", "Path", "Service-Route")
            await dialog.send("INVITE", extra=tuple(f"{name}: <sip:{victim.address};lr>" for name in names))
            invite = await bob.request("INVITE")
            assert [name for name in names if invite.get_all(name)] == []
            assert "maddr" not in str(invite.uri)
            await bob.answer(invite, 486, tag="b")
            await mallory.response(486)
            await bob.request("ACK")
        assert await victim.silent()
        await nothing_left(app)


async def test_the_remote_target_of_an_untrusted_peer_is_its_source_address(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        Ua(await UdpWire.open("127.0.0.77")) as victim,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as mallory,
    ):
        dialog = mallory.dialog(f"sip:100@{at(app, 'public-udp')}")
        lying = dialog.build("INVITE").replace(
            f"Contact: {mallory.contact}".encode(), f"Contact: {victim.contact}".encode()
        )
        await mallory.wire.send(lying)
        invite = await bob.request("INVITE")
        called = bob.taken(invite)
        await called.answer(invite, 200)
        dialog.learn(await mallory.response(200))
        await dialog.send("ACK")
        await bob.request("ACK")
        await called.send("BYE")
        bye = await mallory.request("BYE")
        await mallory.answer(bye, 200)
        await bob.response(200)
        assert await victim.silent()
        await nothing_left(app)


async def test_a_trunk_is_never_banned_for_forged_datagrams(tmp_path: Path) -> None:
    """A scanner, a density and malformed messages that would each ban anybody else. Others at the address of a trunk
    that is listed without a port are the trunk."""
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.5"])) as app,
        Ua(await UdpWire.open("127.0.0.5", peer=at(app, "public-udp"))) as forger,
        Ua(await UdpWire.open("127.0.0.5", peer=at(app, "public-udp"))) as carrier,
    ):
        uri = f"sip:{at(app, 'public-udp')}"
        for number in range(500):
            await forger.dialog(uri).send("OPTIONS", extra=("User-Agent: friendly-scanner",))
            await forger.wire.send(b"\xff" * 100)
            if number % 20 == 0:  # what was sent is read before the receive queue is full
                await carrier.dialog(uri).send("OPTIONS")
                await carrier.response(200)
        for _ in range(20):
            await carrier.dialog(uri).send("OPTIONS")
            await carrier.response(200)
        assert sum(app.edge.counters.malformed.values()) == 500
        assert len(app.edge.pipeline.penalties) == 0


@pytest.mark.parametrize("sent_kind", ["OPTIONS", "MESSAGE", "NOTHING", "INVITE", "BYE", "broken"])
async def test_an_unproven_source_gets_at_most_one_and_a_half_times_its_bytes(
    tmp_path: Path, mock_clock: trio.testing.MockClock, sent_kind: str
) -> None:
    """An unproven source gets at most one and a half times the bytes that it sent, retransmissions included."""
    mock_clock.rate = 1
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], routes=ROUTE, open=["public-udp"])) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as caller,
    ):
        data = caller.dialog(f"sip:100@{at(app, 'public-udp')}").build(
            "OPTIONS" if sent_kind == "broken" else sent_kind
        )
        if sent_kind == "broken":
            data = data.replace(b"Max-Forwards: 70", b"Max-Forwards: 7x")
        await caller.wire.send(data)
        await caller.hear()
        octets = len(caller.heard[0])
        for _ in range(8):
            mock_clock.jump(5)
            with trio.move_on_after(0.05):
                while True:
                    octets += len(await caller.wire.receive())
        assert octets <= 1.5 * len(data)


ROUTE = 'route = [ { name = "numbers", methods = ["INVITE"], request_user = "^9", to = "pbx" } ]'


async def test_only_the_probed_member_can_answer_a_health_check(tmp_path: Path) -> None:
    health = "interval = 0.2, timeout = 0.3, fall = 2, rise = 1"
    async with (
        Ua(await UdpWire.open("127.0.0.11")) as deaf,
        running(tmp_path, policy_text(tmp_path, [f"sip:{deaf.address}"], health=health)) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "core-udp"))) as liar,
        trio.open_nursery() as nursery,
    ):
        speaker = liar

        async def lie() -> None:
            """Answer every probe with its branch, but from another address than it was sent to."""
            while True:
                probe = await deaf.wire.receive()
                head = probe.replace(b"OPTIONS ", b"SIP/2.0 200 OK\r\nX-Was: ", 1)
                await speaker.wire.send(head)

        nursery.start_soon(lie)
        await until(lambda: bool(app.not_ready()))
        assert app.not_ready() == {"destinations pbx": "no member is up"}
        speaker = deaf  # the same response from the right address
        await until(lambda: not app.not_ready())
        nursery.cancel_scope.cancel()


async def test_a_refusal_without_an_ack_is_not_retransmitted_to_an_unproven_source(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """Timer G would send the final response ten times more, to a source address that may be forged."""
    mock_clock.rate = 1
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as caller,
    ):
        data = caller.dialog(f"sip:100@{at(app, 'public-udp')}").build("INVITE")
        await caller.wire.send(data)
        invite = await bob.request("INVITE")
        await bob.answer(invite, 486, tag="b")
        await bob.request("ACK")
        await caller.response(486)
        octets = sum(map(len, caller.heard))
        for _ in range(16):
            mock_clock.jump(3)
            with trio.move_on_after(0.05):
                while True:
                    octets += len(await caller.wire.receive())
        assert octets <= 1.5 * len(data), f"{octets} octets for {len(data)}"
