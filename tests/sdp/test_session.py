import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sdp.session import Attribute, ConnectionData, parse_session

BASE = b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nt=0 0\n"
OFFER = b"""v=0
o=alice 2890844526 2890844527 IN IP4 192.0.2.1
s=A call
i=about
u=http://example.com/
c=IN IP4 192.0.2.1
b=AS:64
t=0 0
a=tool:phone 1
a=sendonly
m=audio 49170 RTP/AVP 0 8 101
i=sound
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=x-unknown
a=rtcp:49180 IN IP4 192.0.2.9
m=video 51372/2 RTP/AVPF 99
c=IN IP6 2001:db8::1
b=TIAS:256000
a=recvonly
"""


def test_values():
    session = parse_session(OFFER)
    assert session.origin.username == "alice"
    assert (session.origin.id, session.origin.version) == ("2890844526", "2890844527")
    assert session.connection == ConnectionData("IP4", "192.0.2.1")
    audio, video = session.media
    assert (audio.kind, audio.port, audio.ports, audio.protocol) == ("audio", 49170, 1, "RTP/AVP")
    assert audio.formats == ("0", "8", "101")
    assert audio.attributes[2] == Attribute("x-unknown")
    assert audio.attribute("rtcp") == Attribute("rtcp", "49180 IN IP4 192.0.2.9")
    assert session.direction_of(audio) == "sendonly"
    assert session.direction_of(video) == "recvonly"
    assert session.connection_of(video) == ConnectionData("IP6", "2001:db8::1")
    assert (video.port, video.ports) == (51372, 2)


def test_serialises_with_crlf_and_in_order():
    assert parse_session(OFFER).serialise() == OFFER.replace(b"\n", b"\r\n")
    assert parse_session(OFFER.replace(b"\n", b"\r\n")) == parse_session(OFFER)


def test_accepts_a_missing_name_time_and_user():
    session = parse_session(b"v=0\no= 1 2 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n\n")
    assert (session.name, session.times, session.origin.username) == ("-", (("t", "0 0"),), "-")


@pytest.mark.parametrize(
    ("written", "regular"),
    [
        ("m=video 0 RTP/AVP", "m=video 0 RTP/AVP 0"),
        ("m=image 0 udptl", "m=image 0 udptl 0"),
        ("m=audio 4000 rtp/avp 0", "m=audio 4000 RTP/AVP 0"),
        ("m=audio 4000 Rtp/Savpf 0 ", "m=audio 4000 RTP/SAVPF 0"),
        ("m=audio 4000 RTP/AVP 0\na=sendonly ", "m=audio 4000 RTP/AVP 0\na=sendonly"),
        ("m=audio 4000 RTP/AVP 0\na=rtpmap:0 PCMU/8000 \t", "m=audio 4000 RTP/AVP 0\na=rtpmap:0 PCMU/8000"),
    ],
)
def test_what_some_devices_write_is_made_regular(written, regular):
    assert parse_session(BASE + written.encode()) == parse_session(BASE + regular.encode())
    assert parse_session(BASE + written.encode()).serialise().decode().splitlines()[4:] == regular.splitlines()


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_unspecified_connection_is_hold(address):
    assert ConnectionData("IP4", address).unspecified


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"\r\n", 400),
        (b"o=- 1 1 IN IP4 192.0.2.1\n", 400),
        (b"v=1\no=- 1 1 IN IP4 192.0.2.1\n", 400),
        (b"v=0\ns=-\n", 400),
        (b"v=0\no=- 1 1 IN IP4 192.0.2.1\no=- 1 1 IN IP4 192.0.2.1\n", 400),
        (b"v=0\no=- x 1 IN IP4 192.0.2.1\n", 400),
        (b"v=0\no=- 1 1 IN IP5 192.0.2.1\n", 400),
        (BASE + b"x=1\n", 400),
        (BASE + b"no line\n", 400),
        (BASE + b"\na=after an empty line\n", 400),
        (BASE + b"a=\n", 400),
        (BASE + b"a= \n", 400),
        (BASE + b"a= sendonly\n", 400),
        (BASE + b"a=rtcp :4444\n", 400),
        (BASE + b"m=audio 0\n", 400),
        (BASE + b"a=rtcp\t:4444 IN IP4 192.0.2.9\n", 400),
        (BASE + b"a=rtcp\xc2\xa0:4444 IN IP4 192.0.2.9\n", 400),
        (BASE + b"a=null\0byte\n", 400),
        (BASE + b"a=bare\rreturn\n", 400),
        (BASE + b"s=\xff\n", 400),
        (BASE + b"c=IN IP4\n", 400),
        (BASE + b"c=IN IP4 192.0.2.1\nc=IN IP4 192.0.2.2\n", 488),
        (BASE + b"m=audio 70000 RTP/AVP 0\n", 400),
        (BASE + b"m=audio -1 RTP/AVP 0\n", 400),
        (BASE + b"m=audio 4000/0 RTP/AVP 0\n", 400),
        (BASE + "m=audio ٤٠٠٠ RTP/AVP 0\n".encode(), 400),
        (BASE + b"m=audio 4000 RTP/AVP\n", 400),
        (BASE + b"m=audio 4000 RTP/AVP 0\nt=0 0\n", 400),
        (BASE + b"m=audio 4000 RTP/AVP 0\n" * (limits.SDP_MEDIA + 1), 488),
        (BASE + b"a=x\n" * (limits.SDP_ATTRIBUTES + 1), 488),
        (BASE + b"m=audio 4000 RTP/AVP" + b" 0" * (limits.SDP_FORMATS + 1), 488),
        (BASE + b"a=" + b"x" * limits.SDP_BYTES, 488),
    ],
)
def test_refuses_a_broken_description(data, status):
    with pytest.raises(WireError) as error:
        parse_session(data)
    assert error.value.status_hint == status


