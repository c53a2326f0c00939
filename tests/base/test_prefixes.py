"""Prefixes: membership against the standard library, longest first, bounded memory, and keys for tables."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base.prefixes import PrefixMap, PrefixSet, address_number, enclosing_prefixes, prefix_keys

HOSTS = st.ip_addresses().map(str)


def networks(version: int, bits: int) -> st.SearchStrategy[str]:
    pairs = st.tuples(st.ip_addresses(v=version), st.integers(0, bits))  # type: ignore[arg-type]
    return pairs.map(lambda pair: f"{pair[0]}/{pair[1]}")


NETWORKS = st.one_of(networks(4, 32), networks(6, 128))


@settings(max_examples=200)
@given(st.lists(NETWORKS, max_size=6), st.lists(HOSTS, max_size=6), st.data())
def test_prefixes_agree_with_ipaddress(prefixes: list[str], hosts: list[str], data: st.DataObject) -> None:
    nets = [ipaddress.ip_network(text, strict=False) for text in prefixes]
    near = [
        str(net[data.draw(st.integers(0, net.num_addresses - 1))])  # random hosts are seldom inside
        for net in nets
    ]
    held = PrefixSet(prefixes, cache_size=4)
    for host in [*hosts, *near, *hosts]:  # asked again: the remembered answer is the same
        expected = any(ipaddress.ip_address(host) in net for net in nets)
        assert (host in held) is expected


def test_a_name_is_in_no_prefix() -> None:
    everything = PrefixSet(["0.0.0.0/0", "::/0"])
    assert "192.0.2.1" in everything
    assert "::1" in everything
    assert "sip.example.com" not in everything
    assert "" not in everything


def test_an_empty_set_is_false_and_holds_nothing() -> None:
    assert not PrefixSet()
    assert "192.0.2.1" not in PrefixSet()
    assert PrefixSet(["192.0.2.0/24"])


def test_the_cache_of_look_ups_is_bounded() -> None:
    held = PrefixSet(["192.0.2.0/24"], cache_size=16)
    for number in range(1000):
        assert f"198.51.{number // 256}.{number % 256}" not in held
        assert len(held._map._cache) <= 16


@pytest.mark.parametrize("prefix", ["192.0.2.0/33", "192.0.2", "name/24", "::/129"])
def test_an_invalid_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError):
        PrefixSet([prefix])


def test_the_longest_prefix_wins() -> None:
    values: PrefixMap[str] = PrefixMap()
    for prefix in ("0.0.0.0/0", "192.0.2.0/24", "192.0.2.7"):
        values.put(prefix, prefix)
    assert [values.get(host) for host in ("192.0.2.7", "192.0.2.8", "198.51.100.1", "2001:db8::1", "name")] == [
        "192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", None, None,
    ]  # fmt: skip
    values.remove("192.0.2.7/32")
    assert values.get("192.0.2.7") == "192.0.2.0/24"
    values.remove("192.0.2.7")  # removing it again changes nothing
    values.remove("192.0.2.0/24")
    values.remove("0.0.0.0/0")
    assert not values
    assert values.get("192.0.2.7") is None


def test_the_prefixes_of_an_address() -> None:
    assert enclosing_prefixes("192.0.2.7") == ("192.0.2.0/24",)
    assert enclosing_prefixes("2001:db8:1:2::7") == ("2001:db8:1:2::/64", "2001:db8:1::/48")
    assert enclosing_prefixes("fe80::1%eth0") == ("fe80::/64", "fe80::/48")
    assert enclosing_prefixes("edge.example") == ()


@given(st.ip_addresses(), st.ip_addresses())
def test_keys_are_equal_where_the_prefixes_are(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address, two: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    near = type(one)(int(one) ^ (int(two) & 0xFF))
    for other in (near, two):
        same = [a == b for a, b in zip(prefix_keys(str(one)), prefix_keys(str(other)), strict=False)]
        assert same == [
            a == b for a, b in zip(enclosing_prefixes(str(one)), enclosing_prefixes(str(other)), strict=False)
        ]


@given(st.ip_addresses())
def test_an_address_has_the_number_of_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert address_number(str(address)) == (address.version, int(address))


@given(st.one_of(st.text(max_size=12), st.from_regex(r"[0-9]{1,4}(\.[0-9+ -]{1,4}){2,4}", fullmatch=True)))
def test_an_invalid_address_has_no_number(text: str) -> None:
    try:
        version, number = address_number(text)
    except ValueError:
        return
    assert 0 <= number < 1 << (32 if version == 4 else 128)
