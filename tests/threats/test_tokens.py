"""THREATS 30: tokens of the edge that are modified, invented, or used by others than those they were made for."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from support.running import at, nothing_left, running
from support.stream_listeners import text
from support.ua import Dialog, Rtp, Ua, UdpWire, hang_up, set_up

from edgesbc.sip.message import Request, Response
from edgesbc.sip.uri import parse_uri

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def token_of(dialog: Dialog) -> str:
    user = parse_uri(dialog.target).user
    assert user is not None
    return user


def flipped(token: str, at_letter: int, bit: int) -> str:
    """The token with one bit of a letter inverted. Not for the last letter, which has unused bits."""
    letter = ALPHABET[ALPHABET.index(token[at_letter]) ^ (1 << bit)]
    return token[:at_letter] + letter + token[at_letter + 1 :]


def stolen(dialog: Dialog, ua: Ua) -> Dialog:
    """The same dialog, in the hands of another user agent."""
    copy = Dialog(ua, dialog.local, dialog.remote, dialog.call_id, dialog.target)
    copy.tag = dialog.tag
    return copy


async def refused(asking: Dialog, ua: Ua, method: str, uri: str) -> None:
    await asking.send(method, uri=uri)
    answer = await ua.hear()
    assert isinstance(answer, Response)
    assert answer.status in (403, 481), f"{method} {uri}: {answer}"


@pytest.mark.parametrize("caller_tries", [True, False], ids=["from outside", "from inside"])
async def test_30_a_request_with_one_bit_of_its_token_changed_is_not_forwarded(
    tmp_path: Path, caller_tries: bool
) -> None:
    """One bit in each letter of the token, in a BYE. It gets 481 or 403, the other side gets nothing, and the call goes
    on."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        trying, ua, other = (calling, alice, bob) if caller_tries else (called, bob, alice)
        token, messages_before = token_of(trying), len(other.heard)
        for letter in range(len(token) - 1):
            changed = flipped(token, letter, letter % 6)
            await refused(trying, ua, "BYE", trying.target.replace(token, changed))
        for cut in (token[:-1], token[1:], token + "A", token[:60], token.swapcase(), token[::-1]):
            await refused(trying, ua, "BYE", trying.target.replace(token, cut))
        for method in ("INVITE", "INFO", "UPDATE", "REFER", "ACK"):
            if method == "ACK":
                await trying.send("ACK", uri=trying.target.replace(token, flipped(token, 3, 0)))
            else:
                await refused(trying, ua, method, trying.target.replace(token, flipped(token, 3, 0)))
        assert await other.silent()
        assert len(other.heard) == messages_before
        assert app.edge.calls == 1
        await hang_up(calling, bob)
        await nothing_left(app)


async def test_30_a_token_of_one_side_is_refused_on_the_other(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, called = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        theirs = calling.target.replace(token_of(calling), token_of(called))
        await refused(calling, alice, "BYE", theirs)
        ours = called.target.replace(token_of(called), token_of(calling))
        await refused(called, bob, "BYE", ours)
        assert await bob.silent(0.05)
        assert await alice.silent(0.05)
        assert app.edge.calls == 1
        await hang_up(calling, bob)
        await nothing_left(app)


async def test_30_a_forged_token_is_not_routed(tmp_path: Path) -> None:
    """As Request-URI of a request inside a dialog, and as Route of one that begins a dialog."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        Ua(await UdpWire.open("127.0.0.77")) as victim,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        Ua(await UdpWire.open("127.0.0.11", peer=at(app, "core-udp"))) as pbx,
    ):
        for size in (20, 64, 200, 600):
            made_up = "".join(secrets.choice(ALPHABET) for _ in range(size))
            for ua, listener in ((alice, "public-udp"), (pbx, "core-udp")):
                inside = ua.dialog(f"sip:{made_up}@{at(app, listener)}")
                inside.remote += ";tag=x"
                await refused(inside, ua, "BYE", inside.target)
        outward = pbx.dialog(f"sip:100@{victim.address}")
        outward.routes = (f"<sip:{'A' * 200}@{at(app, 'core-udp')};lr>",)
        await outward.send("INVITE")
        answer = await pbx.hear()
        assert isinstance(answer, Response)
        assert answer.status in (403, 404, 480, 481)
        assert await victim.silent(0.05)
        assert await bob.silent(0.05)
        assert app.edge.idle


async def test_30_a_token_of_another_peer_is_refused(tmp_path: Path) -> None:
    """Somebody who has seen all messages of a call, from an address of their own: nothing is forwarded."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as mallory,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        messages_before = len(bob.heard)
        theirs = stolen(calling, mallory)
        for method in ("BYE", "INFO", "UPDATE", "REFER", "INVITE", "OPTIONS"):
            await refused(theirs, mallory, method, theirs.target)
        await theirs.send("ACK", uri=theirs.target)
        assert await bob.silent()
        assert await alice.silent(0.05)
        assert len(bob.heard) == messages_before
        assert app.edge.calls == 1
        await hang_up(calling, bob)
        await nothing_left(app)


async def test_30_a_token_in_a_new_call_of_a_stranger_reaches_nobody(tmp_path: Path) -> None:
    """Where anybody may call, the private servers are reached by the routes of the policy alone."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"], open=["public"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        Ua(await UdpWire.open("127.0.0.66", peer=at(app, "public-udp"))) as mallory,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await refused(mallory.dialog(calling.target), mallory, "INVITE", calling.target)
        assert await bob.silent(0.05)
        assert app.edge.calls == 1
        await hang_up(calling, bob)
        await nothing_left(app)


async def test_30_a_token_is_refused_in_another_dialog_and_after_the_end_of_its_own(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        for other in (alice.dialog(calling.target), stolen(calling, alice)):
            other.remote = f"{other.remote.partition(';tag=')[0]};tag=other"
            for method in ("BYE", "INFO", "REFER"):
                await refused(other, alice, method, calling.target)
        assert await bob.silent(0.05)
        assert app.edge.calls == 1
        await hang_up(calling, bob)
        await nothing_left(app)
        await refused(calling, alice, "INVITE", calling.target)
        assert await bob.silent(0.05)


async def test_30_a_register_with_the_token_and_the_tags_of_a_call_is_no_request_of_the_call(tmp_path: Path) -> None:
    """It goes to the registrar, by the checks of any REGISTER, and not to the peer of the call."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        calling, _ = await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        await calling.send("REGISTER", uri=calling.target)
        inward = await bob.hear()
        assert isinstance(inward, Request)
        assert inward.method == "REGISTER"
        assert inward.get("Path")
        await bob.answer(inward, 403)
        await alice.response(403, "REGISTER")
        await hang_up(calling, bob)
