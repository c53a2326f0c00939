"""The filter programs in a small interpreter of classic BPF, with packets as the programs of sockets see them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.transport.filter_programs import Listed, Program, drop_filter, steering_program

NET = 0xFFF00000


def ip_header(host: str, options: int, protocol: int, extension: bool) -> bytes:
    address = ipaddress.ip_address(host)
    if address.version == 4:
        start = bytes([0x45 + options]) + bytes(8) + bytes([protocol]) + bytes(2)
        return start + address.packed + bytes([127, 0, 0, 1]) + bytes(4 * options)
    start = bytes([0x60]) + bytes(5) + bytes([60 if extension else protocol, 64])
    return start + address.packed + bytes(16) + (bytes([protocol]) + bytes(7) if extension else b"")


def execute(program: Program, packet: bytes, visible: bytes) -> int:
    """What ``program`` returns. Follows Documentation/networking/filter.rst, with only the needed operations;
    ``packet`` begins with the IP header, ``seen`` is what the program is shown as the packet."""

    def load(k: int, size: int) -> int:
        data, at = (packet, k - NET) if k >= NET else (visible, k)
        assert at + size <= len(data)
        return int.from_bytes(data[at : at + size], "big")

    at, accumulator, index, steps = 0, 0, 0, 0
    while True:
        code, true, false, k = program[at]
        assert 0 <= true <= 255
        assert 0 <= false <= 255
        at += 1
        steps += 1
        assert steps < 250, "the program searches linearly"
        if code in (0x20, 0x28, 0x30):
            accumulator = load(k, {0x20: 4, 0x28: 2, 0x30: 1}[code])
        elif code == 0x48:
            accumulator = load(k + index, 2)
        elif code == 0xB1:
            index = 4 * (load(k, 1) & 0xF)
        elif code == 0x74:
            accumulator >>= k
        elif code == 0x05:
            at += k
        elif code == 0x15:
            at += true if accumulator == k else false
        elif code == 0x25:
            at += true if accumulator > k else false
        elif code == 0x35:
            at += true if accumulator >= k else false
        elif code == 0x06:
            return k
        else:
            raise AssertionError(f"operation {code:#x}")


def run(program: Program, host: str, port: int) -> bool:
    """Whether a socket's filter, which sees the packet from the UDP header on, keeps it."""
    udp = port.to_bytes(2, "big") + bytes(6)
    return execute(program, ip_header(host, 0, 17, False) + udp, udp) != 0


def lane(program: Program, host: str, port: int, options: int = 0, protocol: int = 17, extension: bool = False) -> str:
    """Where a group's program, which sees what follows the UDP or TCP header, sends the packet."""
    payload = b"\xff" * 8
    packet = ip_header(host, options, protocol, extension) + port.to_bytes(2, "big") + bytes(6) + payload
    return {0: "trusted", 1: "untrusted"}[execute(program, packet, payload)]


v4 = st.integers(0, 40).map(lambda n: str(ipaddress.IPv4Address(0x7F000000 + n * 65_537)))
v6 = st.tuples(st.integers(0, 3), st.integers(0, 6)).map(
    lambda n: str(ipaddress.IPv6Address((0x20010DB8 << 96) + (n[0] << 64) + n[1] * (1 + (n[1] << 32))))
)
source = st.builds(Source, st.one_of(v4, v6), st.sampled_from([0, 0, 1, 5060, 5061, 40_000, 65_535]))
networks = st.one_of(
    st.tuples(v4, st.integers(0, 32)).map(lambda n: ipaddress.ip_network(f"{n[0]}/{n[1]}", strict=False)),
    st.tuples(v6, st.integers(0, 128)).map(lambda n: ipaddress.ip_network(f"{n[0]}/{n[1]}", strict=False)),
)
narrow = networks.filter(lambda network: network.prefixlen > (8 if network.version == 4 else 40))


@settings(max_examples=150, deadline=None)
@given(st.lists(source, max_size=60), st.lists(source, min_size=1, max_size=20))
def test_drops_exactly_the_listed(listed: list[Source], others: list[Source]) -> None:
    program, covered = drop_filter(listed)
    assert covered == len(listed)
    if not listed:
        assert program == ()
        return
    wanted = set(listed)
    for host, port in [*listed, *others]:
        port = port or 7
        assert run(program, host, port) == ((host, 0) not in wanted and (host, port) not in wanted)