@pytest.mark.parametrize("line", ["a=name:x{}more", "s={}", "a=name{}\r"])
def test_no_control_character_but_tab_stands_in_a_line(line):
    for number in (*range(0x20), 0x7F):
        description = BASE.replace(b"s=-\n", b"") + line.format(chr(number)).encode() + b"\n"
        accepted = chr(number) == "\t" or (chr(number) == "\r" and line == "s={}")  # the end of the line
        if chr(number) == "\n":
            continue  # another line
        if accepted:
            parse_session(description)
        else:
            with pytest.raises(WireError, match="control character"):
                parse_session(description)


def test_accepts_a_description_at_the_bounds():
    data = BASE + b"a=x\n" * limits.SDP_ATTRIBUTES
    data += (b"m=audio 4000 RTP/AVP" + b" 0" * limits.SDP_FORMATS + b"\n") * limits.SDP_MEDIA
    session = parse_session(data)
    assert len(session.attributes) == limits.SDP_ATTRIBUTES
    assert len(session.media) == limits.SDP_MEDIA


text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
token = st.text("abcdefgh-0123456789", min_size=1, max_size=8)
attribute = st.builds(lambda name, value: f"a={name}{value}", token, st.one_of(st.just(""), text.map(":{}".format)))
connection = st.sampled_from(["c=IN IP4 192.0.2.7", "c=IN IP6 2001:db8::7", "c=IN IP4 0.0.0.0"])
section = st.builds(
    lambda port, formats, lines: [f"m=audio {port} RTP/AVP {' '.join(formats)}", *lines],
    st.one_of(st.integers(0, 65535), st.just("4000/2")),
    st.lists(token, min_size=1, max_size=3),
    st.builds(
        lambda c, rest: [*c, *rest],
        st.lists(connection, max_size=1),
        st.lists(st.one_of(attribute, text.map("i={}".format), text.map("b={}".format)), max_size=4),
    ),
)
described = st.builds(
    lambda name, c, rest, sections: "\n".join(
        ["v=0", "o=u 1 2 IN IP4 192.0.2.1", f"s={name}", *c, *rest, *(line for s in sections for line in s)]
    ),
    text,
    st.lists(connection, max_size=1),
    st.lists(st.one_of(attribute, st.sampled_from(["k=clear:x", "r=7d 1h", "t=1 2", "z=0 0", "e=a@b"])), max_size=5),
    st.lists(section, max_size=3),
)


@given(described)
@settings(max_examples=150)
def test_parsing_what_was_serialised_gives_the_same(written):
    session = parse_session(written.encode())
    assert parse_session(session.serialise()) == session
    assert len(session.media) == written.count("\nm=")


@given(st.binary(max_size=200), st.integers(0, len(OFFER)), st.integers(0, len(OFFER)))
@settings(max_examples=300)
def test_broken_bytes_raise_only_wire_errors(junk, start, end):
    data = OFFER[:start] + junk + OFFER[end:]
    try:
        session = parse_session(data)
    except WireError:
        return
    assert parse_session(session.serialise()) == session
