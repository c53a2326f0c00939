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


PLACES = (RelayAddress(30000), RelayAddress(30002))


def anchored(data=OFFER, address="198.51.100.1", places=PLACES):
    return rewrite_session(parse_session(data), address, places)


def test_no_address_of_the_sender_is_left():
    session = anchored()
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
def test_no_other_attribute_names_a_path_however_it_is_spelt(line):
    """Some readers compare the names of attributes without regard to case."""
    plain = anchored().serialise()
    assert anchored(OFFER + f"a={line}\n".encode()).serialise() == plain
    assert anchored(OFFER.replace(b"a=x-kept", f"a={line}\na=x-kept".encode())).serialise() == plain


def test_a_capability_that_names_no_path_stays():
    kept = b"a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\n"
    assert kept.strip() in anchored(OFFER + kept).serialise()


def test_the_rest_stays_in_order():
    session = anchored()
    assert [str(a) for a in session.attributes] == ["x-kept:1"]
    assert [str(a) for a in session.media[0].attributes] == ["mid:0", "rtpmap:0 PCMU/8000", "sendonly"]
    assert str(session.origin) == "- 77 78 IN IP4 198.51.100.1"


def test_rtcp_mux_stays_where_the_place_says_so():
    session = anchored(places=(RelayAddress(30000, rtcp_mux=True), RelayAddress(30002)))
    assert session.media[0].attribute("rtcp-mux") is not None
    assert anchored().media[0].attribute("rtcp-mux") is None
    assert b"mux" not in anchored(OFFER.replace(b"a=rtcp-mux", b"a=RTCP-Mux")).serialise()


def test_rejected_sections_stay_rejected_whoever_rejects():
    session = anchored(places=(RelayAddress(0), RelayAddress(30002)))
    assert session.media[0].port == 0
    assert [str(a) for a in session.media[0].attributes] == ["mid:0"]
    ended = anchored(OFFER.replace(b"51372", b"0"))
    assert [m.port for m in ended.media] == [30000, 0]


def test_families_are_bridged_and_hold_by_address_stays_visible():
    session = anchored(OFFER.replace(b"192.0.2.2", b"0.0.0.0"), address="2001:db8::9")
    assert session.origin.family == "IP6"
    assert session.connection_of(session.media[0]) == ConnectionData("IP6", "::")
    assert session.connection_of(session.media[1]) == ConnectionData("IP6", "2001:db8::9")