def is_listed(listed: list[Listed], host: str, port: int) -> bool:
    return any(
        entry in (Source(host, port), Source(host, 0))
        if isinstance(entry, Source)
        else ipaddress.ip_address(host) in entry
        for entry in listed
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(source, source, narrow, networks), max_size=60),
    st.lists(source, min_size=1, max_size=40),
    st.integers(0, 10),
    st.sampled_from([6, 17]),
)
def test_steers_exactly_the_listed(listed: list[Listed], others: list[Source], options: int, protocol: int) -> None:
    program, covered = steering_program(listed)
    assert covered == len(listed)
    sources = [*others, *(entry for entry in listed if isinstance(entry, Source))]
    for entry in listed:
        if not isinstance(entry, Source):
            first, last = int(entry.network_address), int(entry.broadcast_address)
            address = type(entry.network_address)
            edges = [first, last, max(first - 1, 0), min(last + 1, (1 << entry.max_prefixlen) - 1)]
            sources += [Source(str(address(edge)), 9) for edge in edges]
    for host, port in sources:
        port = port or 7
        expected = "trusted" if is_listed(listed, host, port) else "untrusted"
        assert lane(program, host, port, options, protocol) == expected, (host, port)


def test_without_listed_sources_none_is_trusted() -> None:
    program, covered = steering_program([])
    assert covered == 0
    assert lane(program, "192.0.2.1", 5060) == "untrusted"
    assert lane(program, "2001:db8::1", 5060) == "untrusted"


def test_ports_are_not_looked_for_behind_extension_headers() -> None:
    """Otherwise an attacker could put a trunk's port at the place of the port in packets without them."""
    program, _ = steering_program([Source("2001:db8::1", 5060), ipaddress.ip_network("2001:db8:1::/48")])
    assert lane(program, "2001:db8::1", 5060) == "trusted"
    assert lane(program, "2001:db8::1", 5060, extension=True) == "untrusted"
    assert lane(program, "2001:db8:1::9", 5060, extension=True) == "untrusted"


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_a_prefix_of_a_whole_address_family(network: str) -> None:
    program, _ = steering_program([Source("192.0.2.1", 7), ipaddress.ip_network(network)])
    four, six = lane(program, "198.51.100.1", 1), lane(program, "2001:db8::1", 1)
    assert (four, six) == (("trusted", "untrusted") if network == "0.0.0.0/0" else ("untrusted", "trusted"))
    assert lane(program, "192.0.2.1", 7) == "trusted"


def test_many_ports_of_one_address_need_long_jumps() -> None:
    listed = [Source("192.0.2.9", port) for port in range(1, 1200, 2)] + [Source("192.0.2.1", 0)]
    program, covered = drop_filter(listed)
    assert covered == len(listed)
    assert not run(program, "192.0.2.9", 1)
    assert not run(program, "192.0.2.9", 1199)
    assert run(program, "192.0.2.9", 2)
    assert not run(program, "192.0.2.1", 99)
    assert run(program, "192.0.2.10", 1)


def test_sources_that_do_not_fit_are_left_out_from_the_end() -> None:
    listed = [Source(str(ipaddress.IPv4Address(0x0A000000 + 3 * n)), 0) for n in range(6000)]
    program, covered = drop_filter(listed)
    assert 2500 < covered < 6000
    assert len(program) <= limits.FILTER_INSTRUCTIONS
    assert not run(program, *listed[0])
    assert not run(program, *listed[covered - 1])
    assert run(program, *listed[covered])
    assert run(program, "10.0.0.1", 0)


@pytest.mark.parametrize(("base", "step", "at_least"), [(0x0A000000, 3, 1000), (0x20010DB8 << 96, 3 << 64, 400)])
def test_flows_that_do_not_fit_go_to_the_untrusted_socket(base: int, step: int, at_least: int) -> None:
    """Trunks are listed first, so flows are left out."""
    flows = [Source(str(ipaddress.ip_address(base + step * n)), 1024 + n) for n in range(3000)]
    program, covered = steering_program([ipaddress.ip_network("198.51.100.0/24"), *flows])
    assert at_least < covered < 3000
    assert len(program) <= limits.FILTER_INSTRUCTIONS
    assert lane(program, "198.51.100.77", 9) == "trusted"
    assert lane(program, *flows[covered - 2]) == "trusted"
    assert lane(program, *flows[covered - 1]) == "untrusted"
    assert lane(program, flows[0].host, 1023) == "untrusted"


def test_a_kernel_with_a_lower_limit_gets_a_smaller_program() -> None:
    flows = [Source(f"10.0.{n}.1", 5060) for n in range(250)]
    program, covered = steering_program(flows, 200)
    assert len(program) <= 200
    assert 30 < covered < 200
    assert lane(program, *flows[covered - 1]) == "trusted"
    assert lane(program, *flows[covered]) == "untrusted"


def test_mapped_addresses_are_ipv4_and_names_are_left_out() -> None:
    program, covered = drop_filter([Source("::ffff:192.0.2.1", 0), Source("example.com", 0)])
    assert covered == 1
    assert not run(program, "192.0.2.1", 5060)
    assert run(program, "2001:db8::1", 5060)
