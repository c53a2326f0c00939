"""THREATS 24: requests that come back to the edge."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.running import at, free_port, listen, nothing_left, policy_text, running
from support.ua import Ua, UdpWire

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy.load import parse_policy


def edge_text(folder: Path, number: int, port: int, other: int) -> str:
    """A policy whose only destination is the public listener of the other edge."""
    listeners = [
        listen("public", "udp", f"127.0.0.{number}:{port}", "public-udp"),
        listen("core", "udp", f"127.0.1.{number}:0", "core-udp"),
    ]
    return policy_text(folder, [f"sip:127.0.0.{5 - number}:{other}"], listeners, open=["public"])


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "INFO"])
async def test_24_two_edges_that_lead_to_each_other_forward_a_request_once_each(tmp_path: Path, method: str) -> None:
    """The first edge finds its own mark in the request that comes back, and answers 482."""
    one, two = free_port("127.0.0.2"), free_port("127.0.0.3")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with (
        running(tmp_path / "a", edge_text(tmp_path / "a", 2, one, two)) as first,
        running(tmp_path / "b", edge_text(tmp_path / "b", 3, two, one)) as second,
        Ua(await UdpWire.open(peer=at(first, "public-udp"))) as alice,
    ):
        dialog = alice.dialog(f"sip:100@{at(first, 'public-udp')}")
        await dialog.send(method)
        await alice.response(482)
        if method == "INVITE":
            await dialog.send("ACK")
        assert first.edge.counters.requests["public-udp", method] == 2
        assert second.edge.counters.requests["public-udp", method] == 1
        await nothing_left(first)
        await nothing_left(second)


@pytest.mark.parametrize("method", ["REGISTER", "INFO"])
async def test_24_a_request_that_a_proxy_sends_back_gets_482(tmp_path: Path, method: str) -> None:
    """It has the edge's Via below that of the proxy, and in that the mark of the edge."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public"])) as app,
        Ua(await UdpWire.open("127.0.0.11", peer=at(app, "public-udp"))) as proxy,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        uri = f"sip:100@{at(app, 'public-udp')}"
        await alice.dialog(uri).send(method)
        request = await bob.request(method)
        _, _, rest = bob.heard[-1].partition(b"\r\n")
        via = f"Via: SIP/2.0/UDP {proxy.address};branch=z9hG4bKproxy;rport"
        await proxy.wire.send(f"{method} {uri} SIP/2.0\r\n{via}\r\n".encode() + rest)
        await proxy.response(482)
        await bob.answer(request, 500, tag="b")
        await alice.response(500)
        assert await bob.silent(0.05), "forwarded once"
        await nothing_left(app)


def test_24_a_destination_that_is_a_listener_of_the_edge_itself_is_refused(tmp_path: Path) -> None:
    listeners = [
        listen("public", "udp", "127.0.0.1:5070", "public-udp"), listen("core", "udp", "127.0.0.2:5070", "core-udp"),
    ]  # fmt: skip
    with pytest.raises(PolicyErrors, match="calls would go round"):
        parse_policy(policy_text(tmp_path, ["sip:127.0.0.1:5070"], listeners), "policy.toml")


async def test_24_a_server_that_sends_a_call_back_without_its_via_gets_482(tmp_path: Path) -> None:
    """The request has lost the marks with the Via, and Max-Forwards is as before each time: it ends at the bound of
    calls with one Call-ID and From tag."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.11"], open=["public"])) as app,
        Ua(await UdpWire.open("127.0.0.11", peer=at(app, "public-udp"))) as mirror,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
        invites = [await bob.request("INVITE")]
        first = bob.heard[-1].decode().split("\r\n")
        for number in range(limits.CALLS_PER_CALL_ID + 1):
            via = f"Via: SIP/2.0/UDP {mirror.address};branch=z9hG4bKmirror{number};rport"
            await mirror.wire.send("\r\n".join(via if line.startswith("Via:") else line for line in first).encode())
            if number < limits.CALLS_PER_CALL_ID:
                invites.append(await bob.request("INVITE"))
        await mirror.response(482)
        assert app.edge.calls == len(invites) == 1 + limits.CALLS_PER_CALL_ID
        for invite in invites:
            await bob.answer(invite, 486, tag="b")
            await bob.request("ACK")
        await alice.response(486)
        await nothing_left(app)


HOPS = 20


async def test_24_a_loop_of_new_calls_ends_when_max_forwards_is_used_up(tmp_path: Path) -> None:
    """A server sends a new call for each one that it gets, and keeps only Max-Forwards: 483 after that many rounds."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.11"])) as app,
        Ua(await UdpWire.open("127.0.0.11", peer=at(app, "public-udp"))) as mirror,
    ):
        uri, rounds, invites = f"sip:100@{at(app, 'public-udp')}", 0, []
        hops: int | None = HOPS
        while hops is not None:
            data = mirror.dialog(uri).build("INVITE")
            await mirror.wire.send(data.replace(b"Max-Forwards: 70", b"Max-Forwards: %d" % hops))
            if hops == 0:
                await mirror.response(483)
                break
            rounds += 1
            invites.append(await bob.request("INVITE"))
            hops = invites[-1].max_forwards
        assert rounds == HOPS
        for invite in invites:
            await bob.answer(invite, 483, tag="b")
        assert app.edge.counters.requests["public-udp", "INVITE"] == HOPS + 1
        await nothing_left(app)
