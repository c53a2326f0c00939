"""A phone that has registered over UDP calls as before when the edge was started again, also after SIGKILL."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
import trio
from support.registrar import Registrar, credentials
from support.running import CORE_UDP, edge_process, free_port, listen, policy_text, until
from support.ua import Ua, UdpWire

from edgesbc.store.proven_flows import FILE


def stored(folder: Path) -> int:
    """The number of registrations in the file."""
    file = folder / "state" / FILE
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM registered").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # it is being made


async def register(alice: Ua, edge: str) -> None:
    dialog = alice.dialog(f"sip:{edge}")
    dialog.remote = f"<sip:alice@{edge}>"
    await dialog.send("REGISTER", extra=("Expires: 600",))
    challenge = (await alice.response(401)).get("WWW-Authenticate") or ""
    await dialog.send("REGISTER", extra=("Expires: 600", credentials("alice", "secret", challenge)))
    await alice.response(200)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_registered_phone_calls_at_once_after_a_restart(tmp_path: Path, number: int) -> None:
    http, port = free_port(), free_port()
    edge = f"127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.11"), "pbx"))
        alice = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.21", peer=("127.0.0.1", port))))
        other = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.22", peer=("127.0.0.1", port))))
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(Registrar(server, {"alice": "secret"}).run)
        listeners = (listen("public", "udp", edge, "public-udp"), CORE_UDP)
        text = policy_text(
            tmp_path, [f"sip:{server.address}"], listeners, http=f"127.0.0.1:{http}", open=(), edge="grace = 0"
        )
        async with edge_process(tmp_path, text, http) as running_edge:
            await register(alice, edge)
            if number == signal.SIGKILL:
                await until(lambda: stored(tmp_path) == 1)
            running_edge.signal(number)
            await running_edge.ended()
        assert stored(tmp_path) == 1
        async with edge_process(tmp_path, text, http) as running_edge:
            await alice.dialog(f"sip:100@{edge}").send("INVITE")
            await alice.response(486)
            await other.dialog(f"sip:100@{edge}").send("INVITE")
            await running_edge.comes_to('edgesbc_decisions_total{reason="admission"}', 1)
        nursery.cancel_scope.cancel()
