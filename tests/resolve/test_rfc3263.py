"""RFC 3263 section 4, RFC 2782 and RFC 3403, against a zone in the test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Listener, Source, Transport, Zone
from edgesbc.resolve.rfc3263 import DnsAnswer, DnsQuestion, Located, NaptrRecord, SrvRecord, locate
from edgesbc.sip.server_uri import ResolvedAddress, parse_server_uri

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
Record = NaptrRecord | SrvRecord | str


def listening(*transports: Transport, host: str = "192.0.2.1", port: int = 5060) -> list[Listener]:
    return [Listener(n, str(transport), Zone.CORE, transport, host, port) for n, transport in enumerate(transports)]


class Names:
    """A zone: records by name and type. Queries for a type that is None fail. All queries are recorded."""

    def __init__(self, zone: dict[str, Sequence[Record] | None], ttl: float = 300.0) -> None:
        self.zone = zone
        self.ttl = ttl
        self.asked: list[str] = []

    def answer(self, question: DnsQuestion) -> DnsAnswer:
        key = f"{question.kind} {question.name}"
        self.asked.append(key)
        records = self.zone.get(key, ())
        return DnsAnswer(failed=True) if records is None else DnsAnswer(tuple(records), self.ttl)

    def locate(self, uri: str, listeners: Sequence[Listener]) -> Located:
        asking = locate(parse_server_uri(uri), listeners)
        try:
            question = next(asking)
            while True:
                question = asking.send(self.answer(question))
        except StopIteration as stop:
            located: Located = stop.value
            return located


RFC3263 = {
    "NAPTR example.com": [
        NaptrRecord(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com"),
        NaptrRecord(90, 50, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
        NaptrRecord(100, 50, "s", "SIP+D2U", "", "_sip._udp.example.com"),
    ],
    "SRV _sips._tcp.example.com": [SrvRecord(0, 1, 5061, "server1.example.com")],
    "SRV _sip._tcp.example.com": [
        SrvRecord(0, 1, 5060, "server1.example.com"),
        SrvRecord(0, 2, 5060, "server2.example.com"),
    ],
    "SRV _sip._udp.example.com": [SrvRecord(0, 1, 5060, "server3.example.com")],
    "A server1.example.com": ["198.51.100.1"],
    "A server2.example.com": ["198.51.100.2"],
    "A server3.example.com": ["198.51.100.3"],
    "A example.com": ["198.51.100.9"],
}
"""The records of RFC 3263 section 4.1."""


def sources(located: Located) -> list[str]:
    return [f"{target.transport} {target.source} p{target.priority} w{target.weight}" for target in located.targets]


def test_the_example_of_rfc_3263() -> None:
    """Section 4.1: the server prefers TLS, the client has only TCP and UDP, so TCP is used, with two hosts."""
    names = Names(RFC3263)
    assert sources(names.locate("sip:example.com", listening(UDP, TCP))) == [
        "tcp 198.51.100.2:5060 p0 w2",
        "tcp 198.51.100.1:5060 p0 w1",
    ]
    assert "SRV _sip._udp.example.com" not in names.asked, "a higher order is not followed (RFC 3403 section 4.1)"
    assert "A example.com" not in names.asked


def test_the_first_transport_that_the_edge_has_is_used() -> None:
    assert sources(Names(RFC3263).locate("sip:example.com", listening(UDP, TCP, TLS))) == [
        "tls 198.51.100.1:5061 p0 w1"
    ]
    assert sources(Names(RFC3263).locate("sip:example.com", listening(UDP))) == ["udp 198.51.100.3:5060 p0 w1"]


def test_a_sips_uri_uses_nothing_but_tls() -> None:
    assert sources(Names(RFC3263).locate("sips:example.com", listening(UDP, TCP, TLS))) == [
        "tls 198.51.100.1:5061 p0 w1"
    ]
    plain = {**RFC3263, "NAPTR example.com": RFC3263["NAPTR example.com"][1:]}
    located = Names(plain).locate("sips:example.com", listening(UDP, TCP, TLS))
    assert located.targets == ()
    assert "no transport" in located.remarks[0]
    bare = {"A example.com": ["198.51.100.9"]}
    assert sources(Names(bare).locate("sips:example.com", listening(UDP, TLS))) == ["tls 198.51.100.9:5061 p0 w1"]


@pytest.mark.parametrize(
    ("uri", "expected", "queries"),
    [
        ("sip:example.com:5080", "udp 198.51.100.9:5080 p0 w1", ["A example.com"]),
        ("sip:example.com:5080;transport=tcp", "tcp 198.51.100.9:5080 p0 w1", ["A example.com"]),
        ("sips:example.com:5080", "tls 198.51.100.9:5080 p0 w1", ["A example.com"]),
        (
            "sip:example.com;transport=udp",
            "udp 198.51.100.3:5060 p0 w1",
            ["SRV _sip._udp.example.com", "A server3.example.com"],
        ),
    ],
)
def test_a_port_or_a_transport_in_the_uri_is_used(uri: str, expected: str, queries: list[str]) -> None:
    names = Names(RFC3263)
    assert sources(names.locate(uri, listening(UDP, TCP, TLS))) == [expected]
    assert names.asked == queries


def test_without_naptr_srv_is_asked_for_each_transport() -> None:
    zone = {key: value for key, value in RFC3263.items() if not key.startswith("NAPTR")}
    assert sources(Names(zone).locate("sip:example.com", listening(UDP, TCP, TLS))) == [
        "tls 198.51.100.1:5061 p0 w1",
        "tcp 198.51.100.2:5060 p1 w2",
        "tcp 198.51.100.1:5060 p1 w1",
        "udp 198.51.100.3:5060 p2 w1",
    ]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:pbx.example.com", "udp 198.51.100.7:5060 p0 w1"),
        ("sip:pbx.example.com;transport=tcp", "tcp 198.51.100.7:5060 p0 w1"),
        ("sip:pbx.example.com;transport=tls", "tls 198.51.100.7:5061 p0 w1"),
    ],
)
def test_without_srv_the_name_itself_is_the_host(uri: str, expected: str) -> None:
    names = Names({"A pbx.example.com": ["198.51.100.7"]})
    assert sources(names.locate(uri, listening(UDP, TCP, TLS))) == [expected]


def test_the_example_of_rfc_2782() -> None:
    """Priorities in order, weights unchanged; a weight of 0 is kept, and gives a very small part."""
    names = Names(
        {
            "SRV _sip._tcp.example.com": [
                SrvRecord(0, 1, 9, "old-slow-box.example.com"),
                SrvRecord(0, 3, 9, "new-fast-box.example.com"),
                SrvRecord(1, 0, 9, "sysadmins-box.example.com"),
                SrvRecord(1, 0, 9, "server.example.com"),
            ],
            "A server.example.com": ["172.30.79.10"],
            "A old-slow-box.example.com": ["172.30.79.11"],
            "A sysadmins-box.example.com": ["172.30.79.12"],
            "A new-fast-box.example.com": ["172.30.79.13"],
        }
    )
    assert sources(names.locate("sip:example.com;transport=tcp", listening(TCP))) == [
        "tcp 172.30.79.13:9 p0 w3",
        "tcp 172.30.79.11:9 p0 w1",
        "tcp 172.30.79.10:9 p1 w0",
        "tcp 172.30.79.12:9 p1 w0",
    ]


def test_an_srv_record_of_the_root_means_no_service() -> None:
    """RFC 2782: a target of "." ends it; the name's own address is not tried."""
    names = Names({"SRV _sip._tcp.example.com": [SrvRecord(0, 0, 0, "")], "A example.com": ["198.51.100.9"]})
    located = names.locate("sip:example.com;transport=tcp", listening(TCP))
    assert located.targets == ()
    assert "not available" in located.remarks[0]
    assert "A example.com" not in names.asked


