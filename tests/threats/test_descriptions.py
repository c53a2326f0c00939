"""THREATS 9 and 27: unusable session descriptions of untrusted peers are refused, and leave no port or call."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.running import at, nothing_left, policy_text, running
from support.ua import Rtp, Ua, UdpWire, hang_up, set_up

from edgesbc.base import limits

GOOD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
USELESS = {
    "nonsense": b"nonsense",
    "one line": b"v=0\r\n",
    "control bytes": GOOD.replace("s=-", "s=\0").encode(),
    "a port of 99999": GOOD.replace("4000", "99999").encode(),
    "no connection": GOOD.replace("c=IN IP4 127.0.0.1\r\n", "").encode(),
    "multicast": GOOD.replace("c=IN IP4 127.0.0.1", "c=IN IP4 224.2.1.1/127").encode(),
    "a mapped address": GOOD.replace("c=IN IP4 127.0.0.1", "c=IN IP6 ::ffff:127.0.0.2").encode(),
    "another family": GOOD.replace("c=IN IP4 127.0.0.1", "c=IN IP6 ::1").encode(),
    "a name": GOOD.replace("c=IN IP4 127.0.0.1", "c=IN IP4 localhost").encode(),
    "no UTF-8": GOOD.replace("s=-", "s=caf\xe9").encode("latin-1"),
    "many sections": (GOOD + "m=audio 4000 RTP/AVP 0\r\n" * limits.SDP_MEDIA).encode(),
    "many attributes": (GOOD + "a=x\r\n" * (limits.SDP_ATTRIBUTES + 1)).encode(),
    "large": (GOOD + "a=" + "x" * limits.SDP_BYTES + "\r\n").encode(),
}


@pytest.mark.parametrize("sdp", USELESS.values(), ids=USELESS.keys())
async def test_a_useless_offer_is_refused_and_nothing_is_left(tmp_path: Path, sdp: bytes) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy_text(tmp_path, [f"sip:{bob.address}"], open=["public-udp"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        uri = f"sip:100@{at(app, 'public-udp')}"
        await alice.dialog(uri).send("INVITE", sdp)
        while (answer := await alice.hear()).status == 100:  # type: ignore[union-attr]
            pass
        assert answer.status in (400, 415, 488, 513)  # type: ignore[union-attr]
        await nothing_left(app)
        assert bob.heard == []
        calling, _ = await set_up(alice, bob, uri, near, far)
        await hang_up(calling, bob)
        await nothing_left(app)
