"""Settings of sets: what they take and what they say about what they do not take."""

import pytest

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport
from edgesbc.dispatch.sets import HealthSettings, MemberSettings, SetSettings, member_target


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
def test_target_of_a_member(uri: str, source: Source, transport: Transport) -> None:
    assert member_target(uri) == (source, transport)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sip:pbx.example.com", "names are not looked up yet"),
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
def test_a_uri_that_is_no_member(uri: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MemberSettings(uri=uri)


@pytest.mark.parametrize("field", [{"weight": 0}, {"weight": 10_001}, {"priority": -1}, {"max_calls": 0}])
def test_bounds_of_a_member(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        MemberSettings(uri="sip:10.0.0.11", **field)


@pytest.mark.parametrize(
    "field", [{"interval": float("nan")}, {"interval": float("inf")}, {"timeout": 0}, {"fall": 0}, {"rise": 0}]
)
def test_bounds_of_health(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        HealthSettings(**field)  # type: ignore[arg-type]


def test_bounds_of_a_set() -> None:
    member = MemberSettings(uri="sip:10.0.0.11")
    with pytest.raises(ValueError, match="at least one member"):
        SetSettings(set="pbx", members=())
    with pytest.raises(ValueError, match="at most"):
        SetSettings(set="pbx", members=(member,) * (limits.SET_MEMBERS + 1))
    with pytest.raises(ValueError, match="400 to 699"):
        SetSettings(set="pbx", members=(member,), failover_on=(503, 200))
    with pytest.raises(ValueError, match="header:NAME"):
        SetSettings(set="pbx", members=(member,), hash_on="header:")
    with pytest.raises(ValueError, match="expected a name"):
        SetSettings(set="", members=(member,))


def test_an_unknown_algorithm_names_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match="broadcast, hash, least-loaded, priority, random, round-robin, weighted; found 'latency'"
    ):
        SetSettings(set="pbx", members=(MemberSettings(uri="sip:10.0.0.11"),), algorithm="latency")
