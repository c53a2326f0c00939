"""An edge that stops, with connections open."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from support.running import at, policy_text, running, until
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.base.address import Flow, Source
from edgesbc.signalling.effects import Open


async def test_an_edge_that_stops_connects_to_nobody(tmp_path: Path) -> None:
    """It closes a trunk's connection, whose request waits for its answer: there will be none."""
    with socket.create_server(("127.0.0.5", 0)) as trunk:
        trunk.setblocking(False)
        via = b"\\g<1>%d" % trunk.getsockname()[1]
        async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob:
            text = policy_text(tmp_path, [f"sip:{bob.address}"], trunks=["127.0.0.5"])
            async with (
                running(tmp_path, text) as app,
                Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.5")) as ua,
            ):
                invite = ua.dialog(f"sip:100@{at(app, 'public-tcp')}").build("INVITE")
                await ua.wire.send(re.sub(rb"(TCP 127.0.0.5:)\d+", via, invite))
                await until(lambda: app.edge.calls == 1)
                app.cancel()
                await app.ended.wait()
                assert not app.plane.connections
        with pytest.raises(BlockingIOError):
            trunk.accept()


async def test_a_connection_that_is_asked_for_after_the_end_raises_nothing(tmp_path: Path) -> None:
    """The media plane ends after the signalling plane, and may report a silent call to it."""
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        app.cancel()
        await app.ended.wait()
        listener = next(listener for listener in app.listeners if listener.name == "public-tcp")
        app.plane.carry_out([Open(Flow(listener, Source("127.0.0.5", 9), 1_000), "")])
        assert not app.plane.connections
