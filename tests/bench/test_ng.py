import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import media_process, ng
from edgesbc.base.address import Zone
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Answer, Offer
from edgesbc.media.plane import MediaPlane

words = st.text(max_size=8)
values = st.recursive(
    st.one_of(words, st.integers(-(10**18), 10**18)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=8,
)


@given(values)
@settings(max_examples=150)
def test_round_trip(value):
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


def test_bytes_that_are_not_text_survive():
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
def test_refuses(data):
    with pytest.raises(WireError):
        ng.decode(data)


def test_takes_the_depth_that_the_bound_says():
    assert ng.decode(b"l" * (ng.DEPTH + 1) + b"e" * (ng.DEPTH + 1))


def test_frames():
    command = ng.offer("c1", "a", "v=0\r\n", ("public", "core"))
    assert ng.parse_frame(ng.frame("77_1", command)) == ("77_1", command)


@pytest.mark.parametrize(
    "data", [b"", b"77_1", b" d1:ai1ee", b"77_1 i1e", b"\xff d1:ai1ee", b"a\x1bb de", b"x" * 200 + b" de"]
)
def test_refuses_frames(data):
    with pytest.raises(WireError):
        ng.parse_frame(data)


def test_nothing_but_plain_values_is_encoded():
    with pytest.raises(TypeError):
        ng.encode({"a": 1.5})


def test_the_commands_of_the_media_plane():
    offer = ng.offer("c1", "a", "v=0\r\n", ("public", "core"))
    assert ng.read_command(offer) == Offer("c1", "a", "", b"v=0\r\n", Zone.PUBLIC, Zone.CORE)
    assert ng.read_command(ng.answer("c1", "a", "b", "v=0\r\n")) == Answer("c1", "a", "b", b"v=0\r\n")
    for broken in ({}, {"command": "delete", "sdp": ""}, offer | {"direction": ["public", "moon"]}, offer | {"sdp": 7}):
        with pytest.raises(WireError):
            ng.read_command(broken)


async def test_the_media_process_answers_by_ng():
    plane = MediaPlane(dict.fromkeys(Zone, "127.0.0.1"), (20500, 20599))
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
