"""Where a running edge sends media, and from where it takes them: modes of the latch, peers whose NAT has given them
another port, advertised addresses, profiles that it does not know, and sides that are not heard."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.bob_and_edge import bob_and_edge
from support.running import at, until
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.app import App
from edgesbc.sdp.session import parse_session


async def caller(app: App, host: str = "127.0.0.1") -> Ua:
    return Ua(await UdpWire.open(host, peer=at(app, "public-udp")))


async def sends_until_heard(moved: Rtp, other: Rtp) -> None:
    """Send from a port that the relay does not know until a packet from it reaches the other side."""
    sent = set()
    with trio.fail_after(30):
        while True:
            sent.add(await moved.send())
            with trio.move_on_after(0.05):
                if await other.receive() in sent:
                    return


async def describe_again(method: str, one: Dialog, other: Dialog, near: Rtp, far: Rtp) -> None:
    """A re-INVITE or UPDATE with the description of before, and an answer as before."""
    await one.send(method, near.sdp())
    await other.answer(await other.ua.request(method), 200, far.sdp(), ("Content-Type: application/sdp",))
    await one.ua.response(200, method)
    if method == "INVITE":
        await one.send("ACK")
        await other.ua.request("ACK")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_after_a_repeated_description_a_peer_is_heard_at_the_port_that_its_nat_has_now(
    tmp_path: Path, method: str, by: str
) -> None:
    async with (
        bob_and_edge(tmp_path) as (bob, app),
        await caller(app) as alice,
        await Rtp.open() as near,
        await Rtp.open() as moved,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await talk(near, far)
        moved.peer = near.peer
        await moved.send()
        await talk(near, far)
        if by == "caller":
            await describe_again(method, calling, called, near, far)
        else:
            await describe_again(method, called, calling, far, near)
        await sends_until_heard(moved, far)
        await talk(moved, far)
        await hang_up(calling, bob)


@pytest.mark.parametrize("where", ["trunk", "media"])
async def test_a_peer_that_roams_is_followed_to_another_port(tmp_path: Path, where: str) -> None:
    latch = 'latch = "roaming"'
    settings = {"trunk": {"trunk_keys": f", {latch}"}, "media": {"media": latch}}[where]
    async with (
        bob_and_edge(tmp_path, trunks=["127.0.0.7"], **settings) as (bob, app),
        await caller(app, "127.0.0.7") as alice,
        await Rtp.open("127.0.0.7") as near,
        await Rtp.open("127.0.0.7") as moved,
        await Rtp.open("127.0.0.8") as stranger,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await talk(near, far)
        moved.peer = stranger.peer = near.peer
        await stranger.send()
        await sends_until_heard(moved, far)
        await talk(moved, far)
        assert app.media is not None
        await until(lambda: app.media is not None and app.media.moves == 1)
        assert app.media.counts["source",] >= 2
        await hang_up(calling, bob)


async def test_a_trunk_that_sends_from_another_port_gets_its_media_at_the_signalled_one(tmp_path: Path) -> None:
    async with (
        bob_and_edge(tmp_path, trunks=["127.0.0.7"], trunk_keys=', latch = "symmetric-off"') as (bob, app),
        await caller(app, "127.0.0.7") as alice,
        await Rtp.open("127.0.0.7") as near,
        await Rtp.open("127.0.0.7") as source,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        source.peer = near.peer
        await sends_until_heard(source, far)
        for _ in range(10):
            sent = await source.send()
            assert await far.receive() == sent
            sent = await far.send()
            assert await near.receive() == sent
        await hang_up(calling, bob)


async def test_descriptions_show_the_advertised_addresses_and_media_flow(tmp_path: Path) -> None:
    """The test is the NAT: what is sent to the advertised address comes to the address that is bound."""
    more = '[media.address]\npublic = "127.0.0.1"\ncore = "127.0.0.2"\n'
    more += '[media.advertise]\npublic = "127.0.0.77"\ncore = "127.0.0.78"\n'
    async with (
        bob_and_edge(tmp_path, more=more) as (bob, app),
        await caller(app) as alice,
        await Rtp.open("127.0.0.5") as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        assert near.peer is not None
        assert far.peer is not None
        assert (near.peer[0], far.peer[0]) == ("127.0.0.77", "127.0.0.78")
        for message in (alice.heard[-1], bob.heard[0]):
            assert b"127.0.0.1\r\n" not in message.partition(b"\r\n\r\n")[2]
            assert b"127.0.0.2\r\n" not in message.partition(b"\r\n\r\n")[2]
        near.peer, far.peer = ("127.0.0.1", near.peer[1]), ("127.0.0.2", far.peer[1])
        await talk(near, far)
        await hang_up(calling, bob)


async def test_datagrams_of_a_profile_that_the_policy_names_are_relayed(tmp_path: Path) -> None:
    def described(rtp: Rtp) -> bytes:
        return rtp.sdp().replace(b"m=audio", b"m=application").replace(b"RTP/AVP 0", b"UDP/BFCP *")

    async with (
        bob_and_edge(tmp_path, media='unknown_profiles = ["UDP/BFCP"]') as (bob, app),
        await caller(app) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling = alice.dialog(f"sip:100@{at(app, 'public-udp')}")
        await calling.send("INVITE", described(near))
        invite = await bob.request("INVITE")
        assert str(parse_session(invite.body).media[0].protocol) == "UDP/BFCP"
        far.aim(invite)
        called = bob.taken(invite)
        await called.answer(invite, 200, described(far), ("Content-Type: application/sdp",))
        answered = await alice.response(200)
        near.aim(answered)
        calling.learn(answered)
        await calling.send("ACK")
        await bob.request("ACK")
        hello = b"\x20\x0b\0\0" + bytes(8)  # the head of BFCP has version 1 (RFC 8855 section 5.1)
        for _ in range(5):
            for one, other in ((near, far), (far, near)):
                assert one.peer is not None
                await one._sock.sendto(hello, one.peer)
                assert await other.receive() == hello
        await hang_up(calling, bob)


async def test_why_tells_the_side_that_is_not_heard_while_the_call_goes_on(tmp_path: Path) -> None:
    async with (
        bob_and_edge(tmp_path, media="timeout = 5") as (bob, app),
        await caller(app) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)

        def told() -> list[str]:
            decisions = app.why(calling.call_id).decisions
            return [decision["detail"] for decision in decisions if decision["reason"] == "one-way-media"]

        with trio.fail_after(30):
            while not told():
                await near.send()
                with trio.move_on_after(0.05):
                    await far.receive()
        assert told() == ["no packets from the callee for 2.5 s, the other side sends"]
        assert app.edge.calls == 1
        await talk(near, far)
        await hang_up(called, alice)
