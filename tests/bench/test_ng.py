"""The ng protocol of the benchmark: bencoding, frames, commands, and the media process that answers them."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.containment import unfailing

from bench import media_process, ng
from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Answer, Offer
from edgesbc.media.plane import MediaPlane

texts = st.text(max_size=8)
values = st.recursive(
    st.one_of(texts, st.integers(-(10**18), 10**18)),
    lambda nested: st.one_of(st.lists(nested, max_size=3), st.dictionaries(texts, nested, max_size=3)),
    max_leaves=8,
)


@given(values)
@settings(max_examples=150)
def test_decoding_an_encoded_value_returns_it(value):
    assert ng.decode(ng.encode(value)) == value


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_broken_bytes_raise_only_wire_errors(data):
    try:
        value = ng.decode(data)
    except WireError:
        return
    assert ng.decode(ng.encode(value)) == value


def test_keys_are_sorted_and_accepted_in_any_order():
    assert ng.encode({"sdp": "x", "call-id": b"\xff", "n": True}) == b"d7:call-id1:\xff1:ni1e3:sdp1:xe"
    assert ng.decode(b"d1:bi1e1:ai2ee") == {"a": 2, "b": 1}


def test_bytes_that_are_not_utf_8_are_kept():
    assert ng.encode(ng.decode(b"2:\xff\xfe")) == b"2:\xff\xfe"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"i1", b"ie", b"i-0e", b"i01e", b"i+1e", b"i1_0e", b"i" + b"9" * 30 + b"e", b"5:abc", b"-1:a",
        b"01:a", b"99999999999:a", b"l", b"li1e", b"d", b"di1ei2ee", b"d1:ae", b"d1:ai1e1:ai2ee", b"i1ei2e", b"1",
        b"l" * (ng.DEPTH + 2) + b"e" * (ng.DEPTH + 2),
        b"l" * 60_000,
        b"%d:" % ng.DATAGRAM_BYTES + b"x" * ng.DATAGRAM_BYTES,
    ],
)  # fmt: skip
def test_malformed_bencoding_is_refused(data):
    with pytest.raises(WireError):
        ng.decode(data)


def test_the_largest_depth_is_accepted():
    assert ng.decode(b"l" * (ng.DEPTH + 1) + b"e" * (ng.DEPTH + 1))


def test_parsing_a_frame_returns_cookie_and_command():
    command = ng.offer("c1", "a", "v=0\r\n", ("public", "core"))
    assert ng.parse_frame(ng.frame("77_1", command)) == ("77_1", command)


@pytest.mark.parametrize(
    "data", [b"", b"77_1", b" d1:ai1ee", b"77_1 i1e", b"\xff d1:ai1ee", b"a\x1bb de", b"x" * 200 + b" de"]
)
def test_malformed_frames_are_refused(data):
    with pytest.raises(WireError):
        ng.parse_frame(data)


def test_a_value_of_another_type_is_a_type_error():
    with pytest.raises(TypeError):
        ng.encode({"a": 1.5})


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