def test_naptr_records_of_other_services_are_ignored() -> None:
    """Records of other applications count as none; SIP records that cannot be followed do not."""
    others = NaptrRecord(1, 1, "u", "E2U+sip", "!^.*$!sip:x@y!", "")
    names = Names({"NAPTR example.com": [others], "A example.com": ["198.51.100.9"]})
    assert sources(names.locate("sip:example.com", listening(UDP))) == ["udp 198.51.100.9:5060 p0 w1"]
    for wrong in (
        NaptrRecord(1, 1, "u", "SIP+D2U", "", "_sip._udp.example.com"),
        NaptrRecord(1, 1, "s", "SIP+D2U", "!a!b!", "_sip._udp.example.com"),
        NaptrRecord(1, 1, "s", "SIP+D2U", "", ""),
        NaptrRecord(1, 1, "s", "SIP+D2S", "", "_sip._sctp.example.com"),
    ):
        names = Names({**RFC3263, "NAPTR example.com": [wrong]})
        assert names.locate("sip:example.com", listening(UDP)).targets == ()


def test_records_of_a_higher_order_are_used_if_the_lower_has_no_hosts() -> None:
    zone = {**RFC3263, "SRV _sip._tcp.example.com": []}
    assert sources(Names(zone).locate("sip:example.com", listening(UDP, TCP))) == ["udp 198.51.100.3:5060 p0 w1"]
    names = Names({**RFC3263, "SRV _sip._tcp.example.com": None})
    assert names.locate("sip:example.com", listening(UDP, TCP)).targets == (), "a failed query does not decide"
    assert "SRV _sip._udp.example.com" not in names.asked


