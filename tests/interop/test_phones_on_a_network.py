"""Phones of PJSIP and Linphone, a real edge and a real Kamailio, each with a network and an address of its own: on
loopback, many rules about addresses do not hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.linphone import Linphone, linphone
from support.namespaces import address, ip, namespaces, needs_namespaces, veth
from support.peers import needs
from support.phones import kamailio, needs_phones, phone
from support.running import EdgeProcess, edge_process, listen, policy_text

pytestmark = [needs_namespaces, needs_phones(), needs("linphone-daemon")]
EDGE, CORE, PROXY = "203.0.113.5", "10.20.0.1", "10.20.0.11"
PHONES = {"alice": "203.0.113.21", "bob": "203.0.113.22", "carol": "203.0.113.23"}


@pytest.fixture
def network() -> Iterator[dict[str, str]]:
    """A namespace for the edge with a bridge to those of the phones, and one for the proxy."""
    with namespaces("edge", "proxy", *PHONES) as found:
        edge = found["edge"]
        ip("-n", edge, "link", "add", "public", "type", "bridge")
        ip("-n", edge, "link", "set", "public", "up")
        address(edge, "public", f"{EDGE}/24")
        for name, host in PHONES.items():
            veth(edge, name, found[name], "eth0")
            ip("-n", edge, "link", "set", name, "master", "public")
            address(found[name], "eth0", f"{host}/24")
        veth(edge, "core", found["proxy"], "eth0")
        address(edge, "core", f"{CORE}/24")
        address(found["proxy"], "eth0", f"{PROXY}/24")
        yield found


@asynccontextmanager
async def edge_and_proxy(folder: Path, network: dict[str, str]) -> AsyncIterator[EdgeProcess]:
    listeners = [listen("public", "udp", f"{EDGE}:5060", "phones"), listen("core", "udp", f"{CORE}:5060", "inside")]
    async with kamailio(folder, PROXY, network["proxy"]) as inside:
        text = policy_text(folder, [inside], listeners, http="127.0.0.1:9100", edge="grace = 0")
        async with edge_process(folder, text, 9100, namespace=network["edge"]) as edge:
            yield edge


async def no_call_is_left(edge: EdgeProcess) -> None:
    await edge.comes_to("edgesbc_calls", 0, 0)
    assert await edge.metric("edgesbc_media_sessions") == 0


def uri(user: str) -> str:
    return f"sip:{user}@{EDGE}"


async def test_two_phones_hear_each_other_by_a_proxy_that_sends_the_call_out_again(
    tmp_path: Path, network: dict[str, str]
) -> None:
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(edge_and_proxy(tmp_path, network))
        alice, bob = [
            await stack.enter_async_context(phone(tmp_path, name, name, PHONES[name], f"{EDGE}:5060", network[name]))
            for name in ("alice", "bob")
        ]
        await alice.tell("call", uri("bob"))
        await bob.says("incoming 0")
        await bob.tell("answer", 0)
        await alice.says("call 0 CONFIRMED")
        await alice.hears(0)
        await bob.hears(0)
        await bob.tell("hangup", 0)
        await alice.says("call 0 DISCONNECTED 200")
        await no_call_is_left(edge)


async def is_up(caller: Linphone, callee: Linphone, user: str, numbers: tuple[int, int]) -> None:
    """Make a call, which has these numbers."""
    assert await caller.call(uri(user)) == numbers[0]
    await callee.comes_to(numbers[1], "IncomingReceived")
    await callee.do("answer", numbers[1])
    await caller.comes_to(numbers[0], "StreamsRunning")
    await callee.comes_to(numbers[1], "StreamsRunning")


async def test_phones_of_linphone_hold_a_call_and_transfer_it_to_a_second_one(
    tmp_path: Path, network: dict[str, str]
) -> None:
    """The transferor names the target by its address of record, with Replaces (RFC 5589 section 7)."""
    async with AsyncExitStack() as stack:
        edge = await stack.enter_async_context(edge_and_proxy(tmp_path, network))
        alice, bob, carol = phones = [
            await stack.enter_async_context(linphone(tmp_path, name, f"{EDGE}:5060", network[name])) for name in PHONES
        ]
        await is_up(alice, bob, "bob", (1, 1))
        await bob.do("call-pause", 1)
        await bob.comes_to(1, "Paused")
        await alice.comes_to(1, "PausedByRemote")
        await bob.do("call-resume", 1)
        await alice.comes_to(1, "StreamsRunning")
        await bob.comes_to(1, "StreamsRunning")
        await alice.do("call-pause", 1)
        await alice.comes_to(1, "Paused")
        await bob.comes_to(1, "PausedByRemote")
        await is_up(alice, carol, "carol", (2, 1))
        await alice.do("call-transfer", 1, 2)
        for phone_of_call, number in ((alice, 1), (alice, 2), (bob, 1), (carol, 1)):
            await phone_of_call.ends(number)
        await bob.comes_to(2, "StreamsRunning")
        await carol.comes_to(2, "StreamsRunning")
        await carol.do("terminate", 2)
        await bob.ends(2)
        await no_call_is_left(edge)
        for each in phones:
            assert EDGE in each.shown()
            assert not [host for host in (CORE, PROXY) if host in each.shown()]
