"""Connections to destinations that fail before they are open: each is counted and recorded once."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import pytest
import trio
import trio.testing
from support.running import PUBLIC_UDP, at, listen, nothing_left, policy_text, running, until
from support.ua import Ua, UdpWire

from edgesbc.app import App
from edgesbc.base.reasons import Reason
from edgesbc.signalling.effects import Close


@asynccontextmanager
async def edge_and_destination(tmp_path: Path, certificates) -> AsyncIterator[tuple[App, socket.socket]]:
    """An edge whose only destination is this listening socket, over TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        uri = f"sip:127.0.0.1:{listening.getsockname()[1]};transport=tls"
        files = f', certificate = "{certificates.folder}", client_ca = "{certificates.ca_file}"'
        inside = listen("core", "tls", "127.0.0.1:0", "core-tls", files)
        text = policy_text(tmp_path, [uri], [PUBLIC_UDP, inside], open=["public-udp"])
        async with running(tmp_path, text) as app:
            yield app, listening


async def refused(app: App, listening: socket.socket, during: AbstractContextManager[None] | None = None) -> None:
    """A request that opens the connection gets 503, and the reason is recorded."""
    async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
        with during or nullcontext():
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("REGISTER")
            await alice.response(503)
    assert app.plane.counts["core-tls", "connect-failed"] == 1
    assert ("core-tls", "internal") not in app.plane.counts
    decisions = app.why(f"127.0.0.1:{listening.getsockname()[1]}").decisions
    assert [entry["reason"] for entry in decisions].count(Reason.FLOW_GONE.code) == 1
    await nothing_left(app)


@pytest.mark.parametrize("reset", [True, False])
async def test_the_destination_ends_the_connection_in_the_handshake(tmp_path: Path, certificates, reset: bool) -> None:
    async with edge_and_destination(tmp_path, certificates) as (app, listening), trio.open_nursery() as nursery:
        nursery.start_soon(end_handshake, listening, reset)
        await refused(app, listening)


async def end_handshake(listening: socket.socket, reset: bool) -> None:
    """Accept a connection, and end it after its first bytes."""
    await trio.lowlevel.wait_readable(listening)
    with listening.accept()[0] as accepted:
        await trio.lowlevel.wait_readable(accepted)
        accepted.recv(10_000)
        if reset:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_a_connection_that_is_being_opened_can_be_closed_at_once(tmp_path: Path, certificates) -> None:
    """Its destination does not accept. Before, the edge looked at the closing after ``limits.CONNECT_SECONDS`` only."""
    async with edge_and_destination(tmp_path, certificates) as (app, listening), trio.open_nursery() as nursery:
        listening.listen(0)
        filled = [socket.socket() for _ in range(2)]
        for sock in filled:
            sock.setblocking(False)
            sock.connect_ex(listening.getsockname())
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
            nursery.start_soon(alice.dialog(f"sip:100@{at(app, 'public-udp')}").send, "REGISTER")
            await until(lambda: bool(app.plane.connections))
            (connection,) = app.plane.connections.values()
            await trio.testing.wait_all_tasks_blocked()
            assert connection.flow is not None
            app.plane.carry_out([Close(connection.flow)])
            await trio.testing.wait_all_tasks_blocked()
            assert not app.plane.connections
            await alice.response(503)
        assert ("core-tls", "connect-failed") not in app.plane.counts, "the edge did not want it any more"
        await nothing_left(app)
        for sock in filled:
            sock.close()


async def test_the_process_has_no_descriptor_left(tmp_path: Path, certificates) -> None:
    async with edge_and_destination(tmp_path, certificates) as (app, listening):
        await refused(app, listening, no_descriptor_left())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    unused = os.dup(0)
    os.close(unused)
    resource.setrlimit(resource.RLIMIT_NOFILE, (unused, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