@pytest.mark.parametrize("failing", ["NAPTR example.com", "SRV _sip._udp.example.com", "A example.com"])
def test_a_failed_query_does_not_decide(failing: str) -> None:
    zone: dict[str, Sequence[Record] | None] = {"A example.com": ["198.51.100.9"]}
    located = Names({**zone, failing: None}).locate("sip:example.com", listening(UDP))
    assert located.targets == ()
    assert [str(failure) for failure in located.failed] == [failing.replace(" ", " of ")]


def test_a_host_without_addresses_does_not_affect_the_others() -> None:
    located = Names({**RFC3263, "A server2.example.com": None}).locate("sip:example.com", listening(TCP))
    assert sources(located) == ["tcp 198.51.100.1:5060 p0 w1"]
    assert located.failed == (DnsQuestion("server2.example.com", "A"),)


def test_both_address_families_are_used_with_listeners_for_both() -> None:
    zone = {"A example.com": ["198.51.100.9"], "AAAA example.com": ["2001:DB8:0::9"]}
    both = [*listening(UDP), *listening(UDP, host="2001:db8::1")]
    assert sources(Names(zone).locate("sip:example.com", both)) == [
        "udp [2001:db8::9]:5060 p0 w1",
        "udp 198.51.100.9:5060 p0 w1",
    ]
    names = Names(zone)
    assert sources(names.locate("sip:example.com", listening(UDP))) == ["udp 198.51.100.9:5060 p0 w1"]
    assert "AAAA example.com" not in names.asked
    located = Names(zone).locate("sip:example.com;transport=tcp", listening(UDP))
    assert located.targets == ()
    assert "no listener for tcp" in located.remarks[0]


def test_a_hosts_share_is_not_multiplied_by_its_addresses() -> None:
    names = Names(
        {
            "SRV _sip._udp.example.com": [
                SrvRecord(0, 10, 5060, "a.example.com"),
                SrvRecord(0, 10, 5060, "b.example.com"),
            ],
            "A a.example.com": ["198.51.100.3", "198.51.100.1", "198.51.100.2"],
            "A b.example.com": ["198.51.100.4"],
        }
    )
    located = names.locate("sip:example.com;transport=udp", listening(UDP))
    share = {str(target.source.host): target.weight for target in located.targets}
    assert share == {"198.51.100.1": 10, "198.51.100.2": 10, "198.51.100.3": 10, "198.51.100.4": 30}


