"""THREATS 31: methods that the policy does not list, from untrusted peers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.running import at, nothing_left, running
from support.stream_listeners import WS, text
from support.ua import StreamWire, Ua, UdpWire, WebSocketWire, Wire

from edgesbc.app import App
from edgesbc.screen.stages.method import CALLS

UNLISTED = ("MESSAGE", "SUBSCRIBE", "PUBLISH", "GET", "KDMQ", "X", "invite", "REGISTER2", "!%*_+`'~")


async def opened(transport: str, app: App, nursery: trio.Nursery) -> Wire:
    if transport == "udp":
        return await UdpWire.open(peer=at(app, "public-udp"))
    if transport == "tcp":
        return await StreamWire.open(at(app, "public-tcp"))
    return await WebSocketWire.open(nursery, at(app, "ws"))


@pytest.mark.parametrize("transport", ["udp", "tcp", "ws"])
async def test_31_methods_that_are_not_listed_get_405_with_the_listed_ones(tmp_path: Path, transport: str) -> None:
    """Both outside a dialog and with a To tag; no such request reaches a destination or takes state."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, WS, member=f"sip:{bob.address}")) as app,
        trio.open_nursery() as nursery,
    ):
        async with Ua(await opened(transport, app, nursery)) as caller:
            for method in UNLISTED:
                for tag in ("", ";tag=x"):
                    dialog = caller.dialog(f"sip:100@{at(app, 'public-udp')}")
                    dialog.remote += tag
                    await dialog.send(method)
                    answer = await caller.response(405)
                    assert answer.get("Allow") == ", ".join(CALLS)
            await caller.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            assert (await caller.response(200)).get("Allow") == ", ".join(CALLS)
            assert await bob.silent()
            assert app.edge.idle
            assert {method for _, method in app.edge.counters.requests} <= {*UNLISTED[:3], "OPTIONS", "other"}
        nursery.cancel_scope.cancel()


async def test_31_a_method_that_the_policy_adds_is_forwarded(tmp_path: Path) -> None:
    methods = ", ".join(f'"{method}"' for method in (*CALLS, "MESSAGE"))
    more = f"[screen.method]\npublic = [{methods}]"
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", more=more)) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as caller,
    ):
        uri = f"sip:100@{at(app, 'public-udp')}"
        await caller.dialog(uri).send("MESSAGE", b"hello", ("Content-Type: text/plain",))
        message = await bob.request("MESSAGE")
        assert message.body == b"hello"
        await bob.answer(message, 202)
        await caller.response(202)
        await caller.dialog(uri).send("SUBSCRIBE")
        await caller.response(405)
        assert await bob.silent(0.05)
        await nothing_left(app)
