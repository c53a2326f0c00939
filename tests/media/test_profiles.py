"""Profiles of media sections that the relay passes on, and its reply to an offer of others."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from support.media import offer

from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import MediaError, MediaReply
from edgesbc.media.latch import MediaInterface, MediaTarget, build_interfaces
from edgesbc.media.ports import PortPool
from edgesbc.media.session_table import SessionTable

KEYS = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
BROWSER = (
    "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=fingerprint:sha-256 4A:AD\r\na=setup:actpass\r\n"
    "a=candidate:1 1 UDP 2130706431 198.51.100.1 4000 typ host\r\n"
)


class _Pair:
    """A pair of ports without sockets."""

    packets = rtp_packets = octets = 0
    sockets = 2

    def __init__(self, port: int) -> None:
        self.port = port

    def set_targets(self, rtp: MediaTarget, rtcp: MediaTarget) -> None: ...

    def reopen(self) -> None: ...

    def watch_reports(self, receiver: Callable[[bytes, float], None] | None) -> None: ...

    def set_direct(self, direct: bool) -> None: ...

    def share_rtcp(self, shared: bool) -> None: ...

    def close(self) -> None: ...


class _Ports:
    def __init__(self) -> None:
        self.pool = PortPool(30000, 30999, random.Random(7).random)

    def open(
        self, interfaces: tuple[MediaInterface, MediaInterface], ports: tuple[int, int] = (0, 0)
    ) -> tuple[_Pair, _Pair]:
        one, two = self.pool.take(0.0), self.pool.take(0.0)
        assert one is not None
        assert two is not None
        return _Pair(one), _Pair(two)

    def holds(self, address: Source) -> bool:
        return False


def reply_to(*sections: str) -> MediaReply | MediaError | None:
    """The reply to an offer with these media sections, each a protocol and its attributes."""
    interfaces = build_interfaces({Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}, (30000, 30999))
    media = "".join(
        f"m=audio 4000 {protocol} 0\r\n{attributes}"
        for protocol, _, attributes in (section.partition("\r\n") for section in sections)
    )
    sdp = f"v=0\r\no=- 5 6 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n{media}"
    return SessionTable(_Ports(), interfaces).receive(offer("c", "a", sdp), 0.0)


def offered(*sections: str) -> str:
    """The description for the other side, of an offer with these media sections."""
    reply = reply_to(*sections)
    assert isinstance(reply, MediaReply), reply
    return reply.sdp.decode()


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"])
def test_rtp_and_sdes_keys_pass(protocol: str) -> None:
    """RFC 3551, RFC 4585, RFC 3711 and RFC 5124; the keys of RFC 4568 are for the two ends."""
    sdp = offered(f"{protocol}\r\n{KEYS}a=rtcp-fb:0 nack\r\n")
    assert f" {protocol} 0\r\n" in sdp
    assert KEYS in sdp
    assert "a=rtcp-fb:0 nack" in sdp


@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/RTP/AVP", "UDP/BFCP", "TCP/MSRP"])
def test_an_offer_of_other_profiles_only_is_488(protocol: str) -> None:
    """RFC 5763 and RFC 5764 (DTLS-SRTP) among them: a browser's offer."""
    reply = reply_to(f"{protocol}\r\n{BROWSER}")
    assert isinstance(reply, MediaError)
    assert reply.status == 488


def test_a_section_of_another_profile_is_rejected_alone() -> None:
    """RFC 3264 section 6: the section stays in its place, with port 0."""
    sdp = offered("RTP/AVP\r\n", f"UDP/TLS/RTP/SAVPF\r\n{BROWSER}")
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n" in sdp


def test_ice_and_dtls_attributes_beside_plain_rtp_are_removed() -> None:
    """RFC 8839 and RFC 8643: ICE, and DTLS beside plain RTP; both ends then go on without."""
    sdp = offered(f"RTP/AVPF\r\n{BROWSER}a=sendrecv\r\n")
    assert "a=sendrecv" in sdp
    assert not [
        line for line in sdp.splitlines() if line.startswith(("a=ice", "a=candidate", "a=fingerprint", "a=set"))
    ]