def test_an_address_is_listed_once_with_its_best_priority() -> None:
    names = Names(
        {
            "SRV _sip._udp.example.com": [
                SrvRecord(0, 1, 5060, "a.example.com"),
                SrvRecord(1, 1, 5060, "b.example.com"),
            ],
            "A a.example.com": ["198.51.100.1"],
            "A b.example.com": ["198.51.100.1"],
        }
    )
    located = names.locate("sip:example.com;transport=udp", listening(UDP))
    assert located.targets == (ResolvedAddress(Source("198.51.100.1", 5060), UDP, 0, 1, "a.example.com"),)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        *(("A", host) for host in ("0.0.0.0", "0.1.2.3", "224.0.1.75", "255.255.255.255", "240.0.0.1")),
        *(("A", host) for host in ("127.0.0.1", "127.9.9.9", "169.254.169.254")),
        *(("AAAA", host) for host in ("::", "::1", "ff02::1", "fe80::1", "::ffff:198.51.100.1", "::ffff:127.0.0.1")),
    ],
)
def test_an_address_that_no_name_may_resolve_to(kind: str, address: str) -> None:
    """Others control a name: it must not direct calls to this machine or its network."""
    names = Names({f"{kind} example.com": [address]})
    both = [*listening(UDP), *listening(UDP, host="2001:db8::1")]
    located = names.locate("sip:example.com:5060", both)
    assert located.targets == ()
    assert str(ip_address(address)) in located.remarks[0]


def test_loopback_addresses_need_a_listener_on_loopback() -> None:
    names = Names({"A example.com": ["127.0.0.5"], "AAAA example.com": ["::1"]})
    listeners = [*listening(UDP, host="127.0.0.1"), *listening(UDP, host="2001:db8::1")]
    assert sources(names.locate("sip:example.com:5060", listeners)) == ["udp 127.0.0.5:5060 p0 w1"]
    assert names.locate("sip:example.com:5060", listening(UDP, host="0.0.0.0")).targets == ()


def test_the_edges_own_address_is_no_destination() -> None:
    names = Names({"A example.com": ["192.0.2.1"]})
    assert names.locate("sip:example.com:5060", listening(UDP)).targets == ()
    assert names.locate("sip:example.com:5060;transport=tcp", listening(UDP, TCP)).targets == ()
    assert names.locate("sip:example.com:5061", listening(UDP)).targets != ()
    behind_nat = Listener(0, "udp", Zone.CORE, UDP, "10.0.0.1", 5060, "192.0.2.1", 5070)
    assert names.locate("sip:example.com:5070", [behind_nat]).targets == ()
    assert names.locate("sip:example.com:5060", [behind_nat]).targets != ()


def test_a_record_with_port_0_is_ignored() -> None:
    names = Names({**RFC3263, "SRV _sip._udp.example.com": [SrvRecord(0, 1, 0, "server3.example.com")]})
    located = names.locate("sip:example.com;transport=udp", listening(UDP))
    assert located.targets == ()
    assert "port from 1 to 65535" in located.remarks[0]


def test_a_result_is_valid_as_long_as_its_shortest_ttl() -> None:
    names = Names(RFC3263)
    names.ttl = 77.0
    assert names.locate("sip:example.com", listening(UDP)).ttl == 77.0
    assert Names({}).locate("sip:example.com", []).ttl <= math.inf


def test_the_order_of_records_does_not_matter() -> None:
    turned = {key: list(reversed(records)) for key, records in RFC3263.items()}
    for able in (listening(UDP), listening(TCP), listening(UDP, TCP, TLS)):
        assert Names(turned).locate("sip:example.com", able) == Names(RFC3263).locate("sip:example.com", able)


