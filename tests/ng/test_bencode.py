"""Bencoding: what is written can be read, and what is broken or too large is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.ng.bencode import decode, decode_first, encode

texts = st.text(max_size=8)
values = st.recursive(
    st.one_of(texts, st.integers(-(10**18), 10**18)),
    lambda nested: st.one_of(st.lists(nested, max_size=3), st.dictionaries(texts, nested, max_size=3)),
    max_leaves=8,
)


@given(values)
@settings(max_examples=150)
def test_decoding_an_encoded_value_returns_it(value):
    assert decode(encode(value)) == value


@given(values, st.binary(max_size=4))
def test_a_value_at_the_beginning_is_found_as_soon_as_it_is_complete(value, rest):
    data = encode(value)
    assert decode_first(data + rest) == (value, len(data)) or data[-1:].isdigit()
    for size in range(len(data)):
        assert decode_first(data[:size]) == (None, 0)


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_broken_bytes_raise_only_wire_errors(data):
    try:
        value = decode(data)
    except WireError:
        return
    assert decode(encode(value)) == value


def test_keys_are_sorted_and_accepted_in_any_order():
    assert encode({"sdp": "x", "call-id": b"\xff", "n": True}) == b"d7:call-id1:\xff1:ni1e3:sdp1:xe"
    assert decode(b"d1:bi1e1:ai2ee") == {"a": 2, "b": 1}


def test_bytes_that_are_not_utf_8_are_kept():
    assert encode(decode(b"2:\xff\xfe")) == b"2:\xff\xfe"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"i1", b"ie", b"i-0e", b"i01e", b"i+1e", b"i1_0e", b"i" + b"9" * 30 + b"e", b"5:abc", b"-1:a",
        b"01:a", b"99999999999:a", b"l", b"li1e", b"d", b"di1ei2ee", b"d1:ae", b"d1:ai1e1:ai2ee", b"i1ei2e", b"1",
        b"l" * (limits.NG_DEPTH + 2) + b"e" * (limits.NG_DEPTH + 2),
        b"l" * 60_000,
        b"%d:" % limits.NG_BYTES + b"x" * limits.NG_BYTES,
        b"l" + b"le" * limits.NG_ITEMS + b"e",
    ],
)  # fmt: skip
def test_malformed_bencoding_is_refused(data):
    with pytest.raises(WireError):
        decode(data)


@pytest.mark.parametrize("data", [b"x", b"99999999999:a", b"65536:", b"i-0e", b"di1e", b"l" * 60_000, b"8" * 65_535])
def test_what_no_more_bytes_can_complete_is_refused_at_once(data):
    with pytest.raises(WireError):
        decode_first(data)


def test_the_largest_depth_and_number_of_values_are_accepted():
    assert decode(b"l" * (limits.NG_DEPTH + 1) + b"e" * (limits.NG_DEPTH + 1))
    assert len(decode(b"l" + b"le" * (limits.NG_ITEMS - 1) + b"e")) == limits.NG_ITEMS - 1


def test_a_value_of_another_type_is_a_type_error():
    with pytest.raises(TypeError):
        encode({"a": 1.5})
