"""drop_filter against a small interpreter of classic BPF, with packets as a UDP socket's filter sees them."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.lanes.program import Program, drop_filter


def run(program: Program, host: str, port: int) -> bool:
    """Whether the packet is kept. Follows Documentation/networking/filter.rst, with only the needed operations."""
    address = ipaddress.ip_address(host)
    if address.version == 4:
        ip = bytes([0x45]) + bytes(11) + address.packed + bytes([127, 0, 0, 1])
    else:
        ip = bytes([0x60]) + bytes(7) + address.packed + bytes(16)
    udp = port.to_bytes(2, "big") + bytes(6)

    def load(k: int, size: int) -> int:
        data, at = (ip, k - 0xFFF00000) if k >= 0xFFF00000 else (udp, k)
        assert at + size <= len(data)
        return int.from_bytes(data[at : at + size], "big")

    at, accumulator, steps = 0, 0, 0
    while True:
        code, true, false, k = program[at]
        assert 0 <= true <= 255
        assert 0 <= false <= 255
        at += 1
        steps += 1
        assert steps < 200, "not a search, a walk"
        if code in (0x20, 0x28, 0x30):
            accumulator = load(k, {0x20: 4, 0x28: 2, 0x30: 1}[code])
        elif code == 0x74:
            accumulator >>= k
        elif code == 0x05:
            at += k
        elif code == 0x15:
            at += true if accumulator == k else false
        elif code == 0x35:
            at += true if accumulator >= k else false
        elif code == 0x06:
            return k != 0
        else:
            raise AssertionError(f"operation {code:#x}")


v4 = st.integers(0, 40).map(lambda n: str(ipaddress.IPv4Address(0x7F000000 + n * 65_537)))
v6 = st.tuples(st.integers(0, 3), st.integers(0, 6)).map(
    lambda n: str(ipaddress.IPv6Address((0x20010DB8 << 96) + (n[0] << 64) + n[1] * (1 + (n[1] << 32))))
)
source = st.builds(Source, st.one_of(v4, v6), st.sampled_from([0, 0, 1, 5060, 5061, 40_000, 65_535]))


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


def test_many_ports_of_one_address_need_long_jumps() -> None:
    listed = [Source("192.0.2.9", port) for port in range(1, 1200, 2)] + [Source("192.0.2.1", 0)]
    program, covered = drop_filter(listed)
    assert covered == len(listed)
    assert not run(program, "192.0.2.9", 1)
    assert not run(program, "192.0.2.9", 1199)
    assert run(program, "192.0.2.9", 2)
    assert not run(program, "192.0.2.1", 99)
    assert run(program, "192.0.2.10", 1)


def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    listed = [Source(str(ipaddress.IPv4Address(0x0A000000 + 3 * n)), 0) for n in range(6000)]
    program, covered = drop_filter(listed)
    assert 2500 < covered < 6000
    assert len(program) <= limits.FILTER_INSTRUCTIONS
    assert not run(program, *listed[0])
    assert not run(program, *listed[covered - 1])
    assert run(program, *listed[covered])
    assert run(program, "10.0.0.1", 0)


def test_mapped_addresses_are_ipv4_and_names_are_left_out() -> None:
    program, covered = drop_filter([Source("::ffff:192.0.2.1", 0), Source("example.com", 0)])
    assert covered == 1
    assert not run(program, "192.0.2.1", 5060)
    assert run(program, "2001:db8::1", 5060)
