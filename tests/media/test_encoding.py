from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media import encoding
from edgesbc.media.commands import (
    Acknowledge,
    Answer,
    Consent,
    Delete,
    Establish,
    MediaError,
    MediaReply,
    MediaSilence,
    MediaTimeout,
    Offer,
    Refresh,
    RelayLayout,
    Restore,
    Rollback,
)
from edgesbc.media.encoding import LinkError, decode, encode
from edgesbc.media.link_messages import Hello, LinkMessage, ListSessions, PrivateSide, SessionsListed
from edgesbc.media.session_journal import SessionCopy

# what SIP messages are decoded to: any text, with bytes that are no UTF-8
TEXT = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
BYTES = st.binary(max_size=200)
ZONE, CONSENT, LATCH = st.sampled_from(Zone), st.sampled_from(Consent), st.sampled_from(LatchMode)
OFFER = st.builds(Offer, TEXT, TEXT, TEXT, BYTES, ZONE, ZONE, TEXT, CONSENT, st.booleans(), TEXT, TEXT, TEXT, LATCH)
ANSWER = st.builds(Answer, TEXT, TEXT, TEXT, BYTES, TEXT, CONSENT, st.booleans(), LATCH)
PORT = st.integers(0, 65_535)
LAYOUT = st.builds(
    RelayLayout, st.tuples(TEXT, TEXT), st.lists(st.tuples(PORT, PORT), max_size=limits.SDP_MEDIA).map(tuple)
)
RESTORE = st.builds(Restore, OFFER, LAYOUT, st.none() | ANSWER)
ESTABLISH = st.builds(Establish, TEXT, TEXT, BYTES)
SILENCE = st.builds(MediaSilence, TEXT, TEXT, TEXT, st.floats(0, 86_400))
TEXTS = st.lists(TEXT, max_size=5).map(tuple)
MESSAGES: st.SearchStrategy[LinkMessage] = st.one_of(
    OFFER,
    ANSWER,
    RESTORE,
    ESTABLISH,
    SILENCE,
    st.builds(Rollback, TEXT, TEXT),
    st.builds(Acknowledge, TEXT, TEXT),
    st.builds(Refresh, TEXT, TEXT),
    st.builds(Delete, TEXT, TEXT),
    st.builds(MediaReply, BYTES, LAYOUT),
    st.builds(MediaError, st.integers(400, 699), TEXT),
    st.builds(MediaTimeout, TEXT, st.tuples(TEXT, TEXT), st.lists(SILENCE, max_size=2).map(tuple)),
    st.builds(Hello, TEXT),
    st.just(ListSessions()),
    st.just(SessionsListed()),
    st.builds(SessionCopy, TEXT, st.lists(RESTORE, max_size=2).map(tuple), st.none() | ESTABLISH),
    st.builds(PrivateSide, TEXTS, TEXTS, TEXTS, st.booleans(), st.booleans()),
)
COOKIE = st.integers(0, 2**64 - 1)


def test_every_message_has_a_kind() -> None:
    assert set(encoding._KINDS) == set(LinkMessage.__args__)
    numbers = [number for number, _ in encoding._KINDS.values()]
    assert len(set(numbers)) == len(numbers)


@given(MESSAGES, COOKIE)
def test_a_message_is_read_as_it_was_written(message: LinkMessage, cookie: int) -> None:
    assert decode(encode(message, cookie)) == (message, cookie)


@given(MESSAGES, st.data())
def test_a_packet_that_was_cut_or_changed_is_refused_or_is_another_message(
    message: LinkMessage, data: st.DataObject
) -> None:
    packet = encode(message, 1)
    cut = data.draw(st.integers(0, len(packet) - 1))
    with pytest.raises(LinkError):
        decode(packet[:cut])
    with pytest.raises(LinkError):
        decode(packet + b"\0")
    at = data.draw(st.integers(0, len(packet) - 1))
    changed = bytearray(packet)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(changed))
    except LinkError:
        return
    assert decoded != (message, 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for start in (b"", bytes([1, data[0] % 20 if data else 0])):
        try:
            message, _ = decode(start + data)
        except LinkError:
            continue
        assert type(message) in encoding._KINDS


def test_another_version_is_refused() -> None:
    packet = bytearray(encode(ListSessions()))
    packet[0] += 1
    with pytest.raises(LinkError, match="version 2; expected version 1"):
        decode(bytes(packet))


def test_what_is_longer_than_a_link_carries_is_refused() -> None:
    offer = Offer("c", "a", "", bytes(limits.MEDIA_LINK_FIELD_BYTES), Zone.PUBLIC, Zone.CORE)
    assert decode(encode(offer)) == (offer, 0)
    with pytest.raises(LinkError, match="expected at most 65535"):
        encode(attrs.evolve(offer, sdp=bytes(limits.MEDIA_LINK_FIELD_BYTES + 1)))
    answer = Answer("c", "a", "b", offer.sdp)
    exchange = Restore(offer, RelayLayout(("", "")), answer)
    with pytest.raises(LinkError, match=f"expected at most {limits.MEDIA_LINK_BYTES}"):
        encode(
            SessionCopy(
                "c",
                (
                    exchange,
                    exchange,
                ),
            )
        )
    with pytest.raises(LinkError, match="expected at most 1024"):
        encode(PrivateSide(("192.0.2.1",) * (limits.MEDIA_LINK_ITEMS + 1)))
    with pytest.raises(LinkError, match="a packet of"):
        decode(bytes(limits.MEDIA_LINK_BYTES + 1))


def test_the_largest_session_fits_a_message() -> None:
    name, sdp = "n" * limits.MEDIA_NAME_BYTES, bytes(limits.SDP_BYTES)
    offer, answer = Offer(name, name, name, sdp, Zone.PUBLIC, Zone.CORE), Answer(name, name, name, sdp)
    layout = RelayLayout(("2001:db8::1", "2001:db8::2"), ((30_000, 30_002),) * limits.SDP_MEDIA)
    exchange = Restore(offer, layout, answer)
    record = bytes(limits.MEDIA_LINK_FIELD_BYTES)
    copy = SessionCopy(name, (exchange, exchange), Establish(name, name, record))
    assert decode(encode(copy)) == (copy, 0)
