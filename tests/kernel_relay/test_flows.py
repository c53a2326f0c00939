"""Keys and values of flows."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.relay_model import internet_sum

from edgesbc.base.address import Source
from edgesbc.kernel_relay.flows import KEY_BYTES, VALUE_BYTES, KernelFlow, flow_key, flow_value, sum_difference

A, B, C, D = (
    Source("203.0.113.9", 4000),
    Source("203.0.113.1", 30_000),
    Source("10.0.0.1", 30_002),
    Source("10.0.0.9", 5000),
)
FLOW = KernelFlow(A, B, C, D, 2, 3, 7)


@given(
    st.lists(st.tuples(st.binary(min_size=2, max_size=2), st.binary(min_size=2, max_size=2)), min_size=1, max_size=18)
)
def test_the_difference_is_that_of_the_sums(pairs: list[tuple[bytes, bytes]]) -> None:
    """In whichever byte order the halves are added (RFC 1071 section 2)."""
    old, new = b"".join(pair[0] for pair in pairs), b"".join(pair[1] for pair in pairs)
    difference = sum_difference(old, new).to_bytes(2, "little")
    assert (internet_sum(old) + int.from_bytes(difference) - internet_sum(new)) % 0xFFFF == 0


def test_each_address_and_port_makes_another_key() -> None:
    keys = {
        flow_key(A, B),
        flow_key(B, A),
        flow_key(Source(A.host, B.port), Source(B.host, A.port)),
        flow_key(A, Source(B.host, 30_001)),
        flow_key(Source("203.0.113.8", A.port), B),
        flow_key(Source("::ffff:203.0.113.9", A.port), Source("::ffff:203.0.113.1", B.port)),
        flow_key(Source("cb00:7109::", A.port), Source("cb00:7101::", B.port)),
    }
    assert len(keys) == 7
    assert {len(key) for key in keys} == {KEY_BYTES}
    assert len(flow_value(FLOW)) == VALUE_BYTES


@pytest.mark.parametrize(
    "flow",
    [
        attrs.evolve(FLOW, new_source=Source("2001:db8::1", 1), new_destination=Source("2001:db8::2", 1)),
        attrs.evolve(FLOW, new_source=Source("2001:db8::1", 1)),
        attrs.evolve(FLOW, source=Source("localhost", 4000)),
    ],
)
def test_a_flow_is_of_one_family_and_has_addresses(flow: KernelFlow) -> None:
    with pytest.raises(ValueError):
        flow_value(flow)


def test_a_key_is_of_one_family() -> None:
    with pytest.raises(ValueError, match="one family"):
        flow_key(A, Source("2001:db8::1", 1))
