"""THREATS 26: fields that are too large or too many. tests/sip/test_bounds.py tests each bound to the last octet, and
test_smuggling.py repeated fields."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from support.running import at, nothing_left, running
from support.stream_listeners import text
from support.ua import StreamWire, Ua, UdpWire, Wire

from edgesbc.app import App
from edgesbc.base import limits

LONG = "x" * limits.HEADER_FIELD_BYTES
LARGE: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "a long field": ((f"Subject: {LONG}",), (513,)),
    "a long folded field": (("Subject: a" + ("\r\n " + "x" * 1000) * 9,), (513,)),
    "a long name": ((f"{LONG}: x",), (513,)),
    "many fields": (tuple(f"X-{n}: a" for n in range(limits.HEADER_FIELDS)), (513,)),
    "many values of one field": (("Route: " + ",".join(["<sip:a;lr>"] * (limits.HEADER_FIELDS + 1)),), (400, 513)),
    "many Via": (tuple(f"Via: SIP/2.0/UDP a;branch=z9hG4bK{n}" for n in range(limits.VIA_HOPS)), (483,)),
    "many parameters": (("Contact: <sip:a@b>" + "".join(f";p{n}" for n in range(limits.PARAMETERS + 1)),), (513,)),
    "a large header block": (tuple(f"X-{n}: {LONG[:8000]}" for n in range(5)), (513,)),
    "a long Contact": ((f"Contact: <sip:a@b;x={LONG[: limits.TARGET_BYTES]}>",), (400, 513)),
    "a long route set": (tuple(f"Record-Route: <sip:{n};lr>" for n in range(limits.ROUTE_SET + 1)), (400, 513)),
    "a large Content-Length": (("Content-Length: 65535",), (400, 413)),
    "a large Max-Forwards": (("Max-Forwards: 256",), (400,)),
    "a large CSeq": (("CSeq: 4294967296 INVITE",), (400,)),
    "a long Expires": (("Content-Length: " + "0" * 100,), (400,)),
}


async def opened(transport: str, app: App) -> Wire:
    peer = at(app, f"public-{transport}")
    return await (UdpWire.open(peer=peer) if transport == "udp" else StreamWire.open(peer))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_26_too_large_or_too_many_fields_are_refused_and_not_forwarded(tmp_path: Path, transport: str) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
    ):
        uri = f"sip:100@{at(app, f'public-{transport}')}"
        for name, (fields, statuses) in LARGE.items():
            async with Ua(await opened(transport, app)) as alice:
                invite = alice.dialog(uri).build("INVITE").decode()
                replaced = {field.partition(":")[0] for field in fields}
                lines = [line for line in invite.split("\r\n") if line.partition(":")[0] not in replaced - {"Via"}]
                lines[-2:-2] = fields
                await alice.wire.send("\r\n".join(lines).encode())
                with trio.fail_after(10):
                    answer = await alice.wire.receive()
                assert answer.startswith(tuple(b"SIP/2.0 %d " % status for status in statuses)), f"{name}: {answer!r}"
        async with Ua(await opened(transport, app)) as alice:
            long = alice.dialog(f"sip:{'1' * limits.START_LINE_BYTES}@edge").build("INVITE")
            await alice.wire.send(long)
            await alice.response(414)
        assert await bob.silent()
        assert app.edge.idle
        await nothing_left(app)
