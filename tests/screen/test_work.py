"""The meter of work without messages, against a plain model of its buckets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.screen.standing import Standing
from edgesbc.screen.work import WorkMeter, WorkSettings

LISTENER = Listener(0, "browsers", Zone.PUBLIC, Transport.WSS, "127.0.0.1", 443)


def flow_of(number: int, host: str = "192.0.2.1") -> Flow:
    return Flow(LISTENER, Source(host, 5060), number)


STEPS = st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.integers(1, 12), st.sampled_from([0, 1, 2, 40]))


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_a_bucket_equals_that_of_a_plain_model(steps: list[tuple[str, int, int]]) -> None:
    meter = WorkMeter(WorkSettings(per_second=2.0, burst=10))
    made: dict[str, float] = {}
    at: dict[str, int] = {}
    now = 0
    for number, (host, units, seconds) in enumerate(steps, 1):
        now += seconds
        total = max(0.0, made.get(host, 0.0) - (now - at.get(host, now)) * 2.0) + units
        at[host] = now
        assert meter.add(flow_of(number, host), Standing.REACHABLE, units, float(now)) is (total > 10)
        made[host] = 0.0 if total > 10 else total


def test_connections_of_an_address_add_up_and_registered_ones_do_not() -> None:
    meter = WorkMeter(WorkSettings(per_second=1.0, burst=10))
    assert not any(meter.add(flow_of(number), Standing.REGISTERED, 10, 0.0) for number in range(1, 50))
    assert not meter.add(flow_of(50), Standing.REACHABLE, 10, 0.0), "it does not pay for registered ones"
    assert meter.add(flow_of(51), Standing.REACHABLE, 1, 0.0)
    assert meter.add(flow_of(1), Standing.REGISTERED, 1, 0.0)


def test_addresses_of_one_64_are_one_source() -> None:
    meter = WorkMeter(WorkSettings(per_second=1.0, burst=10))
    assert not any(meter.add(flow_of(1, f"2001:db8::{n:x}"), Standing.REACHABLE, 1, 0.0) for n in range(1, 11))
    assert not meter.add(flow_of(1, "2001:db8:0:1::1"), Standing.REACHABLE, 1, 0.0)
    assert meter.add(flow_of(1, "2001:db8::ffff"), Standing.REACHABLE, 1, 0.0)


def test_the_table_is_bounded() -> None:
    meter = WorkMeter(WorkSettings())
    for number in range(3 * limits.BUCKET_KEYS):
        meter.add(flow_of(number), Standing.REGISTERED, 1, 0.0)
    assert len(meter._bucket) <= 2 * limits.BUCKET_KEYS


def test_an_office_of_browsers_stays_far_below_the_default() -> None:
    """256 of them at an address, none of which has registered: each answers a Ping, and sends a keep-alive of its own
    and a message in three reads, every 25 seconds."""
    meter, now = WorkMeter(WorkSettings()), 0.0
    for _ in range(20):
        for number in range(limits.CONNECTIONS_PER_ADDRESS):
            assert not meter.add(flow_of(number), Standing.REACHABLE, 4, now)
        now += 25.0
