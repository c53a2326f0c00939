"""Addresses: texts to sources and back, flows as keys, prefixes against ``ipaddress``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base.address import (
    Flow,
    Listener,
    Source,
    Transport,
    Zone,
    family_of,
    host_port,
    split_host_port,
)


@pytest.mark.parametrize(
    ("text", "default", "expected"),
    [
        ("1.2.3.4:5060", None, Source("1.2.3.4", 5060)),
        ("1.2.3.4", 5060, Source("1.2.3.4", 5060)),
        ("sip.example.com:0", None, Source("sip.example.com", 0)),
        ("[2001:db8::1]:5061", None, Source("2001:db8::1", 5061)),
        ("[2001:DB8:0::1]:65535", None, Source("2001:db8::1", 65535)),
        ("[::1]", 8080, Source("::1", 8080)),
    ],
)
def test_split_host_port(text: str, default: int | None, expected: Source) -> None:
    assert split_host_port(text, default) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5060",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:+5",
        "1.2.3.4:٣",
        "[::1]",
        "::1",
        "2001:db8::1:5060",
        "[1.2.3.4]:5060",
        "[::1]x:5060",
        "[::1:5060",
        "1.2.3.4:sip",
        "1.2.3.4: 5",
    ],
)
def test_split_host_port_names_the_mistake(text: str) -> None:
    with pytest.raises(ValueError):
        split_host_port(text)


HOSTS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


@given(HOSTS, st.integers(0, 65535))
def test_a_source_reads_back(host: str, port: int) -> None:
    assert split_host_port(str(Source(host, port))) == Source(host, port)
    assert split_host_port(host_port(host, port)) == Source(host, port)


def listener(number: int = 0, name: str = "one") -> Listener:
    return Listener(number, name, Zone.PUBLIC, Transport.UDP, "192.0.2.1", 5060)


def test_a_listener_advertises_its_bind_address_by_default() -> None:
    assert (listener().advertise_host, listener().advertise_port) == ("192.0.2.1", 5060)
    advertising = Listener(0, "x", Zone.CORE, Transport.TLS, "::", 5061, "sip.example.com", 443)
    assert (advertising.advertise_host, advertising.advertise_port) == ("sip.example.com", 443)
    assert "[::]:5061" in repr(advertising)


def test_flows_are_equal_by_listener_peer_and_connection() -> None:
    peer = Source("198.51.100.1", 5060)
    flow = Flow(listener(), peer)
    assert flow == Flow(listener(0, "renamed"), peer)
    assert hash(flow) == hash(Flow(listener(), peer))
    others = [Flow(listener(1), peer), Flow(listener(), Source("198.51.100.1", 5061)), Flow(listener(), peer, 7)]
    assert all(flow != other for other in others)
    assert flow != "flow"
    assert not flow.reliable
    assert others[2].reliable
    assert "#7" in repr(others[2])


def test_properties_of_transports() -> None:
    assert [t for t in Transport if not t.reliable] == [Transport.UDP]
    assert [t for t in Transport if t.secure] == [Transport.TLS, Transport.WSS]
    assert [t.default_port for t in Transport] == [5060, 5060, 5061, 80, 443]
    assert Zone.PUBLIC.other is Zone.CORE
    assert Zone.CORE.other is Zone.PUBLIC


def test_the_family_of_an_address() -> None:
    assert [family_of(host) for host in ("192.0.2.1", "::1", "2001:db8::1")] == ["IP4", "IP6", "IP6"]
