"""The host, port and transport of a destination's URI."""

import pytest

from edgesbc.base.address import Source, Transport
from edgesbc.sip.server_uri import ResolvedAddress, ServerUri, parse_server_uri


@pytest.mark.parametrize(
    ("uri", "source", "transport"),
    [
        ("sip:10.0.0.11", Source("10.0.0.11", 5060), Transport.UDP),
        ("sip:10.0.0.11:5080;transport=tcp", Source("10.0.0.11", 5080), Transport.TCP),
        ("sip:10.0.0.11;transport=TLS", Source("10.0.0.11", 5061), Transport.TLS),
        ("sips:10.0.0.11", Source("10.0.0.11", 5061), Transport.TLS),
        ("sips:10.0.0.11;transport=tcp", Source("10.0.0.11", 5061), Transport.TLS),
        ("sip:[2001:DB8:0::1]:5062", Source("2001:db8::1", 5062), Transport.UDP),
    ],
)
def test_a_literal_address(uri: str, source: Source, transport: Transport) -> None:
    assert parse_server_uri(uri).target == ResolvedAddress(source, transport)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sip:pbx_.example..com", "host name"),
        ("10.0.0.11:5060", "expected a SIP URI"),
        ("not a uri", "expected a SIP URI"),
        ("tel:+4930", "sip: or sips:"),
        ("sip:10.0.0.11;transport=wss", "udp, tcp or tls"),
        ("sips:10.0.0.11;transport=udp", "cannot go over udp"),
        ("sip:0.0.0.0", "one host"),
        ("sip:224.0.1.75", "one host"),
        ("sip:[::]", "one host"),
    ],
)
def test_a_uri_that_is_no_destination(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_server_uri(uri)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("sip:PBX.example.com", ServerUri("pbx.example.com", None, None, False)),
        ("sip:pbx.example.com.:5080;transport=tcp", ServerUri("pbx.example.com", 5080, Transport.TCP, False)),
        ("sips:pbx", ServerUri("pbx", None, Transport.TLS, True)),
        ("sip:edge.pbx-1.lan", ServerUri("edge.pbx-1.lan", None, None, False)),
    ],
)
def test_a_name_is_left_to_the_resolver(uri: str, place: ServerUri) -> None:
    assert parse_server_uri(uri) == place
    assert place.target is None