def test_the_addresses_of_a_name_are_bounded() -> None:
    many = [f"198.51.100.{n}" for n in range(1, 255)]
    located = Names({"A example.com": many}).locate("sip:example.com:5060", listening(UDP))
    assert len(located.targets) == limits.TARGETS
    assert f"more than {limits.TARGETS}" in located.remarks[0]


def test_the_queries_for_a_name_are_bounded() -> None:
    """A large zone whose records lead to further records and to no address."""
    zone: dict[str, Sequence[Record] | None] = {
        "NAPTR example.com": [NaptrRecord(n, n, "s", "SIP+D2U", "", f"_sip._udp.{n}.example.com") for n in range(100)]
    }
    for n in range(100):
        zone[f"SRV _sip._udp.{n}.example.com"] = [SrvRecord(0, 0, 5060, f"h{n}-{m}.example.com") for m in range(50)]
    zone["NAPTR example.com"] = [
        NaptrRecord(1, n, "s", "SIP+D2U", "", f"_sip._udp.{n}.example.com") for n in range(100)
    ]
    names = Names(zone)
    located = names.locate("sip:example.com", listening(UDP))
    assert len(names.asked) == limits.DNS_QUESTIONS
    assert located.targets == ()
    assert len(located.remarks) == limits.DNS_REMARKS


HOSTS = st.sampled_from(["", "a.example.com", "b.example.com", "c.example.com", "example.com"])
SRVS = st.lists(
    st.builds(SrvRecord, st.integers(0, 3), st.integers(0, 65535), st.integers(0, 65535), HOSTS), max_size=6
)
NAPTRS = st.lists(
    st.builds(
        NaptrRecord,
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(["s", "S", "u", ""]),
        st.sampled_from(["SIP+D2U", "sip+d2t", "SIPS+D2T", "E2U+sip", ""]),
        st.sampled_from(["", "!x!y!"]),
        st.sampled_from(["_sip._udp.example.com", "_sip._tcp.example.com", "_sips._tcp.example.com", ""]),
    ),
    max_size=6,
)
V4 = st.lists(st.ip_addresses(v=4).map(str) | st.sampled_from(["127.0.0.1", "198.51.100.1"]), max_size=5)
V6 = st.lists(st.ip_addresses(v=6).map(str) | st.sampled_from(["::1", "::", "2001:db8::7"]), max_size=5)
ANY = {"NAPTR": NAPTRS, "SRV": SRVS, "A": V4, "AAAA": V6}


@given(st.data(), st.sampled_from(["sip:example.com", "sips:example.com", "sip:example.com;transport=tcp"]))
def test_invariants_for_any_answers(data: st.DataObject, uri: str) -> None:
    """The look-up ends, no address is repeated, priorities have no gaps, and no forbidden address is used."""
    able = [*listening(UDP, TCP, TLS), *listening(UDP, TCP, host="2001:db8::1")]
    asking = locate(parse_server_uri(uri), able)
    queries = set()
    try:
        question = next(asking)
        while True:
            assert question not in queries
            queries.add(question)
            records = data.draw(st.none() | ANY[question.kind])
            question = asking.send(DnsAnswer(failed=True) if records is None else DnsAnswer(tuple(records), 5.0))
    except StopIteration as stop:
        located: Located = stop.value
    targets = located.targets
    assert len({(target.source, target.transport) for target in targets}) == len(targets) <= limits.TARGETS
    priorities = [target.priority for target in targets]
    assert priorities == sorted(priorities)
    assert set(priorities) == set(range(len(set(priorities))))
    for target in targets:
        address = ip_address(target.source.host)
        assert not any((address.is_loopback, address.is_unspecified, address.is_multicast)), address
        assert 0 < target.source.port < 65536
        assert target.weight >= 0
        assert target.transport in ({TLS} if uri.startswith("sips") else {TCP} if "tcp" in uri else {UDP, TCP, TLS})
