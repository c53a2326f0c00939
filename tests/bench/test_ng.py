"""The commands of the benchmark, and the media process that answers them."""

import pytest
import trio
from support.containment import unfailing

from bench import media_process, ng
from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Answer, Offer
from edgesbc.media.plane import MediaPlane


def test_dictionaries_become_media_commands():
    offer = ng.offer("c1", "a", "v=0\r\n", ("public", "core"))
    assert ng.read_command(offer) == Offer("c1", "a", "", b"v=0\r\n", Zone.PUBLIC, Zone.CORE)
    assert ng.read_command(ng.answer("c1", "a", "b", "v=0\r\n")) == Answer("c1", "a", "b", b"v=0\r\n")
    for invalid in (
        {},
        {"command": "delete", "sdp": ""},
        offer | {"direction": ["public", "x"]},
        offer | {"sdp": 7},
    ):
        with pytest.raises(WireError):
            ng.read_command(invalid)


async def test_the_media_process_replies_by_ng():
    plane = MediaPlane(dict.fromkeys(Zone, "127.0.0.1"), (20500, 20599), containment=unfailing())
    sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.5\r\ns=-\r\nc=IN IP4 127.0.0.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    assert media_process.carry_out(plane, ng.ping()) == {"result": "pong"}
    assert media_process.carry_out(plane, {"command": "explode"})["result"] == "error"
    async with trio.open_nursery() as nursery:
        await nursery.start(plane.run)
        reply = media_process.carry_out(plane, ng.offer("c1", "a", sdp, ("public", "core")))
        assert reply["result"] == "ok"
        assert b"c=IN IP4 127.0.0.1\r\n" in reply["sdp"]
        assert media_process.carry_out(plane, ng.answer("c1", "x", "b", sdp))["result"] == "error"
        nursery.cancel_scope.cancel()
