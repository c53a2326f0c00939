import random

import pytest

from edgesbc.media.ports import PortPool


def test_ports_are_even_within_the_range_and_not_in_order():
    pool = PortPool(30001, 30021, random.Random(1).random)
    taken = [pool.take(0.0) for _ in range(10)]
    assert sorted(taken) == list(range(30002, 30022, 2))
    assert taken != sorted(taken)
    assert pool.take(0.0) is None


def test_a_closed_port_rests():
    pool = PortPool(30000, 30005, lambda: 0.0, rest=10.0)
    assert pool.take(0.0) == 30000
    pool.give_back(30000, 5.0)
    assert {pool.take(14.9), pool.take(14.9)} == {30002, 30004}
    pool.give_back(30002, 14.9)
    assert pool.take(15.0) == 30000


def test_where_all_others_are_in_use_the_port_that_has_rested_longest_is_taken():
    pool = PortPool(30000, 30007, lambda: 0.0, rest=10.0)
    ports = [pool.take(0.0) for _ in range(4)]
    for time, port in enumerate(ports[:3]):
        pool.give_back(port, float(time))
    assert [pool.take(3.0) for _ in range(3)] == ports[:3]
    assert pool.take(3.0) is None


@pytest.mark.parametrize(("first", "last"), [(0, 10), (40000, 39999), (30001, 30002), (65534, 65536)])
def test_a_range_without_a_pair_is_refused(first, last):
    with pytest.raises(ValueError):
        PortPool(first, last, random.random)
