from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.media.encoding import decode, encode
from edgesbc.media.link_messages import PrivateSide
from edgesbc.media.private_addresses import PrivateAddresses, messages_of

SIDE = PrivateSide(("10.0.0.11", "192.0.2.50"), ("10.1.0.0/16", "2001:db8:a::/48"), ("192.0.2.50", "10.1.7.0/24"))


def told(side: PrivateSide, addresses: PrivateAddresses | None = None) -> PrivateAddresses:
    addresses = PrivateAddresses() if addresses is None else addresses
    for message in messages_of(side):
        addresses.receive(message)
    return addresses


def test_an_address_is_inside_by_host_or_prefix_unless_it_is_a_trunk() -> None:
    addresses = told(SIDE)
    assert addresses.is_inside("10.0.0.11")
    assert addresses.is_inside("10.1.2.3")
    assert addresses.is_inside("2001:db8:a::7")
    assert not addresses.is_inside("192.0.2.50")
    assert not addresses.is_inside("10.1.7.9")
    assert not addresses.is_inside("198.51.100.1")


def test_before_signalling_has_told_them_every_address_is_inside() -> None:
    assert PrivateAddresses().is_inside("198.51.100.1")


def test_the_addresses_change_with_the_last_message() -> None:
    addresses = told(SIDE)
    many = PrivateSide(tuple(f"10.9.{n // 256}.{n % 256}" for n in range(limits.MEDIA_LINK_ITEMS + 1)))
    first, last = messages_of(many)
    addresses.receive(first)
    assert addresses.is_inside("10.0.0.11")
    assert not addresses.is_inside("10.9.0.1")
    addresses.receive(last)
    assert not addresses.is_inside("10.0.0.11")
    assert addresses.is_inside("10.9.0.1")
    assert addresses.is_inside("10.9.4.0")
    with pytest.raises(ValueError, match="prefix"):
        addresses.receive(PrivateSide((), ("prefix",)))
    assert addresses.is_inside("10.9.4.0")


@given(st.lists(st.integers(0, 2_000).map(str), max_size=2_100, unique=True), st.integers(0, 2_100))
def test_messages_have_every_address_once(hosts: list[str], trunks: int) -> None:
    side = PrivateSide(tuple(hosts), (), tuple(hosts[:trunks]))
    messages = messages_of(side)
    assert [decode(encode(message))[0] for message in messages] == messages
    assert tuple(host for message in messages for host in message.hosts) == side.hosts
    assert tuple(host for message in messages for host in message.trunks) == side.trunks
    assert [message.first for message in messages] == [True] + [False] * (len(messages) - 1)
    assert [message.last for message in messages] == [False] * (len(messages) - 1) + [True]
