import pytest

from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import ConnectionData, parse_session

OFFER = b"""v=0
o=alice 77 78 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=group:BUNDLE 0 1
a=ice-options:trickle
a=x-kept:1
m=audio 49170 RTP/AVP 0
c=IN IP4 192.0.2.2
a=mid:0
a=rtcp:49180 IN IP4 192.0.2.3
a=rtcp-mux
a=candidate:1 1 UDP 2130706431 192.0.2.4 49170 typ host
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=rtpmap:0 PCMU/8000
a=sendonly
m=video 51372 RTP/AVP 99
a=mid:1
a=rtpmap:99 h263-1998/90000
"""


RELAY_ADDRESSES = (RelayAddress(30000), RelayAddress(30002))


def rewritten(data=OFFER, address="198.51.100.1", relay_addresses=RELAY_ADDRESSES):
    return rewrite_session(parse_session(data), address, relay_addresses)


def test_no_address_of_the_sender_is_left():
    session = rewritten()
    text = session.serialise().decode()
    assert "192.0.2." not in text
    assert "candidate" not in text
    assert "ice" not in text
    assert "BUNDLE" not in text
    assert [m.port for m in session.media] == [30000, 30002]
    assert session.connection_of(session.media[0]) == ConnectionData("IP4", "198.51.100.1")


@pytest.mark.parametrize(
    "line",
    [
        "altc:1 IP4 192.0.2.9 4000", "source-filter: incl IN IP4 * 192.0.2.9", "ccap:1 IN IP4 192.0.2.9",
        "acap:1 candidate:1 1 UDP 1 192.0.2.9 4000 typ host", "acap:1  RTCP:4444 IN IP4 192.0.2.9",
        "alt:1 1 : user word 192.0.2.9 4000", "visited-realm:1 example.com IN IP4 192.0.2.9 4000",
        "secondary-realm:1 example.com IN IP4 192.0.2.9 4000", "RTCP:4444 IN IP4 192.0.2.9",
        "Candidate:1 1 UDP 1 192.0.2.9 4000 typ host", "group: bundle 0 1",
    ],
)  # fmt: skip
def test_attributes_with_an_address_are_removed_in_any_spelling(line):
    """Some parsers ignore case in the names of attributes."""
    plain = rewritten().serialise()
    assert rewritten(OFFER + f"a={line}\n".encode()).serialise() == plain
    assert rewritten(OFFER.replace(b"a=x-kept", f"a={line}\na=x-kept".encode())).serialise() == plain


def test_a_capability_without_an_address_is_kept():
    capability = b"a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n"
    assert capability.strip() in rewritten(OFFER + capability).serialise()


def test_other_attributes_are_kept_in_order():
    session = rewritten()
    assert [str(a) for a in session.attributes] == ["x-kept:1"]
    assert [str(a) for a in session.media[0].attributes] == ["mid:0", "rtpmap:0 PCMU/8000", "sendonly"]
    assert str(session.origin) == "- 77 78 IN IP4 198.51.100.1"


def test_rtcp_mux_is_kept_where_the_relay_shares_the_port():
    session = rewritten(relay_addresses=(RelayAddress(30000, rtcp_mux=True), RelayAddress(30002)))
    assert session.media[0].attribute("rtcp-mux") is not None
    assert rewritten().media[0].attribute("rtcp-mux") is None
    assert b"mux" not in rewritten(OFFER.replace(b"a=rtcp-mux", b"a=RTCP-Mux")).serialise()


def test_a_section_that_the_sender_or_the_relay_rejects_has_port_0():
    session = rewritten(relay_addresses=(RelayAddress(0), RelayAddress(30002)))
    assert session.media[0].port == 0
    assert [str(a) for a in session.media[0].attributes] == ["mid:0"]
    ended = rewritten(OFFER.replace(b"51372", b"0"))
    assert [m.port for m in ended.media] == [30000, 0]


def test_address_families_are_bridged_and_a_hold_by_address_is_kept():
    session = rewritten(OFFER.replace(b"192.0.2.2", b"0.0.0.0"), address="2001:db8::9")
    assert session.origin.family == "IP6"
    assert session.connection_of(session.media[0]) == ConnectionData("IP6", "::")
    assert session.connection_of(session.media[1]) == ConnectionData("IP6", "2001:db8::9")
