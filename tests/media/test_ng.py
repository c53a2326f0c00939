import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.media import ng

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
        b"l" * (limits.NG_DEPTH + 2) + b"e" * (limits.NG_DEPTH + 2),
        b"l" * 60_000,
        b"%d:" % limits.NG_BYTES + b"x" * limits.NG_BYTES,
    ],
)  # fmt: skip
def test_refuses(data):
    with pytest.raises(WireError):
        ng.decode(data)


def test_takes_the_depth_that_the_bound_says():
    assert ng.decode(b"l" * (limits.NG_DEPTH + 1) + b"e" * (limits.NG_DEPTH + 1))


def test_frames():
    command = ng.offer("c1", "a", "v=0\r\n", ("public", "core"), received_from="2001:db8::1")
    cookie, back = ng.parse_frame(ng.frame("77_1", command))
    assert cookie == "77_1"
    assert back == command
    assert back["received-from"] == ["IP6", "2001:db8::1"]


@pytest.mark.parametrize(
    "data", [b"", b"77_1", b" d1:ai1ee", b"77_1 i1e", b"\xff d1:ai1ee", b"a\x1bb de", b"x" * 200 + b" de"]
)
def test_refuses_frames(data):
    with pytest.raises(WireError):
        ng.parse_frame(data)


def test_nothing_but_plain_values_is_encoded():
    with pytest.raises(TypeError):
        ng.encode({"a": 1.5})
