"""Real phones of users that a real Kamailio forks to, and that transfer calls to each other, all by a real edge."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from support.phones import Phone, kamailio, needs_phones, phone
from support.running import EdgeProcess, edge_process, free_port, listen, policy_text

pytestmark = needs_phones()
HOSTS = {"alice": "127.0.0.21", "bob": "127.0.0.22", "bob's other": "127.0.0.23", "carol": "127.0.0.24"}
INSIDE = ("127.0.0.11", "127.0.0.2:")


class House:
    """An edge before Kamailio, and phones; ``uri`` is the URI of a user for them."""

    def __init__(self, edge: EdgeProcess, address: str, phones: dict[str, Phone]) -> None:
        self.edge = edge
        self.phones = phones
        self._address = address

    def uri(self, user: str) -> str:
        return f"sip:{user}@{self._address}"

    async def call(self, caller: Phone, callee: Phone, user: str, number: int = 0) -> None:
        """A call, the caller's of that number, that is up."""
        await caller.tell("call", self.uri(user))
        await callee.says("incoming 0")
        await callee.tell("answer", 0)
        await caller.says(f"call {number} CONFIRMED")
        await callee.says("call 0 CONFIRMED")

    async def ends(self) -> None:
        """All calls have ended, and nothing of the private side was shown."""
        await self.edge.comes_to("edgesbc_calls", 0, 0)
        assert await self.edge.metric("edgesbc_destination_calls") == 0
        assert await self.edge.metric("edgesbc_media_sessions") == 0
        for one in self.phones.values():
            shown = "\n".join(one.messages())
            assert "REGISTER" in shown
            assert not [host for host in INSIDE if host in shown]


@asynccontextmanager
async def house(folder: Path, *names: str) -> AsyncIterator[House]:
    address, http = f"127.0.0.1:{free_port()}", free_port()
    listeners = [listen("public", "udp", address, "phones"), listen("core", "udp", "127.0.0.2:0", "inside")]
    async with AsyncExitStack() as stack:
        inside = await stack.enter_async_context(kamailio(folder, "127.0.0.11"))
        text = policy_text(folder, [inside], listeners, http=f"127.0.0.1:{http}", edge="grace = 0")
        edge = await stack.enter_async_context(edge_process(folder, text, http))
        phones = {}
        for name in names:
            user = name.partition("'")[0]
            phones[name] = await stack.enter_async_context(phone(folder, name, user, HOSTS[name], address))
        yield House(edge, address, phones)


def field(message: str, name: str) -> str:
    return re.search(rf"^{name}: (.*)$", message, re.MULTILINE)[1].strip()  # type: ignore[index]


def tag(message: str, name: str) -> str:
    return re.search(r";tag=([^;\s]+)", field(message, name))[1]  # type: ignore[index]


@pytest.mark.parametrize("answering", ["bob", "bob's other"])
async def test_all_phones_of_a_user_ring_and_the_others_stop_when_one_answers(tmp_path: Path, answering: str) -> None:
    async with house(tmp_path, "alice", "bob", "bob's other") as inside:
        alice, (other,) = inside.phones["alice"], {"bob", "bob's other"} - {answering}
        await alice.tell("call", inside.uri("bob"))
        for name in ("bob", "bob's other"):
            await inside.phones[name].says("incoming 0")
        await alice.says("call 0 EARLY 180")
        assert await inside.edge.metric("edgesbc_calls") == 3  # one inward, two outward
        await inside.phones[answering].tell("answer", 0)
        await alice.says("call 0 CONFIRMED")
        await inside.phones[other].says("call 0 DISCONNECTED 487")
        cancel = await inside.phones[other].gets("CANCEL")
        assert 'text="Call completed elsewhere"' in field(cancel, "Reason")
        await inside.phones[answering].tell("hangup", 0)
        await alice.says("call 0 DISCONNECTED 200")
        await inside.ends()


async def test_a_blind_transfer(tmp_path: Path) -> None:
    async with house(tmp_path, "alice", "bob", "carol") as inside:
        alice, bob, carol = inside.phones.values()
        await inside.call(alice, bob, "bob")
        await alice.tell("transfer", 0, inside.uri("carol"))
        await carol.says("incoming 0")
        await carol.tell("answer", 0)
        await carol.says("call 0 CONFIRMED")
        await alice.gets("NOTIFY")
        await alice.tell("hangup", 0)
        await bob.says("call 0 DISCONNECTED 200")
        await carol.tell("hangup", 0)
        await inside.ends()


@pytest.mark.parametrize("named_by", ["address of record", "Contact"])
async def test_an_attended_transfer(tmp_path: Path, named_by: str) -> None:
    """RFC 5589 section 7: PJSIP names the target by its address of record; other phones do so by its Contact."""
    async with house(tmp_path, "alice", "bob", "carol") as inside:
        alice, bob, carol = inside.phones.values()
        await inside.call(alice, bob, "bob")
        await inside.call(alice, carol, "carol", 1)
        if named_by == "Contact":
            ok = await alice.gets("SIP/2.0 200", "INVITE\n", "\nTo: <sip:carol@")
            contact = field(ok, "Contact").strip("<>")
            tags = f"%3Bto-tag%3D{tag(ok, 'To')}%3Bfrom-tag%3D{tag(ok, 'From')}"
            await alice.tell("transfer", 0, f"<{contact}?Replaces={field(ok, 'Call-ID')}{tags}>")
        else:
            await alice.tell("attended", 0, 1)
        await carol.says("call 1 CONFIRMED")  # the new one, which replaces the first without ringing
        await carol.says("call 0 DISCONNECTED")
        await alice.says("call 1 DISCONNECTED")
        refer = await bob.gets("REFER")
        assert "Replaces=" in field(refer, "Refer-To")
        await alice.tell("hangup", 0)
        await bob.says("call 0 DISCONNECTED 200")
        await carol.tell("hangup", 1)
        await bob.says("call 1 DISCONNECTED 200")
        await inside.ends()
